"""Functions that make room for others, or wait for them."""

from typing import Final

from tests.scenarios.scenario import Scenario
from tests.scenarios.stage import Stage, Wish

MOVABLE: Final = {"knative-mig.dev/movable": "true"}


# ---------------------------------------------------------------- 5


def a_movable_function_makes_room_before_it_leaves(stage: Stage) -> None:
    # A 4g.20gb lies at the beginning of a GPU and nowhere else.
    stage.lay_out("2g.10gb@0", "7g.40gb@0")
    mover, _ = stage.deploy_all(
        Wish(name="mover", profile="2g.10gb", timeout_s=10, annotations=MOVABLE),
        Wish(name="whole", profile="7g.40gb", pods=1),
    )
    with mover.load() as load:  # nothing keeps it from zero but its load
        load.go_on(20)
        [before] = mover.held()
        assert before.place == "2g.10gb@0"
        [old] = mover.replicas()
        llm = stage.cast(Wish(name="llm", profile="4g.20gb"))
        with llm.timed() as seen:
            llm.create(wait=False)
            llm.wait_ready(seconds=150)
        assert llm.ask().status == 200
        [held] = llm.held()
        assert (held.gpu, held.place) == (before.gpu, "4g.20gb@0")
        [new] = mover.wait_replicas(1)
        [after] = mover.held()
        load.go_on(20)
    stage.print(seen)
    assert not load.failed
    assert new != old
    assert after.profile == before.profile
    assert after.place != before.place


# ---------------------------------------------------------------- 6


def who_finds_no_place_waits_and_is_served_when_one_is_free(stage: Stage) -> None:
    stays, goes, short, llm = stage.deploy_all(
        Wish(name="stays", profile="7g.40gb", pods=1),
        Wish(name="goes", profile="7g.40gb", timeout_s=10),
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
    assert stays.held()[0].state == "Busy"
    stage.wait("it says no more that it waits", lambda: not llm.says())
    print(f"while it waited: {why}\n{says}")


SCENARIOS: Final = (
    Scenario(
        name="a-movable-function-makes-room-before-it-leaves",
        play=a_movable_function_makes_room_before_it_leaves,
        seconds=35,
    ),
    Scenario(
        name="who-finds-no-place-waits-and-is-served-when-one-is-free",
        play=who_finds_no_place_waits_and_is_served_when_one_is_free,
        seconds=60,
    ),
)
