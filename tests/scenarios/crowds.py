"""Many functions at once, and GPUs of several models."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

from tests.scenarios.scenario import Needs, Scenario
from tests.scenarios.stage import Player, Stage, Timeline, Wish

_PRIORITY: Final = "knative-mig.dev/priority"
_SHORT_S: Final = 10  # the timeout of functions that hold no request


# ---------------------------------------------------------------- 9


def all_that_fit_are_served_and_the_others_after_them(stage: Stage) -> None:
    """Twenty functions at zero are asked at once: eight that matter fill four GPUs, and twelve fit after them."""

    def wish(name: str, profile: str, priority: int) -> Wish:
        annotations = {_PRIORITY: str(priority)}
        return Wish(name=name, profile=profile, timeout_s=300, annotations=annotations, at_zero=True)

    # Nobody is given anything until all are known to wait: who comes first is not who is served first.
    fills = stage.deploy_all(*(Wish(name=f"fills-{n}", profile="7g.40gb", pods=1) for n in range(stage.gpus)))
    low = stage.deploy_all(*(wish(f"low-{n}", ("2g.10gb", "1g.5gb")[n % 2], 0) for n in range(12)))
    high = stage.deploy_all(*(wish(f"high-{n}", ("4g.20gb", "3g.20gb")[n % 2], 100) for n in range(8)))
    with stage.timed(*low, *high) as seen:
        waiting = {each.name: each.asked() for each in (*low, *high)}
        for each in (*low, *high):
            each.wait_why("NoFreePlace")
        with ExitStack() as all_at_once:
            for each in high:  # else the first of them goes to zero before the last has its place, and lends it its own
                all_at_once.enter_context(each.load(clients=1, path="/?sleep=1s"))
            stage.delete(*fills)
            for each in high:
                assert waiting[each.name].answer(seconds=200).status == 200, each.name
        for each in low:
            assert waiting[each.name].answer(seconds=200).status == 200, each.name
    for timeline in sorted(seen, key=_schedulable):
        stage.print(timeline)
    halves = [(stage.uuid(gpu), place) for gpu in range(stage.gpus) for place in ("3g.20gb@4", "4g.20gb@0")]
    assert sorted(place for each in seen if _is_of(each, high) for place in each.places) == sorted(halves)
    last_of_the_high = max(_schedulable(each) for each in seen if _is_of(each, high))
    assert all(_schedulable(each) > last_of_the_high for each in seen if _is_of(each, low))


def _schedulable(timeline: Timeline) -> float:
    return timeline.reached["schedulable"]


def _is_of(timeline: Timeline, players: Sequence[Player]) -> bool:
    return timeline.what in {each.name for each in players}


# ---------------------------------------------------------------- 11


def a_profile_that_two_models_have_lands_where_it_costs_least(stage: Stage) -> None:
    """A 1g.10gb is two memory units of an A100-40GB and one of an A100-80GB."""
    llm = stage.cast(Wish(name="llm", profile="1g.10gb", pods=1, timeout_s=_SHORT_S))
    small = stage.cast(Wish(name="small", profile="1g.5gb", pods=1, timeout_s=_SHORT_S))
    _start(stage, llm)
    [held] = llm.held()
    assert stage.model(held.gpu) == "A100-80GB"
    told = llm.wait_why(f"{stage.uuid(held.gpu)}/1g.10gb")
    print("\n".join(line for line in told.splitlines() if "SliceProvisioned" in line))
    _start(stage, small)
    assert stage.model(small.held()[0].gpu) == "A100-40GB"


def _start(stage: Stage, player: Player) -> None:
    with player.timed() as seen:
        player.create()
        assert player.ask().status == 200
    stage.print(seen)


SCENARIOS: Final = (
    Scenario(
        name="all-that-fit-are-served-and-the-others-after-them",
        play=all_that_fit_are_served_and_the_others_after_them,
        needs=Needs.EVERYTHING,
        seconds=130,
    ),
    Scenario(
        name="a-profile-that-two-models-have-lands-where-it-costs-least",
        play=a_profile_that_two_models_have_lands_where_it_costs_least,
        needs=Needs.EVERYTHING,
        seconds=35,
        fleet="1xA100-40GB,1xA100-80GB",
    ),
)
