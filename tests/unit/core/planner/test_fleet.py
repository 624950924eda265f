"""The best place found by rankings is the best found by looking at every GPU, whatever happened to the fleet before."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from knative_mig.core.inventory import Busy, Gpu, Inventory, NodeName, Slice
from knative_mig.core.planner.fits import Tier, fits
from knative_mig.core.planner.fleet import Fleet, Offer, Wish
from knative_mig.core.planner.policy import Policy
from knative_mig.core.planner.startup import StartTimes
from knative_mig.core.profile import ProfileName
from tests.rigs.random_worlds import ENDS_SOON, random_gpu
from tests.rigs.worlds import function, gpu, place

NODES = [NodeName(f"n{number:02}") for number in range(40)]
MODELS = ["A100-40GB", "A100-80GB", "A30-24GB"]
WAITS = (0.0, 30.0)
Content = list[tuple[tuple[Slice, ...], object]]


def random_fleet(rng: random.Random) -> list[Gpu]:
    return [random_gpu(rng, f"G{node}", rng.choice(MODELS), node=node) for node in NODES]


def random_wish(rng: random.Random, gpus: list[Gpu]) -> Wish:
    return Wish(
        name=rng.choice(rng.choice(gpus).model.profiles).name,
        nodes=rng.choice((None, frozenset(rng.sample(NODES, 36)), frozenset(rng.sample(NODES, 5)))),
        starts=StartTimes(10.0, dict(zip(rng.sample(NODES, 3), (1.0, 9.6, 30.0), strict=True))),
        waits=rng.choice((None, WAITS)),
        closed={rng.randrange(len(gpus)): 0b1111},
        spares_whole=rng.random() < 0.5,
    )


def looked_up(fleet: Fleet, wish: Wish) -> Offer | None:
    """One GPU after the other, each by its fits alone."""
    best: Offer | None = None
    states = [fleet.state(position) for position in range(len(fleet))]
    whole = Counter(state.model for state in states if state.is_whole)
    for position in fleet.eligible_positions(wish):
        state = states[position]
        if wish.spares_whole and state.is_whole and whole[state.model] <= fleet.policy.reserve_whole:
            continue
        node, closed = fleet.gpu(position).node, wish.closed.get(position, 0)
        blocked = tuple(each for each in state.model.places if each.mask & closed)
        shown = Fleet(Inventory(gpus=(fleet.gpu(position),)), fleet.policy)
        shown.assign(0, fleet.slices(position), held=closed)
        for fit in fits(shown.state(0), wish.name):
            assert fit.place not in blocked
            if fit.until is not None and not (wish.waits and wish.waits[0] <= fit.until <= wish.waits[1]):
                continue
            cost = (fit.cost[0], fit.cost[1] + wish.starts.whole_seconds(node), *fit.cost[2:])
            if best is None or (cost, position) < (best.cost, best.position):
                best = Offer(cost, position, fit)
    return best


@pytest.mark.no_cover
@pytest.mark.parametrize("seed", range(12))
def test_the_best_place_is_the_best_of_all_gpus(seed: int) -> None:
    rng = random.Random(seed)
    gpus = random_fleet(rng)
    fleet = Fleet(Inventory(gpus=tuple(gpus)), Policy(reserve_whole=seed % 3))
    for _ in range(25):
        wish = random_wish(rng, gpus)
        assert fleet.best(wish) == looked_up(fleet, wish), wish


def test_every_node_named_is_the_same_as_none_named() -> None:
    rng = random.Random("nodes")
    gpus = random_fleet(rng)
    fleet = Fleet(Inventory(gpus=tuple(gpus)), Policy())
    for name in fleet.profiles():
        anywhere = Wish(name=name, waits=WAITS)
        assert fleet.best(anywhere) == fleet.best(replace(anywhere, nodes=frozenset(NODES)))


@pytest.mark.parametrize("seed", range(6))
def test_a_fleet_that_was_told_of_changes_answers_like_a_new_one(seed: int) -> None:
    rng = random.Random(seed)
    kept = Fleet(Inventory(gpus=tuple(random_fleet(rng))), Policy(reserve_whole=1))
    for _ in range(4):
        for name in kept.profiles():
            kept.best(Wish(name=name, waits=WAITS))  # so that there are rankings to keep right
        now = random_gpus_again(rng, kept)
        for each in now:
            kept.replace(each)
        fresh = Fleet(Inventory(gpus=tuple(now)), Policy(reserve_whole=1))
        for name in kept.profiles():
            for wish in (Wish(name=name, waits=WAITS), Wish(name=name, spares_whole=True)):
                assert kept.best(wish) == fresh.best(wish)
        assert {model: kept.unused_units(model) for model in kept.models_of(name)} == {
            model: fresh.unused_units(model) for model in fresh.models_of(name)
        }


def random_gpus_again(rng: random.Random, fleet: Fleet) -> list[Gpu]:
    """The same GPUs with other slices on half of them."""
    found = []
    for position in range(len(fleet)):
        old = fleet.gpu(position)
        new = random_gpu(rng, old.uuid, old.model.name, node=old.node)
        found.append(new if rng.random() < 0.5 else old)
    return found


@pytest.mark.parametrize("seed", range(6))
def test_what_a_plan_in_the_making_takes_on_is_wound_back(seed: int) -> None:
    rng = random.Random(seed)
    gpus = random_fleet(rng)
    fleet = Fleet(Inventory(gpus=tuple(gpus)), Policy())
    wishes = [Wish(name=name, waits=WAITS) for name in fleet.profiles()]
    before, content = [fleet.best(wish) for wish in wishes], content_of(fleet)

    for _ in range(10):
        position = rng.randrange(len(gpus))
        other = random_gpu(rng, "X", fleet.gpu(position).model.name)
        fleet.assign(position, other.slices, held=rng.randrange(256))
    assert content_of(fleet) != content
    fleet.wind_back()

    assert content_of(fleet) == content
    assert [fleet.best(wish) for wish in wishes] == before
    fleet.wind_back()
    assert content_of(fleet) == content


def content_of(fleet: Fleet) -> Content:
    return [(fleet.slices(position), fleet.state(position).key) for position in range(len(fleet))]


def test_what_is_held_adds_up_and_is_offered_to_nobody() -> None:
    fleet = Fleet(Inventory(gpus=(gpu("A"),)), Policy())
    half = Wish(name=ProfileName.parse("3g.20gb"))
    fleet.assign(0, (), held=place("A100-40GB", "3g.20gb@4").mask)
    first = fleet.best(half)
    assert first is not None
    assert str(first.fit.place) == "3g.20gb@0"
    fleet.assign(0, (), held=place("A100-40GB", "3g.20gb@0").mask)
    assert fleet.best(half) is None
    assert fleet.unused_units(fleet.gpu(0).model) == 0


def test_of_equal_places_the_first_node_and_uuid_are_taken() -> None:
    gpus = [gpu("B", node="n2"), gpu("D", node="n1"), gpu("C", node="n1")]
    fleet = Fleet(Inventory(gpus=tuple(gpus)), Policy())
    best = fleet.best(Wish(name=ProfileName.parse("7g.40gb")))
    assert best is not None
    assert fleet.gpu(best.position).uuid == "C"


def test_tiers_are_in_the_order_of_preference_and_nothing_is_ranked_twice() -> None:
    rng = random.Random("tiers")
    fleet = Fleet(Inventory(gpus=tuple(random_fleet(rng))), Policy())
    for name in fleet.profiles():
        for tier in Tier:
            costs = [fit.cost for _, fit in fleet.fits(tier, name)]
            assert costs == sorted(costs)
            assert len({id(state) for state, _ in fleet.fits(tier, name)}) <= len(fleet.fits(tier, name))


def test_a_place_with_a_pod_is_asked_who_holds_it_and_an_idle_one_what_it_is_worth() -> None:
    fleet = Fleet(Inventory(gpus=(gpu("A", "3g.20gb@4 is chat", "1g.5gb@0 idle, worth 2.5"),)), Policy())
    held, idle, free = (place("A100-40GB", words) for words in ("3g.20gb@4", "1g.5gb@0", "1g.5gb@1"))
    assert fleet.busy_on(0, held) == Busy(function("chat"))
    assert [fleet.worth_of(0, each) for each in (held, idle, free)] == [0.0, 2.5, 0.0]
    with pytest.raises(AssertionError, match=r"A has no pod on 1g\.5gb@0"):
        fleet.busy_on(0, idle)


def test_a_gpu_neither_changes_its_model_nor_its_node() -> None:
    fleet = Fleet(Inventory(gpus=(gpu("A"),)), Policy())
    for changed in (gpu("A", node="n2"), gpu("A", model="A100-80GB")):
        with pytest.raises(AssertionError):
            fleet.replace(changed)


@pytest.mark.parametrize(
    ("ends_at", "is_waited_for"), [(70.0, True), (70.1, False), (10.0, True), (9.9, False)], ids=str
)
def test_a_pod_is_waited_for_as_long_as_it_is_late_by_no_more_than_that(ends_at: float, *, is_waited_for: bool) -> None:
    fleet = Fleet(Inventory(gpus=(gpu("A", f"7g.40gb@0 is old, ends at {ends_at}"),)), Policy())
    for nodes in (None, frozenset({NodeName("n1")})):
        wish = Wish(name=ProfileName.parse("3g.20gb"), nodes=nodes, waits=(10.0, 70.0))
        assert (fleet.best(wish) is not None) == is_waited_for
        assert fleet.best(replace(wish, waits=None)) is None


def test_states_that_no_gpu_is_in_are_forgotten() -> None:
    """Worths and times never come back: a fleet that is kept for months would keep every one of them."""
    fleet = Fleet(Inventory(gpus=(gpu("A"), gpu("B"))), Policy())
    for number in range(3000):
        fleet.replace(gpu("A", f"2g.10gb@4 idle, worth {number / 7:.4f}", f"1g.5gb@6 is old, ends at {ENDS_SOON}"))
        fleet.best(Wish(name=ProfileName.parse("3g.20gb"), waits=WAITS))
    assert len(fleet._states) < 1500


def test_a_state_that_was_forgotten_and_comes_again_is_the_same_state() -> None:
    """A is looked at and left as it is; B passes through more states than are kept, and ends up like A."""
    merges = ("4g.20gb@0 is x", "2g.10gb@4 idle, worth 7")
    fleet = Fleet(Inventory(gpus=(gpu("A", *merges, node="n1"), gpu("B", node="n2"))), Policy())
    half = Wish(name=ProfileName.parse("3g.20gb"))
    fleet.best(replace(half, nodes=frozenset({NodeName("n1")})))
    for number in range(1500):
        fleet.replace(gpu("B", "4g.20gb@0 is x", f"2g.10gb@4 idle, worth {number / 7:.4f}", node="n2"))
        fleet.best(replace(half, nodes=frozenset({NodeName("n2")})))
    fleet.replace(gpu("B", *merges, node="n2"))
    best = fleet.best(half)
    assert best is not None
    assert fleet.gpu(best.position).uuid == "A"
    assert fleet.state(0) is fleet.state(1)
