"""What is not had for other reasons than room."""

from typing import Final

from tests.scenarios.scenario import Scenario
from tests.scenarios.stage import Stage, Wish

# ---------------------------------------------------------------- 7


def a_quota_is_told_of_and_lifting_it_is_enough(stage: Stage) -> None:
    stage.limit("1g.5gb", 1)
    has = stage.deploy(Wish(name="has", profile="1g.5gb", pods=1))
    wants = stage.cast(Wish(name="wants", profile="1g.5gb"))
    wants.create(wait=False)
    why = wants.wait_why("exceeded quota")
    assert "quota" in why
    assert has.ask().status == 200
    assert [each.place for each in stage.slices()] == [has.held()[0].place]
    stage.limit("1g.5gb", 2)
    wants.wait_ready()
    assert wants.ask().status == 200


SCENARIOS: Final = (
    Scenario(
        name="a-quota-is-told-of-and-lifting-it-is-enough",
        play=a_quota_is_told_of_and_lifting_it_is_enough,
        seconds=40,
    ),
)
