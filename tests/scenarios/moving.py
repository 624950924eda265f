"""Functions that make room for others, or wait for them."""

from typing import Final

from tests.scenarios.scenario import Scenario
from tests.scenarios.stage import LINGERS, Stage, Timeline, Wish

MOVABLE: Final = {"knative-mig.dev/movable": "true"}
_AT_ONCE_S: Final = 5.0  # the next resync would come after ten, and a busy machine may stand still for some


# ---------------------------------------------------------------- 5


def a_movable_function_makes_room_before_it_leaves(stage: Stage) -> None:
    # A 4g.20gb lies at the beginning of a GPU and nowhere else.
    stage.lay_out("2g.10gb@0", "7g.40gb@0")
    stage.deploy(Wish(name="whole", profile="7g.40gb", pods=1))
    mover = stage.deploy(Wish(name="mover", profile="2g.10gb", timeout_s=10, annotations=MOVABLE | LINGERS))
    with mover.load() as load:  # nothing keeps it from zero but its load
        load.go_on(20)
        [before] = mover.held()
        assert before.place == "2g.10gb@0"
        [old] = mover.wait_replicas(1)  # which may have answered before it was told Ready
        llm = stage.cast(Wish(name="llm", profile="4g.20gb"))
        # That no request fails is not enough: those that come while it has no replica would be held.
        with stage.timed(llm, mover) as (seen, moved), mover.always_ready():
            llm.create(wait=False)
            llm.wait_ready(seconds=150)
        assert llm.ask().status == 200
        [held] = llm.held()
        assert (held.gpu, held.place) == (before.gpu, "4g.20gb@0")
        [new] = mover.wait_replicas(1)
        [after] = mover.held()
        load.go_on(20)
    stage.print(seen)
    stage.print(moved)
    assert not load.failed
    assert new != old
    assert after.profile == before.profile
    assert after.place != before.place


# ---------------------------------------------------------------- 6


def who_finds_no_place_waits_and_is_served_when_one_is_free(stage: Stage) -> None:
    stays, goes, short, llm = stage.deploy_all(
        Wish(name="stays", profile="7g.40gb", pods=1),
        Wish(name="goes", profile="7g.40gb", timeout_s=300),
        Wish(name="short", profile="7g.40gb", timeout_s=12, at_zero=True),
        Wish(name="llm", profile="7g.40gb", timeout_s=300, at_zero=True),
    )
    with goes.load() as load:
        load.go_on(10)
        with llm.timed() as seen:
            waiting = llm.asked()
            why = llm.wait_why("NoFreePlace")
            says = stage.wait("its replica says so itself", lambda: llm.says() if "NoFreePlace" in llm.says() else "")
            assert "what would help: " in says
            # Knative's limit is the limit of waiting too.
            answer = short.ask()
            assert answer.status == 504
            assert 12 <= answer.seconds < 12 + 10
            assert waiting.waits
            load.end()
            assert waiting.answer(seconds=120).status == 200
    stage.print(seen)
    assert not load.failed
    assert _waited_on(seen) < _AT_ONCE_S
    assert stays.held()[0].state == "Busy"
    stage.wait("it says no more that it waits", lambda: not llm.says())
    print(f"while it waited: {why}\n{says}")


def _waited_on(seen: Timeline) -> float:
    """How long after the slice was nobody's."""
    return seen.reached["schedulable"] - seen.reached["freed"]


def a_slice_that_is_about_to_be_left_is_waited_for_and_nobody_is_moved(stage: Stage) -> None:
    # For a 4g.20gb the movable function could go to the other half of a GPU, as above.
    stage.lay_out("2g.10gb@0", "4g.20gb@0")
    mover, llm = stage.deploy_all(
        Wish(name="mover", profile="2g.10gb", pods=1, timeout_s=300, annotations=MOVABLE),
        Wish(name="llm", profile="4g.20gb", timeout_s=300, at_zero=True),
    )
    # The last to be made: it is on its way to zero until there is load.
    goes = stage.deploy(Wish(name="goes", profile="4g.20gb", timeout_s=300))
    with mover.load() as load, goes.load() as until_then:
        load.go_on(10)
        until_then.go_on(10)
        before, [left] = mover.held(), goes.held()
        assert [each.place for each in before] == ["2g.10gb@0"]
        until_then.end()
        goes.wait_zero()
        with llm.timed() as seen:
            assert llm.ask().status == 200
        stage.print(seen)
        [held] = llm.held()
        assert (held.gpu, held.place, held.uuid) == (left.gpu, left.place, left.uuid)
        assert mover.held() == before
        load.go_on(10)
    assert not load.failed
    assert not until_then.failed
    assert _waited_on(seen) < _AT_ONCE_S


SCENARIOS: Final = (
    Scenario(
        name="a-movable-function-makes-room-before-it-leaves",
        play=a_movable_function_makes_room_before_it_leaves,
        seconds=35,
    ),
    Scenario(
        name="who-finds-no-place-waits-and-is-served-when-one-is-free",
        play=who_finds_no_place_waits_and_is_served_when_one_is_free,
        seconds=80,
    ),
    Scenario(
        name="a-slice-that-is-about-to-be-left-is-waited-for-and-nobody-is-moved",
        play=a_slice_that_is_about_to_be_left_is_waited_for_and_nobody_is_moved,
        seconds=65,
    ),
)
