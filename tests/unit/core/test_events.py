"""What an event says of a revision that wants slices, and what it may not say."""

from dataclasses import replace

import pytest

from knative_mig.core.errors import BadInput
from knative_mig.core.events import PENDING, Event, PendingRevision
from knative_mig.core.profile import ProfileName

EVENT = Event(
    source="/apis/v1/namespaces/team/services/tiny",
    id="uid-1/7/3g.20gb/1/0",
    type=PENDING,
    subject="team/tiny-00001",
    extensions={"migprofile": "1g.5gb+me", "count": "2", "revisionuid": "uid-1", "traceparent": "00-ab-cd-01"},
)


def test_an_event_tells_of_a_revision_and_of_what_it_wants() -> None:
    pending = PendingRevision.of(EVENT)
    assert pending == PendingRevision(
        namespace="team",
        revision="tiny-00001",
        profile=ProfileName.parse("1g.5gb+me"),
        count=2,
        revision_uid="uid-1",
        told_by="uid-1/7/3g.20gb/1/0",
        traceparent="00-ab-cd-01",
    )
    assert EVENT.traceparent == "00-ab-cd-01"
    assert pending.extensions() == {"migprofile": "1g.5gb+me", "count": "2", "revisionuid": "uid-1"}


@pytest.mark.parametrize(
    ("subject", "changed", "why"),
    [
        pytest.param("", {}, "namespace/revision", id="no subject"),
        pytest.param("tiny-00001", {}, "namespace/revision", id="no namespace"),
        pytest.param("team/a/b", {}, "namespace/revision", id="three parts"),
        pytest.param("Team/tiny", {}, "namespace/revision", id="no name of Kubernetes"),
        pytest.param(f"team/{'a' * 64}", {}, "namespace/revision", id="a long name"),
        pytest.param("team/tiny", {"migprofile": None}, "migprofile is missing", id="no profile"),
        pytest.param("team/tiny", {"migprofile": "big"}, "3g.20gb", id="no profile's name"),
        pytest.param("team/tiny", {"migprofile": "1g.5gb" + "x" * 999}, "3g.20gb", id="a profile without end"),
        pytest.param("team/tiny", {"count": None}, "count is missing", id="no count"),
        pytest.param("team/tiny", {"count": "0"}, "1 to 10000", id="none wanted"),
        pytest.param("team/tiny", {"count": "10001"}, "1 to 10000", id="more than there can be"),
        pytest.param("team/tiny", {"count": "-1"}, "1 to 10000", id="fewer than none"),
        pytest.param("team/tiny", {"count": "²"}, "1 to 10000", id="a digit that is none"),
        pytest.param("team/tiny", {"count": "9" * 2000}, "1 to 10000", id="a number without end"),
        pytest.param("team/tiny", {"revisionuid": None}, "revisionuid is missing", id="no uid"),
        pytest.param("team/tiny", {"revisionuid": ""}, "revisionuid", id="an empty uid"),
    ],
)
def test_what_it_says_wrongly_is_named_on_one_short_line(
    subject: str, changed: dict[str, str | None], why: str
) -> None:
    both = {**EVENT.extensions, **changed}
    wrong = replace(EVENT, subject=subject, extensions={name: text for name, text in both.items() if text is not None})
    with pytest.raises(BadInput, match=why) as refused:
        PendingRevision.of(wrong)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 200
