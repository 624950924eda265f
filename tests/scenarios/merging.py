"""Slices that are merged, kept and made again for functions at zero."""

from typing import Final

from tests.scenarios.scenario import Needs, Scenario
from tests.scenarios.stage import SliceSeen, Stage, Wish

# Idle fragments in both halves: whoever wants a 3g.20gb has some of them merged.
FRAGMENTS: Final = "2g.10gb@0 1g.5gb@2 2g.10gb@4 1g.5gb@6"
_MERGED: Final = (
    ["3g.20gb@0", "2g.10gb@4", "1g.5gb@6"],
    ["2g.10gb@0", "1g.5gb@2", "3g.20gb@4"],
)
_DRAINS_S: Final = 32.0  # 30 s without a request, or its timeout where that is shorter, and two to leave
_CLEANS_UP_S: Final = 10.0  # the kubelet, what was around containers that have ended, once a second at best
_UNSURE_S: Final = 1.0  # when it was told to go, and when it had gone, is written in whole seconds
_BUSY_S: Final = 5.0  # a machine that stands still for a moment while a pod is told to go, and again while it leaves
_AT_ONCE_S: Final = 5.0  # likewise; without an event it would be a resync's time
_RARE_RESYNC_S: Final = 120.0
_RESYNC_S: Final = 20.0


def _is_merged(slices: list[SliceSeen]) -> bool:
    return [each.place for each in slices] in _MERGED


def _fragmented(stage: Stage) -> list[str]:
    layout = [FRAGMENTS] * stage.gpus
    stage.lay_out(*layout)
    stage.wait_sound()  # of a GPU that is still cut nothing is given: a request would wait for that, too
    return layout


# ---------------------------------------------------------------- 1


def a_new_function_is_served_on_merged_fragments(stage: Stage) -> None:
    before = _fragmented(stage)
    llm = stage.cast(Wish(name="llm", profile="3g.20gb", pods=1))
    with llm.timed() as seen:
        llm.create()
        assert llm.ask().status == 200
    stage.print(seen)
    [held] = llm.held()
    after = stage.layout()
    assert [gpu for gpu, layout in enumerate(after) if layout != before[gpu]] == [held.gpu]
    assert _is_merged([each for each in stage.slices() if each.gpu == held.gpu]), after


def an_event_makes_it_fast_and_the_resync_makes_it_right(stage: Stage) -> None:
    llm = stage.deploy(Wish(name="llm", profile="3g.20gb", at_zero=True))
    stage.resync(_RARE_RESYNC_S)
    _fragmented(stage)
    with llm.timed() as told:
        assert llm.ask().status == 200
    stage.print(told)
    # It may have been told of more than once before the pod was there; the newest is the one that is named.
    event = stage.wait("an event is named", lambda: next((each for each in told.events if each in llm.why()), ""))
    assert told.reached["plan"] - told.events[event] < _AT_ONCE_S

    with stage.sources(0):
        stage.resync(_RESYNC_S)
        llm.put_to_rest()
        _fragmented(stage)  # which is looked at when it is there, and then not before the next resync
        with llm.timed() as found:
            assert llm.ask().status == 200
        [held] = llm.held()
        assert _is_merged([each for each in stage.slices() if each.gpu == held.gpu])
    stage.print(found)
    assert "pending event" not in found.reached
    assert _AT_ONCE_S < found.reached["plan"] < _RESYNC_S + 2 * _BUSY_S
    # Nothing that follows waits for another one.
    assert found.reached["schedulable"] - found.reached["plan"] < _RESYNC_S / 2


# ---------------------------------------------------------------- 2


def an_idle_slice_is_taken_as_it_is_and_made_again_when_it_is_gone(stage: Stage) -> None:
    stage.lay_out(FRAGMENTS)
    # Nowhere but on the first GPU is there room for a 7g.40gb.
    stage.deploy(Wish(name="fills", profile="7g.40gb", pods=1))
    llm = stage.deploy(Wish(name="llm", profile="3g.20gb", timeout_s=300))
    assert llm.ask().status == 200
    [first] = llm.held()
    drained = llm.rest()
    assert drained.seconds <= _DRAINS_S + _UNSURE_S + _BUSY_S, drained
    assert drained.idle <= drained.seconds + _CLEANS_UP_S, drained
    [idle] = [each for each in stage.slices() if each.uuid == first.uuid]
    assert idle.state == "Idle"

    changes = stage.changes()
    with llm.timed() as seen:
        assert llm.ask().status == 200
    stage.print(seen)
    [second] = llm.held()
    assert (second.gpu, second.place, second.uuid) == (first.gpu, first.place, first.uuid)
    assert stage.changes() == changes

    llm.put_to_rest()
    big = stage.deploy(Wish(name="big", profile="7g.40gb"))
    assert stage.layout()[first.gpu] == "7g.40gb@0"
    big.put_to_rest()
    with llm.timed() as seen:
        assert llm.ask().status == 200
    stage.print(seen)
    [third] = llm.held()
    assert third.profile == "3g.20gb"
    assert third.uuid != first.uuid


# ---------------------------------------------------------------- 4


def busy_neighbours_notice_nothing_of_a_merge(stage: Stage) -> None:
    stage.lay_out("4g.20gb@0 2g.10gb@4 1g.5gb@6", "7g.40gb@0")
    neighbour, whole = stage.deploy_all(
        Wish(name="neighbour", profile="4g.20gb", pods=1), Wish(name="whole", profile="7g.40gb", pods=1)
    )
    before = neighbour.held() + whole.held()
    with neighbour.load() as beside, whole.load() as elsewhere:
        beside.go_on(50)
        elsewhere.go_on(50)
        llm = stage.cast(Wish(name="llm", profile="3g.20gb", pods=1))
        with llm.timed() as seen:
            llm.create()
            assert llm.ask().status == 200
        [held] = llm.held()
        stage.print(seen)
        beside.go_on(50)
        elsewhere.go_on(50)
    assert not beside.failed
    assert not elsewhere.failed
    assert neighbour.held() + whole.held() == before
    assert (held.gpu, held.place) == (neighbour.held()[0].gpu, "3g.20gb@4")


SCENARIOS: Final = (
    Scenario(
        name="a-new-function-is-served-on-merged-fragments",
        play=a_new_function_is_served_on_merged_fragments,
        seconds=15,
    ),
    Scenario(
        name="an-event-makes-it-fast-and-the-resync-makes-it-right",
        play=an_event_makes_it_fast_and_the_resync_makes_it_right,
        needs=Needs.EVERYTHING,
        seconds=80,
    ),
    Scenario(
        name="an-idle-slice-is-taken-as-it-is-and-made-again-when-it-is-gone",
        play=an_idle_slice_is_taken_as_it_is_and_made_again_when_it_is_gone,
        seconds=90,
    ),
    Scenario(
        name="busy-neighbours-notice-nothing-of-a-merge",
        play=busy_neighbours_notice_nothing_of_a_merge,
        seconds=20,
    ),
)
