"""The planner against searches that try everything: every state of one GPU, random pairs of GPUs, small batches.

The searches here know nothing of states, rankings or costs per place: they move functions about, destroy what is idle
and look where the slice then fits. What is compared is what a plan costs: how, functions moved, seconds lost.
"""

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest

from knative_mig.core.geometry import Place
from knative_mig.core.inventory import Busy, Ending, Function, Gpu, Idle, Inventory, Pending, Slice, Use
from knative_mig.core.mig_tables import gpu_model
from knative_mig.core.planner.batch import plan, plan_on
from knative_mig.core.planner.decisions import How, Step
from knative_mig.core.planner.fleet import Fleet
from knative_mig.core.planner.policy import Policy
from knative_mig.core.profile import Attribute, ProfileName
from tests.rigs.every_layout import every_layout
from tests.rigs.worlds import function, gpu

Price = tuple[int, int, float]  # how, functions moved, seconds
ORDER = list(How)
NOW, WAIT = 0.0, 30.0
POLICY = Policy(wait_at_most_s=WAIT)


@pytest.mark.parametrize("part", range(8))
def test_every_state_of_one_gpu_with_busy_and_idle_slices(part: int) -> None:
    """All 11,593 ways to fill an A100 with busy and idle slices, and every plain profile asked of each; in eight parts,
    that workers may share them.
    """
    model = gpu_model("A100-40GB")
    plain = [profile for profile in model.profiles if profile.name.attribute is Attribute.PLAIN]
    empty = gpu("A")
    fleet = Fleet(Inventory(gpus=(empty,)), POLICY)
    states = 0
    for layout in every_layout(model, plain):
        for busy in product((True, False), repeat=len(layout)):
            states += 1
            if states % 8 != part:
                continue
            slices = tuple(
                Slice(place, Busy(function(str(place))) if is_busy else Idle(0.3 + place.index % 5))
                for place, is_busy in zip(layout, busy, strict=True)
            )
            fleet.replace(replace(empty, slices=slices))
            for profile in plain:
                asked = Pending(function=function("new"), profile=profile.name)
                steps = plan_on(fleet, (asked,), NOW).steps
                assert _price_of(steps, [slices]) == _cheapest_without_moves([slices], profile.name), (layout, busy)
    assert states == 11_593


@pytest.mark.parametrize("models", [("A100-40GB", "A100-40GB"), ("A30-24GB", "A30-24GB"), ("A100-80GB", "H100-80GB")])
def test_two_gpus_with_functions_that_may_move(models: tuple[str, str]) -> None:
    rng = random.Random(f"two {models}")
    hows = dict.fromkeys([*({*How} - {How.RECREATE}), None], 0)  # no function here has an older Revision
    for _ in range(700):
        gpus = tuple(_random_gpu(rng, uuid, model) for uuid, model in zip("AB", models, strict=True))
        name = rng.choice(gpus[0].model.profiles).name
        policy = replace(POLICY, max_moves=rng.choice((0, 1, 2, 2, 2)))

        steps = plan(Inventory(gpus=gpus), [Pending(function=function("new"), profile=name)], policy, NOW).steps

        found = _price_of(steps, [gpu.slices for gpu in gpus])
        assert found == _cheapest(gpus, name, policy.max_moves), (gpus, name, policy.max_moves)
        hows[steps[0].how if steps else None] += 1
    assert all(hows.values()), hows  # every kind of answer occurred


def test_no_small_batch_serves_more_than_the_bound_says() -> None:
    rng = random.Random("batches")
    proven_short = 0
    for _ in range(150):
        gpus = tuple(_random_gpu(rng, uuid, "A100-40GB", movable=0.0) for uuid in "AB")
        names = [profile.name for profile in gpus[0].model.profiles if profile.name.attribute is Attribute.PLAIN]
        asked = [Pending(function=function(f"f{n}"), profile=rng.choice(names)) for n in range(rng.randint(1, 5))]

        made = plan(Inventory(gpus=gpus), asked, POLICY, NOW)

        best = _most_served(gpus, [pending.profile for pending in asked])
        assert made.bound.served <= best <= made.bound.at_most + 1e-6, (gpus, asked)
        proven_short += made.bound.served == made.bound.at_most < sum(each.profile.compute for each in asked)
    assert proven_short > 30


def _random_gpu(rng: random.Random, uuid: str, model_name: str, movable: float = 0.6) -> Gpu:
    model = gpu_model(model_name)
    slices: list[Slice] = []
    taken = 0
    for number in range(rng.randint(0, 6)):
        place = rng.choice(model.places)
        if place.mask & taken:
            continue
        taken |= place.mask
        slices.append(Slice(place, _random_use(rng, f"{uuid}{number}", movable)))
    return Gpu(uuid=gpu(uuid).uuid, node=gpu(uuid).node, model=model, slices=tuple(slices))


def _random_use(rng: random.Random, name: str, movable: float) -> Use:
    chance = rng.random()
    if chance < 0.2:
        return Idle(rng.randint(0, 9) / 2)
    if chance < 0.3:
        return Ending(function(name), rng.choice((5.0, 12.0, 99.0)))
    return Busy(function(name), rng.random() < movable, float(rng.randint(1, 20)))


# -- what a plan costs ----------------------------------------------------------------------------------------------


