"""A move as stories over virtual time: what happens to the function's pods, and what is left when it is over."""

from dataclasses import replace

import pytest

from knative_mig.core.inventory import NodeName
from knative_mig.core.mover.machine import advance, holds, wants
from knative_mig.core.mover.values import GOES_FIRST, Leg, Move, Over, Patience, Phase, PodRef, Sight, SliceSight, Waits
from tests.rigs.moving_world import LLM, PATIENCE, Crash, World, spot


def phase(world: World) -> Phase | None:
    return world.journal.phase if world.journal else None


def is_clean(world: World) -> bool:
    return not world.floors and all(pod.deletion_cost is None for pod in world.live())


def test_the_new_pod_is_ready_before_the_old_one_goes_and_exactly_the_old_one_goes() -> None:
    world = World()
    least = 1
    for _ in range(60):
        world.play(1)
        least = min(least, len(world.ready()))
    assert least == 1
    assert [pod.name for pod in world.live()] == ["p2"]
    assert world.told == ["Starting", "Marking", "Leaving", "HandingOver", "Clearing", "Holding"]
    world.beneficiary = Waits.SERVED
    world.play(1)
    assert world.over == Over(moved=True)
    assert is_clean(world)


def test_a_function_is_moved_on_the_node_that_its_user_chose() -> None:
    world = World(chosen_node="n1")
    world.play(60)
    assert [pod.name for pod in world.live()] == ["p2"]


def test_of_several_replicas_the_marked_one_goes_though_others_are_younger() -> None:
    world = World(demand=3)
    world.go_on()
    world.play(60)
    assert "p1" not in {pod.name for pod in world.live()}
    assert len(world.ready()) == 3


def test_nothing_is_asked_of_the_floor_before_the_slice_is_there() -> None:
    world = World(target=SliceSight.COMING)
    world.round()
    assert (phase(world), world.floors) == (Phase.RESERVING, {})
    world.target = SliceSight.IDLE
    world.round()
    assert (phase(world), world.floors) == (Phase.STARTING, {LLM: 2})


class TestAbandoned:
    """With everything taken back, and the pods as they were."""

    def check(self, world: World, why: str) -> None:
        assert world.over
        assert not world.over.moved
        assert why in world.over.why
        assert is_clean(world)
        assert "uid-p1" in {pod.uid for pod in world.ready()}

    def test_where_the_slice_is_not_made(self) -> None:
        world = World(target=SliceSight.COMING)
        for _ in range(70):
            world.round()
            world.now += 1
        self.check(world, "was not made in 60 s")

    def test_where_the_slice_is_taken(self) -> None:
        world = World(target=SliceSight.TAKEN)
        world.play(3)
        self.check(world, "was taken by somebody else")

    def test_where_the_autoscaler_does_not_know_what_it_wants(self) -> None:
        world = World(target=SliceSight.IDLE, knows=False)
        world.play(70)
        self.check(world, "does not stand still")
        assert world.made == 1

    def test_where_the_new_pod_does_not_start(self) -> None:
        world = World(starts=False)
        world.play(1_000)
        self.check(world, "its new pod p2 did not become Ready in 900 s")
        assert [pod.name for pod in world.live()] == ["p1"]

    def test_where_the_new_pod_may_not_run_on_the_node_of_the_new_slice(self) -> None:
        world = World(starts=False, chosen_node="n2")
        world.play(5)
        self.check(world, "its new pod p2 may run on n2 alone")

    def test_where_the_autoscaler_makes_no_pod(self) -> None:
        world = World(target=SliceSight.IDLE)
        world.round()
        world.knows = False
        world.play(1_000)
        world.knows = True
        self.check(world, "the autoscaler made no new pod")

    def test_where_its_own_demand_keeps_all_pods_and_no_slice_is_left(self) -> None:
        world = World(room=False)
        world.play(3)
        world.demand = 2
        world.play(120)
        self.check(world, "its own demand keeps all pods, and no slice is left for another")
        assert len(world.ready()) == 2

    def test_where_a_disruption_budget_holds_the_eviction_up(self) -> None:
        world = World(budget=True)
        world.play(3)
        world.demand = 2
        world.play(300)
        self.check(world, "could not be evicted")

    @pytest.mark.parametrize("seconds", [0, 1, 2])
    def test_where_nobody_needs_the_place_any_more(self, seconds: int) -> None:
        world = World(starts=False)
        world.play(seconds)
        world.beneficiary = Waits.GONE
        world.play(60)
        self.check(world, "needs the place no more")
        assert [pod.name for pod in world.live()] == ["p1"]

    def test_with_the_deletion_cost_that_the_pod_had(self) -> None:
        world = World(room=False)
        world.pods["uid-p1"] = replace(world.pods["uid-p1"], deletion_cost=7)
        world.seen = dict(world.pods)
        world.play(3)
        world.demand = 2
        world.play(120)
        assert world.over
        assert world.pods["uid-p1"].deletion_cost == 7


