"""An outcome as a CloudEvent: what a Trigger filters by, which trace it belongs to, and that it can be sent at all."""

from dataclasses import replace

import pytest

from knative_mig.adapters.cloud_events import decode, encode
from knative_mig.core.events import PROVISIONED, PendingRevision
from knative_mig.core.gpu_node import SliceId
from knative_mig.core.inventory import Function, NodeName
from knative_mig.core.mover.values import Spot
from knative_mig.core.outcomes.outcome import Outcome, event_of
from knative_mig.core.profile import ProfileName

TRACE = "0af7651916cd43dd8448eb211c80319c"
CAUSE = PendingRevision(
    namespace="team",
    revision="llm-1",
    profile=ProfileName.parse("1g.5gb+me"),
    count=1,
    revision_uid="rev-1",
    told_by="rev-1/7/1g.5gb+me/1/0",
    traceparent=f"00-{TRACE}-b7ad6b7169203331-01",
)
OUTCOME = Outcome(
    type=PROVISIONED,
    id="rev-1/uid-a/GPU-1/1g.5gb+me/4/provisioned",
    function=Function("team", "llm-1"),
    revision_uid="rev-1",
    profile=ProfileName.parse("1g.5gb+me"),
    reason="SliceProvisioned",
    text="pod a has it",
    spot=Spot(node=NodeName("n1"), slice=SliceId.parse("GPU-1/1g.5gb+me/4")),
    cause=CAUSE,
    data={"pod": "a"},
)


def test_it_says_where_the_slice_is_and_what_it_goes_back_to() -> None:
    event = event_of(OUTCOME, "2026-01-01T00:00:00+00:00")
    traceparent = event.extensions["traceparent"]
    assert dict(event.extensions) == {
        "migprofile": "1g.5gb+me",
        "revisionuid": "rev-1",
        "gpu": "GPU-1",
        "start": "4",
        "node": "n1",
        "pendingid": CAUSE.told_by,
        "traceparent": traceparent,
    }
    assert (event.type, event.subject, event.id) == (PROVISIONED, "team/llm-1", OUTCOME.id)
    assert event.data == {"pod": "a", "message": "pod a has it"}
    assert decode(*_sent(OUTCOME)) == event


def _sent(outcome: Outcome) -> tuple[list[tuple[str, str]], bytes]:
    headers, body = encode(event_of(outcome, "2026-01-01T00:00:00+00:00"))
    return [*headers.items()], body


def test_it_is_a_span_of_its_own_in_the_trace_of_the_pending_event() -> None:
    _, trace, span, _ = event_of(OUTCOME, "").extensions["traceparent"].split("-")
    assert trace == TRACE
    assert span not in CAUSE.traceparent


@pytest.mark.parametrize("traceparent", ["", "00-xyz-1-01", f"00-{TRACE}-b7ad6b7169203331-01\n", "ff" * 900])
def test_a_trace_that_is_none_is_not_carried_on(traceparent: str) -> None:
    outcome = replace(OUTCOME, cause=replace(CAUSE, traceparent=traceparent))
    version, trace, span, flags = event_of(outcome, "").extensions["traceparent"].split("-")
    assert (version, len(trace), len(span), flags) == ("00", 32, 16, "01")
    assert trace != TRACE


def test_without_a_place_or_a_cause_neither_is_named() -> None:
    extensions = event_of(replace(OUTCOME, spot=None, cause=None), "").extensions
    assert set(extensions) == {"migprofile", "revisionuid", "traceparent"}


def test_the_same_outcome_is_the_same_event_whoever_tells_of_it() -> None:
    assert event_of(OUTCOME, "") == event_of(replace(OUTCOME), "")
