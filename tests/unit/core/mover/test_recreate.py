"""A recreation as stories, and through whatever may happen: who has the place at its end, and who was ended for it."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.inventory import Function, NodeName
from knative_mig.core.mover.machine import advance, held_for, holds, may_evict, wants
from knative_mig.core.mover.recreate import rest_s
from knative_mig.core.mover.values import Leg, Move, Over, Patience, Phase, PodRef, Sight
from tests.moving_world import spot
from tests.small_cluster import pod

OLD, NEW = Function("team", "llm-1"), Function("team", "llm-2")
PATIENCE = Patience()


@dataclass
class World:
    """Two Revisions and one place: the ReplicaSets replace what goes, whoever the place is held for takes it."""

    now: float = 0.0
    old_wanted: int = 1
    new_wanted: int = 1
    starts: bool = True  # the new one's pod becomes Ready
    budget: bool = False  # a disruption budget refuses
    drains_s: float = 30.0
    elsewhere: bool = False  # the planner has found another slice for the new one
    recreates: bool = True
    pods: dict[str, PodFacts] = field(default_factory=dict)
    over: Over | None = None
    made: int = 0
    told: list[str] = field(default_factory=list)
    evicted: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.come(OLD, ready=True)
        self.come(NEW)
        self.move: Move | None = Move(
            beneficiary=PodRef(name="p2", uid="uid-p2"),
            function=NEW,
            place=spot(0),
            legs=(
                Leg(
                    function=OLD, revision_uid="u", old=PodRef(name="p1", uid="uid-p1"), source=spot(0), target=spot(0)
                ),
            ),
            began=0.0,
            phase=Phase.ENDING,
            recreates=True,
        )

    def come(self, function: Function, *, ready: bool = False) -> None:
        self.made += 1
        new = pod(f"p{self.made}", "3g.20gb", revision=function.name, on="n1" if ready else None, created=self.now)
        self.pods[new.uid] = replace(new, ready=ready, recreates=function == NEW and self.recreates)

    def of(self, function: Function) -> list[PodFacts]:
        return [each for each in self.pods.values() if each.function == function and each.ends_at is None]

    def ready(self, function: Function) -> bool:
        return any(each.ready for each in self.of(function))

    @property
    def holder(self) -> PodFacts | None:
        return next((each for each in self.pods.values() if each.node), None)

    def end(self, uid: str) -> None:
        there = self.pods[uid]
        if there.node is None:
            del self.pods[uid]
        else:
            self.pods[uid] = replace(there, ends_at=self.now + self.drains_s, ready=False)

    def go_on(self) -> None:
        for uid in [uid for uid, each in self.pods.items() if each.ends_at is not None and each.ends_at <= self.now]:
            del self.pods[uid]
        for uid, each in [*self.pods.items()]:
            if each.function == NEW and each.node and self.starts and each.ends_at is None:
                self.pods[uid] = replace(each, ready=True)
        if self.ready(NEW):
            self.old_wanted = 0
        for function, many in ((OLD, self.old_wanted), (NEW, self.new_wanted)):
            for _ in range(many - len(self.of(function))):
                self.come(function)
            for each in self.of(function)[many:]:
                self.end(each.uid)
        if self.holder is None and (self.move is None or self.move.phase is not Phase.CLEARING):
            for whose in [held_for(self.move)] if self.move else [OLD, NEW]:
                if found := self.of(whose):
                    self.pods[found[0].uid] = replace(found[0], node=NodeName("n1"), ready=whose == OLD)
                    break

    def sight(self) -> Sight:
        return Sight(
            pods={each.uid: each for each in self.pods.values() if each.function == OLD},
            successors={each.uid: each for each in self.pods.values() if each.function == NEW},
        )

    def round(self) -> None:
        sight = self.sight()
        while self.move:
            step = advance(self.move, sight, self.now, PATIENCE)
            if isinstance(step, Over):
                self.over, self.rests = step, rest_s(self.move, PATIENCE)
                self.move = None
            elif step == self.move:
                break
            else:
                self.told.append(str(step.phase))
                self.move = step
        ref = wants(self.move).evict if self.move else None
        victim = self.pods.get(ref.uid) if ref else None
        if self.move and victim and victim.ends_at is None and not (self.elsewhere or self.budget):
            if not may_evict(self.move, sight):
                return
            self.check_eviction(victim)
            self.evicted.append(victim.name)
            self.end(victim.uid)

    def check_eviction(self, victim: PodFacts) -> None:
        if victim.function == OLD:
            assert any(each.recreates and each.node is None for each in self.of(NEW)), "the last replica, for nobody"
        else:
            assert not victim.ready, "what serves is taken away"

    def play(self, seconds: float, step_s: float = 1.0) -> None:
        ends = self.now + seconds
        while self.now < ends:
            self.round()
            self.go_on()
            self.now += step_s


def test_the_old_pod_ends_the_new_one_takes_its_place_and_the_old_revision_goes_to_zero() -> None:
    world = World()
    world.play(60)
    assert world.over == Over(moved=True)
    assert world.told == ["Clearing", "Holding", "TakingOver"]
    assert world.evicted == ["p1"]
    assert world.ready(NEW)
    assert not world.of(OLD)


def test_meanwhile_the_old_ones_replacement_waits_and_the_place_is_the_new_ones() -> None:
    world = World()
    world.play(5)
    assert [each.node for each in world.of(OLD)] == [None]
    assert world.move
    assert held_for(world.move) == NEW
    assert [*holds(world.move)] == [spot(0)]


class TestTheOldOneGetsItsPlaceBack:
    def check(self, world: World, why: str) -> None:
        assert world.over
        assert not world.over.moved
        assert why in world.over.why
        assert world.ready(OLD)
        assert world.rests == PATIENCE.again_s

    def test_where_the_new_pod_does_not_become_ready_in_time(self) -> None:
        world = World(starts=False)
        world.play(PATIENCE.start_s + 100)
        self.check(world, "did not become Ready in 8")
        assert world.evicted == ["p1", "p2"]

    def test_where_knative_gives_the_new_revision_up(self) -> None:
        world = World(starts=False)
        world.play(100)
        world.new_wanted = 0
        world.play(60)
        self.check(world, "no pod of team/llm-2 became Ready")
        assert world.evicted == ["p1"]

    def test_where_the_new_revision_is_deleted_while_the_old_pod_ends(self) -> None:
        world = World()
        world.play(5)
        world.new_wanted = 0
        world.play(60)
        self.check(world, "needs the place no more")


class TestCalledOff:
    """Nothing has ended."""

    def check(self, world: World, why: str) -> None:
        assert world.over
        assert why in world.over.why
        assert world.evicted == []
        assert world.ready(OLD)
        assert world.rests == PATIENCE.rest_s

    def test_where_the_new_one_waits_no_more(self) -> None:
        world = World(budget=True)
        world.play(2)
        world.new_wanted = 0
        world.play(5)
        self.check(world, "needs the place no more")

    def test_where_the_new_one_has_a_slice_elsewhere(self) -> None:
        world = World(elsewhere=True)
        world.play(3)
        world.pods["uid-p2"] = replace(world.pods["uid-p2"], node=NodeName("n2"))
        world.round()
        self.check(world, "needs the place no more")

    def test_where_a_disruption_budget_holds_it_up(self) -> None:
        world = World(budget=True)
        world.play(70)
        self.check(world, "could not be evicted")

    def test_where_nobody_has_chosen_it_after_all(self) -> None:
        world = World(recreates=False)
        world.play(70)
        self.check(world, "could not be evicted")


def test_what_became_ready_at_the_last_moment_stays() -> None:
    world = World(starts=False)
    world.play(60)
    assert world.move
    world.move = replace(world.move, phase=Phase.RETURNING)
    world.starts = True
    world.go_on()
    world.round()
    assert world.evicted == ["p1"]
    assert world.over == Over(moved=True, why="it became Ready at the last moment")


def test_nor_is_it_evicted_when_the_mirror_has_not_shown_that_yet() -> None:
    world = World(starts=False)
    world.play(60)
    assert world.move
    returning = replace(world.move, phase=Phase.RETURNING)
    old_sight = world.sight()
    assert may_evict(returning, old_sight)
    world.starts = True
    world.go_on()
    assert not may_evict(returning, world.sight())


def test_an_old_pod_that_left_by_itself_is_not_evicted() -> None:
    world = World()
    world.old_wanted = 0
    world.go_on()
    world.play(60)
    assert world.evicted == []
    assert world.ready(NEW)


def test_the_new_ones_pods_that_had_slices_before_do_not_count() -> None:
    world = World()
    world.new_wanted = 2
    world.pods["uid-first"] = replace(pod("first", revision=NEW.name, on="n2"), ready=True)
    assert world.move
    world.move = replace(world.move, known=frozenset({"uid-first"}))
    world.round()
    assert world.evicted == ["p1"]


def test_two_pods_that_have_the_place_end_one_after_the_other() -> None:
    world = World()
    assert world.move
    second = replace(world.move.leg, old=PodRef(name="q", uid="uid-q"), source=spot(4))
    move = replace(world.move, legs=(*world.move.legs, second), phase=Phase.CLEARING)
    step = advance(move, replace(world.sight(), pods={}), 1.0, PATIENCE)
    assert isinstance(step, Move)
    assert (step.phase, wants(step).evict) == (Phase.ENDING, PodRef(name="q", uid="uid-q"))
    assert [*holds(step)] == [spot(0)]


HAPPENINGS = st.lists(
    st.tuples(
        st.sampled_from(
            ["time", "long", "time", "time", "starts", "budget", "elsewhere", "new", "old", "dies", "choice", "drains"]
        ),
        st.integers(0, 5),
    ),
    max_size=40,
)


@settings(max_examples=400, deadline=None)
@given(HAPPENINGS)
def test_whatever_happens_it_ends_and_somebody_serves(happenings: list[tuple[str, int]]) -> None:
    world = World()
    for what, how in happenings:
        match what:
            case "time":
                world.play(how)
            case "long":
                world.play(300 * how, step_s=10)
            case "starts":
                world.starts = how % 2 == 0
            case "budget":
                world.budget = how % 2 == 0
            case "elsewhere":
                world.elsewhere = how == 0
            case "new":
                world.new_wanted = how % 3
            case "old":
                world.old_wanted = how % 3
            case "dies" if how < len(world.pods):
                world.pods.pop([*world.pods][how])
            case "choice":
                world.recreates = how % 2 == 0
            case "drains":
                world.drains_s = 100.0 * how
    world.new_wanted = world.old_wanted = 1
    ends = world.now + 5_000
    while world.move and world.now < ends:
        world.play(100, step_s=10)
    assert world.move is None, world.move
    world.play(1_000, step_s=10)  # twice what any pod drains
    assert world.ready(OLD) or world.ready(NEW) or (world.holder is not None and not world.starts)


@pytest.mark.parametrize("phase", [Phase.RESERVING, Phase.STARTING, Phase.ABANDONING])
def test_it_has_no_other_phases(phase: Phase) -> None:
    world = World()
    assert world.move
    with pytest.raises(AssertionError, match="never"):
        advance(replace(world.move, phase=phase), world.sight(), 0.0, PATIENCE)