class TestItsOwnDemandKeepsAllPods:
    def test_the_marked_one_is_evicted_and_its_replacement_is_a_new_pending(self) -> None:
        world = World()
        world.play(3)
        world.demand = 2
        least = 2
        for _ in range(150):
            world.play(1)
            least = min(least, len(world.ready()))
        assert "Evicting" in world.told
        assert least >= 1
        assert {pod.name for pod in world.live()} == {"p2", "p3"}

    def test_the_autoscaler_is_given_its_window_first(self) -> None:
        world = World()
        world.play(3)
        world.demand = 2
        world.play(PATIENCE.leave_s - 5)
        assert phase(world) is Phase.LEAVING

    def test_the_last_that_is_ready_is_not_evicted(self) -> None:
        world = World()
        world.play(3)
        world.demand = 2
        world.play(PATIENCE.leave_s - 3)
        world.starts = False
        world.die("uid-p2")
        world.play(60)
        assert world.over
        assert "p1 is the last that is Ready" in world.over.why
        assert [pod.name for pod in world.ready()] == ["p1"]

    def test_nor_when_the_mirror_still_shows_the_other(self) -> None:
        world = World()
        world.play(3)
        world.demand = 2
        world.play(PATIENCE.leave_s - 3)
        world.die("uid-p2")
        for _ in range(10):  # the mirror lags
            world.round()
            world.now += 1
        assert [pod.name for pod in world.ready()] == ["p1"]


class TestPodsThatDie:
    def test_the_old_one_by_itself_clears_the_place(self) -> None:
        world = World(starts=False)
        world.play(3)
        world.die("uid-p1")
        world.starts = True
        world.play(5)
        assert phase(world) is Phase.HOLDING
        assert not world.floors

    def test_the_new_one_before_the_old_one_is_let_go_is_waited_for_again(self) -> None:
        world = World(target=SliceSight.IDLE)
        world.round()
        world.go_on()
        world.now += 1
        world.round()
        assert phase(world) is Phase.MARKING
        world.die("uid-p2")
        world.go_on()
        world.seen.pop("uid-p3")
        world.round()
        assert (phase(world), world.floors) == (Phase.STARTING, {LLM: 2})
        world.play(60)
        assert [pod.name for pod in world.live()] == ["p3"]


@pytest.mark.parametrize("after", range(7))
def test_whatever_write_was_the_last_a_new_leader_brings_it_to_its_end(after: int) -> None:
    world = World(crash_after=after)
    try:
        world.play(60)
    except Crash:
        world.play(60)
    world.beneficiary = Waits.SERVED
    world.play(2)
    assert world.over == Over(moved=True)
    assert is_clean(world)
    assert len(world.ready()) == 1


def test_a_second_function_leaves_after_the_first_and_its_new_place_is_held_meanwhile() -> None:
    first = Leg(function=LLM, revision_uid="r", old=PodRef(name="a", uid="a"), source=spot(0), target=spot(0, "gpu-1"))
    second = replace(first, old=PodRef(name="b", uid="b"), source=spot(4), target=spot(0))
    move = Move(
        beneficiary=PodRef(name="big", uid="big"),
        function=LLM,
        place=spot(4),
        legs=(first, second),
        began=0.0,
        phase=Phase.CLEARING,
        floor=2,
        cost=3,
    )
    assert [*holds(move)] == [spot(4), spot(0)]
    next_leg = advance(move, Sight(), 1.0, Patience())
    assert isinstance(next_leg, Move)
    assert (next_leg.leg, next_leg.phase, next_leg.floor, next_leg.cost) == (second, Phase.RESERVING, 0, None)
    assert [*holds(next_leg)] == [spot(4), spot(0)]
    assert wants(next_leg).reserve == spot(0)


