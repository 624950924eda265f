"""What goes wrong with a GPU while its neighbours work."""

from typing import Final

from tests.scenarios.scenario import Scenario
from tests.scenarios.stage import Stage, Wish

CONTAINED_ECC_ERROR: Final = 94  # an XID that breaks one slice


# ---------------------------------------------------------------- 10


def a_broken_slice_costs_its_function_its_place_and_its_neighbours_nothing(stage: Stage) -> None:
    stage.lay_out("2g.10gb@0 2g.10gb@2 3g.20gb@4")
    first, second, victim = stage.deploy_all(
        Wish(name="first", profile="2g.10gb", pods=1),
        Wish(name="second", profile="2g.10gb", pods=1),
        Wish(name="victim", profile="3g.20gb", pods=1),
    )
    [broken] = victim.held()
    [old] = victim.replicas()
    before = first.held() + second.held()
    assert {each.gpu for each in before} == {broken.gpu}
    with first.load() as one, second.load() as other, victim.load() as hit:
        for load in (one, other, hit):
            load.go_on(20)
        with victim.timed() as seen:
            stage.break_slice(broken, CONTAINED_ECC_ERROR)
            victim.wait_gone(old)
            victim.wait_replicas(1)
        for load in (one, other, hit):
            load.go_on(20)
    stage.print(seen)
    assert not one.failed
    assert not other.failed
    assert first.held() + second.held() == before
    [after] = victim.held()
    assert after.uuid != broken.uuid
    assert victim.ask().status == 200
    stage.wait_sound()


SCENARIOS: Final = (
    Scenario(
        name="a-broken-slice-costs-its-function-its-place-and-its-neighbours-nothing",
        play=a_broken_slice_costs_its_function_its_place_and_its_neighbours_nothing,
        seconds=35,
    ),
)
