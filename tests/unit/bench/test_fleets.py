"""Fleets to time decisions on: the same from the same seed, legal, and as full as they say."""

import pytest

from bench.carried_out import BrokenPlan, World
from bench.fleets import CROWDED, MODELS, USUAL, make_fleet
from knative_mig.core.geometry import Place
from knative_mig.core.inventory import Busy, Ending, Function, Gpu, GpuUuid, Idle, Inventory, NodeName, Slice, Use
from knative_mig.core.mig_tables import gpu_model
from knative_mig.core.planner.decisions import How, Relocation, Step, Target

A100 = gpu_model("A100-40GB")
NODE = NodeName("node-0")
ONE, TWO = GpuUuid("GPU-1"), GpuUuid("GPU-2")
OLD, NEW = Function("team", "old"), Function("team", "new")


def shares(use: type[Use], inventory: Inventory) -> float:
    held = sum(
        each.place.profile.memory_units for gpu in inventory.gpus for each in gpu.slices if isinstance(each.use, use)
    )
    return held / sum(gpu.model.memory_units for gpu in inventory.gpus)


def test_the_same_seed_makes_the_same_fleet() -> None:
    assert make_fleet(40, 10, seed=5) == make_fleet(40, 10, seed=5)
    assert make_fleet(40, 10, seed=5) != make_fleet(40, 10, seed=6)


def test_a_usual_fleet_is_about_three_quarters_busy_and_mixed() -> None:
    inventory = make_fleet(1_000, 0, seed=1).inventory

    assert 0.70 < shares(Busy, inventory) < 0.80
    assert 0.05 < shares(Idle, inventory) < 0.15
    assert {gpu.model.name for gpu in inventory.gpus} == {*MODELS}
    assert any(gpu.static for gpu in inventory.gpus)


def test_a_crowded_fleet_has_next_to_nothing_left() -> None:
    inventory = make_fleet(1_000, 0, seed=1, crowd=CROWDED).inventory

    assert shares(Busy, inventory) > 0.9
    assert shares(Idle, inventory) < 0.01


def test_a_pending_asks_for_what_some_gpu_has_on_nodes_that_exist() -> None:
    fleet = make_fleet(200, 100, seed=2, crowd=USUAL)
    nodes = {gpu.node for gpu in fleet.inventory.gpus}

    for pending in fleet.pendings:
        assert any(gpu.model.has(pending.profile) for gpu in fleet.inventory.gpus)
        assert pending.nodes is None or pending.nodes < nodes
        assert pending.since <= fleet.now
    assert {pending.count for pending in fleet.pendings} == {1, 2, 3}


def place(text: str) -> Place:
    return next(each for each in A100.places if str(each) == text)


def world(**slices: tuple[str, Use]) -> World:
    on: dict[GpuUuid, list[Slice]] = {ONE: [], TWO: []}
    for key, (text, use) in slices.items():
        on[ONE if key.startswith("one") else TWO].append(Slice(place(text), use))
    return World(
        Inventory(gpus=tuple(Gpu(uuid=uuid, node=NODE, model=A100, slices=tuple(has)) for uuid, has in on.items()))
    )


def step(text: str, how: How = How.CREATE, *relocations: Relocation) -> Step:
    target = Target(gpu=ONE, node=NODE, place=place(text))
    return Step(how=how, function=NEW, profile=target.place.profile.name, target=target, relocations=relocations)


def test_a_merge_takes_the_idle_slices_and_keeps_the_others() -> None:
    changed = world(one_a=("2g.10gb@0", Idle()), one_b=("1g.5gb@2", Idle()), one_c=("3g.20gb@4", Busy(OLD))).carry_out(
        step("3g.20gb@0", How.MERGE), Busy(NEW)
    )

    assert [{str(each.place): type(each.use) for each in gpu.slices} for gpu in changed] == [
        {"3g.20gb@4": Busy, "3g.20gb@0": Busy}
    ]


def test_a_relocated_function_has_its_new_slice_before_its_old_one_goes() -> None:
    home = Target(gpu=TWO, node=NODE, place=place("3g.20gb@4"))
    leave = Relocation(function=OLD, source=place("3g.20gb@0"), source_gpu=ONE, target=home, seconds=10)

    changed = world(one_a=("3g.20gb@0", Busy(OLD))).carry_out(step("7g.40gb@0", How.MOVE, leave), Busy(NEW))

    assert {gpu.uuid: [str(each.place) for each in gpu.slices] for gpu in changed} == {
        ONE: ["7g.40gb@0"],
        TWO: ["3g.20gb@4"],
    }


@pytest.mark.parametrize(
    ("how", "use"),
    [
        pytest.param(How.MERGE, Busy(OLD), id="busy"),
        pytest.param(How.MERGE, Ending(OLD, free_at=5), id="ending, not waited for"),
    ],
)
def test_a_step_over_a_pod_is_a_broken_plan(how: How, use: Use) -> None:
    with pytest.raises(BrokenPlan, match="has a pod"):
        world(one_a=("2g.10gb@0", use)).carry_out(step("3g.20gb@0", how), Busy(NEW))


def test_a_step_that_waits_may_have_the_place_of_a_pod_that_ends() -> None:
    (gpu,) = world(one_a=("2g.10gb@0", Ending(OLD, free_at=5))).carry_out(step("3g.20gb@0", How.WAIT), Busy(NEW))

    assert [str(each.place) for each in gpu.slices] == ["3g.20gb@0"]


def test_nobody_can_be_moved_from_where_he_is_not() -> None:
    home = Target(gpu=TWO, node=NODE, place=place("3g.20gb@4"))
    leave = Relocation(function=NEW, source=place("3g.20gb@0"), source_gpu=ONE, target=home, seconds=10)

    with pytest.raises(BrokenPlan, match="team/new is not on"):
        world(one_a=("3g.20gb@0", Busy(OLD))).carry_out(step("7g.40gb@0", How.MOVE, leave), Busy(NEW))
