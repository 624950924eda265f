"""Many functions at once, and GPUs of several models."""

from typing import Final

from tests.scenarios.scenario import Needs, Scenario
from tests.scenarios.stage import Player, Stage, Wish

_PRIORITY: Final = "knative-mig.dev/priority"
_SHORT_S: Final = 10


# ---------------------------------------------------------------- 9


def all_that_fit_are_served_and_the_others_after_them(stage: Stage) -> None:
    """Twenty functions on four GPUs: four fill them, eight that matter fill them again, and eight others."""
    fills = (Wish(name=f"fills-{n}", profile="7g.40gb", pods=1, timeout_s=_SHORT_S) for n in range(stage.gpus))
    filling = stage.deploy_all(*fills)

    def wish(name: str, profile: str, priority: int) -> Wish:
        annotations = {_PRIORITY: str(priority)}
        return Wish(name=name, profile=profile, timeout_s=_SHORT_S, annotations=annotations)

    # Those that matter less come first, and would fit beside nothing of the others.
    lesser = (wish(f"low-{n}", ("2g.10gb", "1g.5gb")[n % 2], 0) for n in range(8))
    greater = (wish(f"high-{n}", ("4g.20gb", "3g.20gb")[n % 2], 100) for n in range(8))
    players = stage.deploy_all(*lesser, *greater, wait=False)
    for each in filling:
        each.delete()
    ready = stage.ready_in_order(players, seconds=240)
    print("Ready in this order:", ", ".join(player.name for player in ready))
    assert {player.name for player in ready[:8]} == {f"high-{n}" for n in range(8)}
    for player in players[::4]:
        _wait_served(stage, player)


def _wait_served(stage: Stage, player: Player) -> None:
    """Its timeout is short, and whoever's slice went to others waits until a neighbour has drained."""
    stage.wait(f"{player.name} is served", lambda: player.ask().status == 200)


# ---------------------------------------------------------------- 11


def a_profile_that_two_models_have_lands_where_it_costs_least(stage: Stage) -> None:
    """A 1g.10gb is two memory units of an A100-40GB and one of an A100-80GB."""
    llm = stage.deploy(Wish(name="llm", profile="1g.10gb", timeout_s=_SHORT_S))
    assert llm.ask().status == 200
    [held] = llm.held()
    assert stage.model(held.gpu) == "A100-80GB"
    told = llm.wait_why(f"{stage.uuid(held.gpu)}/1g.10gb")
    print("\n".join(line for line in told.splitlines() if "SliceProvisioned" in line))
    small = stage.deploy(Wish(name="small", profile="1g.5gb", timeout_s=_SHORT_S))
    assert small.ask().status == 200
    assert stage.model(small.held()[0].gpu) == "A100-40GB"


SCENARIOS: Final = (
    Scenario(
        name="all-that-fit-are-served-and-the-others-after-them",
        play=all_that_fit_are_served_and_the_others_after_them,
        needs=Needs.EVERYTHING,
        seconds=75,
    ),
    Scenario(
        name="a-profile-that-two-models-have-lands-where-it-costs-least",
        play=a_profile_that_two_models_have_lands_where_it_costs_least,
        needs=Needs.EVERYTHING,
        seconds=35,
        fleet="1xA100-40GB,1xA100-80GB",
    ),
)
