"""Places that moves have cleared: nobody else is planned there, and who they are for waits for its own move alone."""

import pytest

from knative_mig.core.inventory import Busy, Ending, Function, Gpu, GpuUuid, Idle, Inventory, NodeName, Pending, Slice
from knative_mig.core.mig_tables import gpu_model
from knative_mig.core.planner.batch import plan_on
from knative_mig.core.planner.decisions import Because, How, Plan
from knative_mig.core.planner.fleet import Fleet
from knative_mig.core.planner.holds import Hold
from knative_mig.core.planner.policy import Policy
from knative_mig.core.profile import ProfileName

A100 = gpu_model("A100-40GB")
BIG, SMALL = Function("team", "big"), Function("team", "small")


def profile(text: str) -> ProfileName:
    return ProfileName.parse(text)


def at(text: str, use: Idle | Busy | Ending) -> Slice:
    name, _, start = text.partition("@")
    return Slice(A100.place(A100.profile(profile(name)), int(start)), use)


def fleet_of(*gpus: tuple[Slice, ...]) -> Fleet:
    every = tuple(
        Gpu(uuid=GpuUuid(f"g{i}"), node=NodeName("n1"), model=A100, slices=slices) for i, slices in enumerate(gpus)
    )
    return Fleet(Inventory(gpus=every), Policy())


def hold(text: str, function: Function | None, gpu: str = "g0") -> Hold:
    name, _, start = text.partition("@")
    return Hold(gpu=GpuUuid(gpu), profile=profile(name), start=int(start), function=function)


def want(function: Function, text: str, count: int = 1) -> Pending:
    return Pending(function=function, profile=profile(text), count=count)


def served(plan: Plan) -> list[tuple[str, How, str]]:
    return [(step.function.name, step.how, str(step.target.place)) for step in plan.steps]


def test_what_comes_free_on_a_cleared_place_is_nobody_elses() -> None:
    fleet = fleet_of((at("4g.20gb@0", Busy(Function("team", "x"))),))
    holds = [hold("3g.20gb@4", BIG)]
    plan = plan_on(fleet, [want(SMALL, "1g.5gb"), want(BIG, "3g.20gb")], 0.0, holds=holds)
    assert served(plan) == [("big", How.CREATE, "3g.20gb@4")]
    assert [each.reason.code for each in plan.rejections] == [Because.NO_FREE_PLACE]


@pytest.mark.parametrize("use", [Busy(SMALL, movable=True), Ending(SMALL, free_at=500.0)], ids=["busy", "ends late"])
def test_who_has_a_move_under_way_waits_for_it_and_nobody_else_is_moved(use: Busy | Ending) -> None:
    other = (at("4g.20gb@0", Busy(Function("team", "y"), movable=True)),)
    fleet = fleet_of((at("4g.20gb@0", Busy(Function("team", "x"))), at("3g.20gb@4", use)), other)
    holds = [hold("3g.20gb@4", BIG), hold("3g.20gb@4", None, "g1")]
    plan = plan_on(fleet, [want(BIG, "3g.20gb")], 0.0, holds=holds)
    assert served(plan) == []
    assert [each.reason.code for each in plan.rejections] == [Because.MOVE_UNDER_WAY]
    without = plan_on(fleet, [want(BIG, "3g.20gb")], 0.0, holds=[hold("3g.20gb@4", None)])
    assert [step.how for step in without.steps] == [How.CREATE]


def test_it_takes_a_place_that_comes_free_elsewhere_first_and_then_the_cleared_one_is_everybodys() -> None:
    fleet = fleet_of((at("4g.20gb@0", Busy(Function("team", "x"))),), (at("3g.20gb@4", Idle(5.0)),))
    holds = [hold("3g.20gb@4", BIG)]
    plan = plan_on(fleet, [want(BIG, "3g.20gb"), want(SMALL, "3g.20gb")], 0.0, holds=holds)
    assert [name for name, _, _ in served(plan)] == ["big", "small"]


def test_an_old_refusal_of_the_same_size_does_not_keep_it_from_its_own_place() -> None:
    fleet = fleet_of((at("4g.20gb@0", Busy(Function("team", "x"))),))
    first = Pending(function=SMALL, profile=profile("3g.20gb"), priority=9)
    plan = plan_on(fleet, [first, want(BIG, "3g.20gb")], 0.0, holds=[hold("3g.20gb@4", BIG)])
    assert served(plan) == [("big", How.CREATE, "3g.20gb@4")]


def test_the_fleet_is_afterwards_as_it_was_and_an_unknown_gpu_is_passed_over() -> None:
    fleet = fleet_of(())
    plan_on(fleet, [], 0.0, holds=[hold("7g.40gb@0", None), hold("7g.40gb@0", None, "gone")])
    assert served(plan_on(fleet, [want(BIG, "7g.40gb")], 0.0)) == [("big", How.CREATE, "7g.40gb@0")]