def test_a_pod_that_does_not_end_and_a_place_that_nobody_takes_are_not_waited_for_for_ever() -> None:
    world = World()
    world.play(5)
    world.pods["uid-p1"] = replace(world.pods["uid-p1"], ends_at=1e9)
    world.play(1_000)
    assert world.over
    assert world.over.why == "p1 does not end"
    unused = World()
    unused.play(200)
    assert unused.over
    assert "did not take its place in 60 s" in unused.over.why


def test_a_revision_that_goes_is_not_moved() -> None:
    world = World()
    world.round()
    assert world.journal
    step = advance(world.journal, replace(world.sight(), revision=None), 1.0, PATIENCE)
    assert isinstance(step, Move)
    assert step.why == "team/llm-00001 is going"


def test_the_mark_is_below_whatever_people_set() -> None:
    assert -(2**31) <= GOES_FIRST < -1_000
    assert str(spot(4)) == f"gpu-0/3g.20gb/4 on {NodeName('n1')}"


class TestHandedOver:
    """What the old pod's relay has under way goes on in the new pod."""

    def test_it_is_asked_when_the_old_pod_was_told_to_end_and_of_the_pod_that_came_for_it(self) -> None:
        world = World(demand=3)
        world.go_on()
        world.play(60)
        assert set(world.handed_over) == {("uid-p1", "uid-p4")}

    def test_a_relay_that_does_not_answer_is_passed_over_when_its_time_is_up(self) -> None:
        world = World(relay_answers=False)
        world.play(5)
        world.pods[world.old] = replace(world.pods[world.old], ends_at=10_000.0)  # its clients read on
        world.play(5)
        since = world.journal.since if world.journal else 0.0
        assert phase(world) is Phase.HANDING_OVER
        world.play(PATIENCE.hand_over_s - (world.now - since) - 1)
        assert phase(world) is Phase.HANDING_OVER
        world.play(3)
        assert phase(world) is Phase.CLEARING

    @pytest.mark.parametrize("what", ["it ends", "the new pod dies", "its slice is back"])
    def test_there_is_nothing_to_wait_for_when(self, what: str) -> None:
        world = World(relay_answers=False)
        world.play(5)
        world.pods[world.old] = replace(world.pods[world.old], ends_at=10_000.0)
        world.play(2)
        assert phase(world) is Phase.HANDING_OVER
        match what:
            case "it ends":
                world.die(world.old)
            case "the new pod dies":
                world.die("uid-p2")
                world.knows = False  # and the autoscaler makes no other
            case _:
                world.released = True
        world.play(2)
        assert phase(world) in {Phase.CLEARING, Phase.HOLDING}

    def test_a_slice_that_was_given_back_is_free_while_its_pod_goes_on(self) -> None:
        world = World()
        world.play(5)
        world.pods[world.old] = replace(world.pods[world.old], ends_at=10_000.0)
        world.play(5)
        assert phase(world) is Phase.CLEARING
        world.released = True
        world.play(1)
        assert phase(world) is Phase.HOLDING

    def test_but_not_for_the_very_same_slice(self) -> None:
        world = World(released=True)
        assert world.journal
        world.journal = replace(world.journal, place=world.journal.leg.source)
        world.play(5)
        world.pods[world.old] = replace(world.pods[world.old], ends_at=10_000.0)
        world.play(60)
        assert phase(world) is Phase.CLEARING

    def test_a_pod_that_leaves_before_another_is_ready_has_nowhere_to_hand_over_to(self) -> None:
        world = World(starts=False)
        world.play(3)
        world.end(world.old)
        world.play(2)
        assert phase(world) is Phase.CLEARING
        assert world.handed_over == []
