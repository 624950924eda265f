"""Admission of functions, whatever is written in whatever order: nothing drifts, and users have the last word."""

from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from knative_mig.core.admission.annotations import CHOSEN, KNOWN
from knative_mig.core.admission.choice import BURST, DEADLINE, FIRST_BYTE, TIMEOUT, Why, decide
from knative_mig.core.admission.function import Asks, Function, Part, Place, Setting
from knative_mig.core.admission.problems import refusals, warnings
from tests.rigs.functions import RECORD, admitted, without_chosen

CAPS = st.sampled_from([60, 600, 3600])
RECORDS = st.sampled_from(
    [
        "",
        "{}",
        '{"annotations":{},"inputs":"v1:0","spec":{"timeoutSeconds":5}}',
        '{"annotations":{"knative-mig.dev/movable":"true"},"inputs":"v1:0","spec":{}}',
    ]
)
VALUES = st.sampled_from(["true", "wait", "recreate", "1", "1g.5gb,3g.20gb", "odd", ""])
KEYS = st.sampled_from([*KNOWN, "knative-mig.dev/unknown", "example.com/mine"])


@st.composite
def functions(draw: st.DrawFn) -> Function:
    settings: dict[Place, Setting] = {
        Place(Part.ANNOTATIONS, key): value for key, value in draw(st.dictionaries(KEYS, VALUES, max_size=3)).items()
    }
    for place, values in ((BURST, ["-1", "100"]), (DEADLINE, ["600s", "4200s"])):
        if draw(st.booleans()):
            settings[place] = draw(st.sampled_from(values))
    for place in (TIMEOUT, FIRST_BYTE):
        if draw(st.booleans()):
            settings[place] = draw(st.sampled_from([10, 300, 440, 570]))
    if draw(st.integers(0, 5)) == 0:
        settings[Place(Part.ANNOTATIONS, CHOSEN)] = draw(RECORDS)
    resources = st.sampled_from(["nvidia.com/mig-1g.5gb", "nvidia.com/mig-3g.20gb", "nvidia.com/mig-odd", "cpu"])
    amounts = st.sampled_from(["1", "2", "odd"])
    return Function(
        annotations=draw(st.dictionaries(KEYS, VALUES, max_size=2)),
        settings=settings,
        containers=tuple(
            Asks(limits=each) for each in draw(st.lists(st.dictionaries(resources, amounts, max_size=2), max_size=2))
        ),
        idle_s=draw(st.sampled_from([0, 0, 0, 500])),
    )


@given(functions(), CAPS, CAPS)
def test_what_was_admitted_is_admitted_again_as_it_is(written: Function, cap_s: int, later_cap_s: int) -> None:
    assume(written.idle_s <= cap_s)  # Knative refuses what waits longer than it may, so it is never stored
    stored = admitted(written, decide(written, None, cap_s))
    assert decide(stored, None, later_cap_s).edits == {}
    assert decide(stored, stored, later_cap_s).edits == {}


@given(functions(), CAPS, CAPS)
def test_the_file_that_a_function_was_made_from_can_be_sent_for_ever(
    written: Function, cap_s: int, later_cap_s: int
) -> None:
    assume(written.idle_s <= cap_s)
    written = replace(written, settings={place: v for place, v in written.settings.items() if place != RECORD})
    stored = admitted(written, decide(written, None, cap_s))
    for _ in range(2):
        sent = without_chosen(stored, written)
        assert admitted(sent, decide(sent, stored, later_cap_s)).settings == stored.settings


@given(st.lists(functions(), min_size=1, max_size=4), CAPS)
def test_a_series_of_files_ends_where_the_last_one_alone_would(files: list[Function], cap_s: int) -> None:
    """GitOps: each file whole. History leaves no trace."""
    files = [replace(each, settings={p: v for p, v in each.settings.items() if p != RECORD}) for each in files]
    stored = None
    for each in files:
        stored = admitted(each, decide(each, stored, cap_s))
    assert stored is not None
    fresh = admitted(files[-1], decide(files[-1], None, cap_s))
    assert {**fresh.settings, RECORD: ""} == {**stored.settings, RECORD: ""}


@given(functions(), st.none() | functions(), CAPS)
def test_a_users_own_values_stay(written: Function, before: Function | None, cap_s: int) -> None:
    written = replace(written, settings={place: v for place, v in written.settings.items() if place != RECORD})
    stored_before = before and admitted(before, decide(before, None, cap_s))
    stored = admitted(written, decide(written, stored_before, cap_s))
    assert {place: stored.settings[place] for place in written.settings} == written.settings


@given(functions(), CAPS)
def test_timeouts_that_were_chosen_are_ones_that_knative_accepts(written: Function, cap_s: int) -> None:
    choice = decide(written, None, cap_s)
    stored = admitted(written, choice)
    if choice.why is Why.DECIDED and TIMEOUT in choice.edits:
        assert 0 < int(stored.settings[TIMEOUT]) <= cap_s
    if FIRST_BYTE in choice.edits:
        assert int(stored.settings[FIRST_BYTE]) <= int(stored.settings[TIMEOUT])


@given(functions(), functions())
def test_what_is_stored_stays_writable(one: Function, other: Function) -> None:
    assert refusals(one, one) == []
    assert set(refusals(other, one)) <= set(refusals(other, None))
    assert all(each.isprintable() and "\n" not in each for each in [*refusals(one, None), *warnings(one, None)])