def _price_of(steps: tuple[Step, ...], gpus: list[tuple[Slice, ...]]) -> Price | None:
    if not steps:
        return None
    (step,) = steps
    worth = {"AB"[number]: _worths(slices) for number, slices in enumerate(gpus)}
    targets = [step.target, *(each.target for each in step.relocations)]
    destroyed = {(target.gpu, place) for target in targets for place in target.destroys}
    seconds = sum(worth[uuid].get(place, 0.0) for uuid, place in destroyed)
    seconds += sum(each.seconds for each in step.relocations)
    if step.how is How.WAIT:
        assert step.until is not None
        seconds += step.until
    return ORDER.index(step.how), len(step.relocations), round(seconds, 3)


def _worths(slices: tuple[Slice, ...]) -> dict[Place, float]:
    return {each.place: each.use.worth_s for each in slices if isinstance(each.use, Idle)}


# -- trying everything ----------------------------------------------------------------------------------------------


def _cheapest(gpus: tuple[Gpu, ...], name: ProfileName, max_moves: int) -> Price | None:
    still = _cheapest_without_moves([gpu.slices for gpu in gpus], name, [gpu.model.name for gpu in gpus])
    if still:
        return still
    prices = [
        (ORDER.index(How.MOVE), moves, round(seconds + more, 3))
        for moves, seconds, world in _rearranged(gpus, [gpu.slices for gpu in gpus], max_moves, frozenset())
        if moves
        for more in _free_at_no_move(gpus, world, name)
    ]
    return min(prices, default=None)


def _cheapest_without_moves(
    gpus: list[tuple[Slice, ...]], name: ProfileName, models: list[str] | None = None
) -> Price | None:
    prices = []
    for number, slices in enumerate(gpus):
        for place in gpu_model(models[number] if models else "A100-40GB").places_named(name):
            on_it = [each for each in slices if each.place.mask & place.mask]
            if any(isinstance(each.use, Busy) for each in on_it):
                continue
            worth = sum(each.use.worth_s for each in on_it if isinstance(each.use, Idle))
            ends = [each.use.free_at for each in on_it if isinstance(each.use, Ending)]
            if ends:
                if max(ends) <= NOW + WAIT:
                    prices.append((ORDER.index(How.WAIT), 0, round(max(ends) + worth, 3)))
            elif [each.place for each in on_it] == [place]:
                prices.append((ORDER.index(How.REUSE), 0, 0.0))
            else:
                prices.append((ORDER.index(How.MERGE if on_it else How.CREATE), 0, round(worth, 3)))
    return min(prices, default=None)


World = list[tuple[Slice, ...]]


def _rearranged(
    gpus: tuple[Gpu, ...], world: World, moves_left: int, moved: frozenset[Function]
) -> Iterator[tuple[int, float, World]]:
    """Every world that at most so many moves lead to: a function goes where nobody is, and what it left is free."""
    yield 0, 0.0, world
    if not moves_left:
        return
    for number, slices in enumerate(world):
        for each in slices:
            if not isinstance(each.use, Busy) or not each.use.movable or each.use.function in moved:
                continue
            for home, place in _homes(gpus, world, each.place.profile.name):
                after, worth = _moved(world, number, each, home, place)
                for moves, seconds, end in _rearranged(gpus, after, moves_left - 1, moved | {each.use.function}):
                    yield moves + 1, seconds + each.use.move_s + worth, end


def _homes(gpus: tuple[Gpu, ...], world: World, name: ProfileName) -> Iterator[tuple[int, Place]]:
    for number, slices in enumerate(world):
        for place in gpus[number].model.places_named(name):
            if all(isinstance(each.use, Idle) for each in slices if each.place.mask & place.mask):
                yield number, place


def _moved(world: World, number: int, each: Slice, home: int, place: Place) -> tuple[World, float]:
    after = list(world)
    gone = [other for other in world[home] if other.place.mask & place.mask]
    worth = sum(other.use.worth_s for other in gone if isinstance(other.use, Idle) and other.place != place)
    after[home] = (*(other for other in world[home] if other not in gone), Slice(place, replace_busy(each)))
    after[number] = tuple(other for other in after[number] if other is not each)
    return after, worth


def replace_busy(each: Slice) -> Busy:
    assert isinstance(each.use, Busy)
    return Busy(each.use.function)


def _free_at_no_move(gpus: tuple[Gpu, ...], world: World, name: ProfileName) -> Iterator[float]:
    for number, place in _homes(gpus, world, name):
        yield sum(
            each.use.worth_s
            for each in world[number]
            if each.place.mask & place.mask and isinstance(each.use, Idle) and each.place != place
        )


def _most_served(gpus: tuple[Gpu, ...], names: list[ProfileName]) -> int:
    """Serve or leave out each in turn, at every place that no pod holds for long."""
    taken = []
    for each in gpus:
        mask = 0
        for slice_ in each.slices:
            use = slice_.use
            if isinstance(use, Busy) or (isinstance(use, Ending) and use.free_at > NOW + WAIT):
                mask |= slice_.place.mask
        taken.append(mask)

    def most(at: int, masks: tuple[int, ...]) -> int:
        if at == len(names):
            return 0
        best = most(at + 1, masks)
        for number, each in enumerate(gpus):
            for place in each.model.places_named(names[at]):
                if not place.mask & masks[number]:
                    rest = (*masks[:number], masks[number] | place.mask, *masks[number + 1 :])
                    best = max(best, names[at].compute + most(at + 1, rest))
        return best

    return most(0, tuple(taken))
