"""A recreation as stories, and through whatever may happen: no request is held for a Revision that ends."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.floor.values import Request, Revision, Setting
from knative_mig.core.inventory import Function, NodeName
from knative_mig.core.mover.asking import asks
from knative_mig.core.mover.machine import advance, holds, wants
from knative_mig.core.mover.values import Leg, Move, Over, Patience, Phase, PodRef, Sight
from tests.rigs.moving_world import spot
from tests.rigs.small_cluster import pod

OLD, NEW = Function("team", "llm-1"), Function("team", "llm-2")
PATIENCE = Patience()
WINDOW_S = 60.0


@dataclass
class World:
    """Two Revisions and one place. Requests come all the time, to whom the traffic goes; each Revision's autoscaler
    keeps a pod for as long as there is something to answer, and for a window after that.
    """

    now: float = 0.0
    answers_s: float = 5.0  # what the old one has been asked when the traffic leaves it
    asked: bool = True  # requests come
    allows_zero: bool = True  # Knative takes a Revision without a pod for Ready
    named: bool = False  # the Service's traffic names the old one
    going: bool = False  # the new one is deleted
    starts: bool = True
    elsewhere: bool = False  # a slice comes free on another node
    drains_s: float = 30.0
    routed: Function = OLD
    left_at: float = 0.0
    is_at_zero: bool = False  # the old one; its autoscaler looks at no window any more
    new_ready: bool = False
    pods: dict[str, PodFacts] = field(default_factory=dict)
    over: Over | None = None
    made: int = 0
    told: list[str] = field(default_factory=list)
    request: Request | None = None

    def __post_init__(self) -> None:
        self.come(OLD, ready=True)
        self.come(NEW)
        leg = Leg(function=OLD, revision_uid="u", old=PodRef(name="p1", uid="uid-p1"), source=spot(0), target=spot(0))
        self.move: Move | None = Move(
            beneficiary=PodRef(name="p2", uid="uid-p2"),
            function=NEW,
            place=spot(0),
            legs=(leg,),
            began=0.0,
            phase=Phase.SWITCHING,
            recreates=True,
        )

    def come(self, function: Function, *, ready: bool = False) -> None:
        self.made += 1
        new = pod(f"p{self.made}", "3g.20gb", revision=function.name, on="n1" if ready else None, created=self.now)
        self.pods[new.uid] = replace(new, ready=ready, recreates=function == NEW)

    def of(self, function: Function) -> list[PodFacts]:
        return [each for each in self.pods.values() if each.function == function and each.ends_at is None]

    def ready(self, function: Function) -> bool:
        return any(each.ready for each in self.of(function))

    def has_asked(self, setting: Setting, function: Function) -> bool:
        asked = self.request
        return asked is not None and (asked.setting, asked.revision) == (setting, function.name)

    def end(self, uid: str) -> None:
        there = self.pods[uid]
        if there.node is None:
            del self.pods[uid]
        else:
            self.pods[uid] = replace(there, ends_at=self.now + self.drains_s, ready=False)

    def wanted(self, function: Function) -> int:
        if function == NEW:
            return int(not self.going and (self.asked or not self.new_ready))
        window = 6.0 if self.has_asked(Setting.WINDOW, OLD) else WINDOW_S
        asked = self.routed == OLD or self.now < self.left_at + self.answers_s
        self.is_at_zero = not asked and (self.is_at_zero or self.now >= self.left_at + self.answers_s + window)
        return int(not self.is_at_zero)

    def go_on(self) -> None:
        """All that is not ours, once."""
        for uid in [uid for uid, each in self.pods.items() if each.ends_at is not None and each.ends_at <= self.now]:
            del self.pods[uid]
        for uid, each in [*self.pods.items()]:
            if each.function == NEW and each.node and self.starts and each.ends_at is None:
                self.pods[uid] = replace(each, ready=True)
        self.new_ready |= self.ready(NEW) or (self.allows_zero and self.has_asked(Setting.INITIAL, NEW))
        if self.new_ready and self.routed == OLD and not (self.named or self.going):
            self.routed, self.left_at = NEW, self.now
        for function in (OLD, NEW):
            while len(self.of(function)) < self.wanted(function):
                self.come(function)
            for each in self.of(function)[self.wanted(function) :]:
                self.end(each.uid)
        held = {move.function for move in [self.move] if move}
        self.place("n1", held or {OLD, NEW})
        if self.elsewhere:
            self.place("n2", {OLD, NEW})
        self.check()

    def place(self, node: str, may: set[Function]) -> None:
        if any(each.node == node for each in self.pods.values()):
            return
        for each in [*self.pods.values()]:
            if each.node is None and each.ends_at is None and each.function in may:
                self.pods[each.uid] = replace(each, node=NodeName(node), ready=each.function == OLD)
                return

    def check(self) -> None:
        asked = self.routed == OLD or self.now < self.left_at + self.answers_s
        assert self.ready(OLD) or not asked, "requests are held for a Revision that ends"

    def sight(self) -> Sight:
        return Sight(
            pods={each.uid: each for each in self.pods.values() if each.function == OLD},
            successors={each.uid: each for each in self.pods.values() if each.function == NEW},
            revision=Revision(namespace="team", name=OLD.name, uid="u", routed=self.routed == OLD),
            successor=Revision(namespace="team", name=NEW.name, uid="v", ready=self.new_ready, ending=self.going),
        )

    def round(self) -> None:
        while self.move:
            step = advance(self.move, self.sight(), self.now, PATIENCE)
            if isinstance(step, Over):
                self.over, self.move = step, None
            elif step == self.move:
                break
            else:
                self.told.append(str(step.phase))
                self.move = step
        self.request = asks(self.move, "move", PATIENCE) if self.move else None
        assert self.request is None or self.request.until > self.now, "what is asked has run out"
        assert self.move is None or wants(self.move).evict is None

    def play(self, seconds: float, step_s: float = 1.0) -> None:
        ends = self.now + seconds
        while self.now < ends:
            self.round()
            self.go_on()
            self.now += step_s


def test_the_traffic_goes_first_the_old_one_answers_what_it_has_and_ends_and_the_new_one_has_its_place() -> None:
    world = World()
    world.play(60)
    assert world.over == Over(moved=True)
    assert world.told == ["Ending", "Clearing", "Holding"]
    assert world.ready(NEW)
    assert not world.of(OLD)


def test_what_the_old_one_has_been_asked_may_take_its_time() -> None:
    world = World(answers_s=700.0)
    world.play(690)
    assert world.told == ["Ending"]
    world.play(100)
    assert world.over == Over(moved=True)


def test_the_old_ones_autoscaler_waits_no_window_of_a_minute() -> None:
    world = World(answers_s=0.0)
    world.play(10)
    assert not world.of(OLD)


def test_meanwhile_the_place_is_the_new_ones() -> None:
    world = World()
    for _ in range(30):
        world.play(1)
        assert world.move
        assert [*holds(world.move)] == [spot(0)]


def test_a_new_revision_that_nobody_asks_gets_the_traffic_and_no_place() -> None:
    world = World(asked=False)
    world.play(5)
    assert world.over == Over(moved=True, why="team/llm-2 has the traffic, and needs the place no more")
    world.play(100)
    assert not world.pods


class TestCalledOff:
    """The old one serves on."""

    def check(self, world: World, why: str) -> None:
        assert world.over
        assert not world.over.moved
        assert why in world.over.why
        assert world.request is None

    def test_where_the_new_one_is_deleted(self) -> None:
        world = World(named=True)
        world.play(2)
        world.going = True
        world.play(5)
        self.check(world, "team/llm-2 is going")
        assert world.ready(OLD)

    def test_where_the_new_one_has_a_slice_elsewhere(self) -> None:
        world = World(allows_zero=False)
        world.play(2)
        world.elsewhere = True
        world.play(2)
        self.check(world, "team/llm-2 has a slice elsewhere")

    def test_where_knative_wants_a_pod_of_whoever_is_to_be_ready(self) -> None:
        world = World(allows_zero=False)
        world.play(62)
        self.check(world, "allow-zero-initial-scale")
        assert world.ready(OLD)

    def test_where_the_service_names_the_old_one(self) -> None:
        world = World(named=True)
        world.play(62)
        self.check(world, "its Service names it")
        assert world.ready(OLD)

    def test_where_the_traffic_is_sent_back(self) -> None:
        world = World()
        world.play(3)
        world.routed = OLD
        world.round()
        self.check(world, "has come back to team/llm-1")

    def test_where_the_old_one_is_never_at_zero(self) -> None:
        world = World(answers_s=2_000.0)
        world.play(905)
        self.check(world, "team/llm-1 is not at zero after 900 s")

    def test_where_its_pod_does_not_end(self) -> None:
        world = World(drains_s=2_000.0)
        world.play(925)
        self.check(world, "p1 does not end")

    def test_where_the_new_one_does_not_take_the_place(self) -> None:
        world = World(answers_s=0.0, drains_s=0.0)
        assert world.move
        world.move = replace(world.move, phase=Phase.HOLDING)
        sight = replace(world.sight(), pods={})
        assert advance(world.move, sight, 59.0, PATIENCE) == world.move
        over = advance(world.move, sight, 60.0, PATIENCE)
        assert over == Over(moved=False, why="team/llm-2 did not take its place in 60 s")


def test_the_new_ones_pods_that_had_slices_before_do_not_count() -> None:
    world = World()
    first = replace(pod("first", revision=NEW.name, on="n2"), ready=True)
    world.pods[first.uid] = first
    assert world.move
    world.move = replace(world.move, known=frozenset({first.uid}))
    assert advance(world.move, world.sight(), 1.0, PATIENCE) == world.move


def test_two_pods_that_have_the_place_end_one_after_the_other() -> None:
    world = World()
    assert world.move
    second = replace(world.move.leg, old=PodRef(name="q", uid="uid-q"), source=spot(4))
    move = replace(world.move, legs=(*world.move.legs, second), phase=Phase.CLEARING)
    step = advance(move, replace(world.sight(), pods={}), 1.0, PATIENCE)
    assert isinstance(step, Move)
    assert (step.phase, step.leg.old.name) == (Phase.ENDING, "q")
    assert [*holds(step)] == [spot(0)]


HAPPENINGS = st.lists(
    st.tuples(
        st.sampled_from(["time", "long", "time", "starts", "asked", "elsewhere", "zero", "named", "drains", "answers"]),
        st.integers(0, 5),
    ),
    max_size=40,
)


@pytest.mark.no_cover
@settings(max_examples=400, deadline=None)
@given(HAPPENINGS)
def test_whatever_happens_it_ends_and_nothing_is_held_for_who_ends(happenings: list[tuple[str, int]]) -> None:
    world = World()
    for what, how in happenings:
        match what:
            case "time":
                world.play(how)
            case "long":
                world.play(300 * how, step_s=10)
            case "starts":
                world.starts = how % 2 == 0
            case "asked":
                world.asked = how % 2 == 0
            case "elsewhere":
                world.elsewhere = how == 0
            case "zero":
                world.allows_zero = how % 2 == 0
            case "named":
                world.named = how % 2 == 0
            case "drains":
                world.drains_s = 100.0 * how
            case "answers" if world.routed == OLD:
                world.answers_s = 200.0 * how
    world.starts = world.asked = True
    ends = world.now + 5_000
    while world.move and world.now < ends:
        world.play(100, step_s=10)
    assert world.move is None, world.move
    assert world.request is None
    world.play(1_700, step_s=10)  # longer than anything that was asked, and any pod that drains
    assert world.ready(world.routed)


@pytest.mark.parametrize("phase", [Phase.RESERVING, Phase.STARTING, Phase.EVICTING, Phase.ABANDONING])
def test_it_has_no_other_phases(phase: Phase) -> None:
    world = World()
    assert world.move
    with pytest.raises(AssertionError, match="never"):
        advance(replace(world.move, phase=phase), world.sight(), 0.0, PATIENCE)
