"""Whole moves in the planner's rounds, on a cluster in memory with stock Knative around it.

Two GPUs: on the first a small movable function sits where a pod that wants all of it would go, the second is half taken
by one that does not move.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.events import MIGRATED, PROVISIONED, RELEASED
from knative_mig.core.inventory import Function
from knative_mig.core.mover.values import GOES_FIRST, Phase
from knative_mig.ports.kube import Conflict, Key
from knative_mig.ports.relays import HandedOver, NotHandedOver
from tests.rigs.fake_cluster import FakeCluster
from tests.rigs.moving_cluster import MovingCluster
from tests.rigs.planner_replica import Clock, FakeRelays
from tests.rigs.small_cluster import gpu, gpu_node, node, pod

LLM = Function("team", "llm")


@pytest.fixture
def world(cluster: FakeCluster, clock: Clock) -> MovingCluster:
    first = gpu("gpu-a", {"3g.20gb@4": "old"})
    second = gpu("gpu-b", {"4g.20gb@0": "fixed"})
    cluster.put_gpu_node(gpu_node("n1", first, second))
    cluster.put_node(node("n1"))
    cluster.beat("n1", 0)
    made = MovingCluster(cluster, clock)
    made.function("llm", "3g.20gb")
    made.running("llm", "old", "n1")
    cluster.put_pod(pod("fixed", "4g.20gb", on="n1"))
    return made


def whole(world: MovingCluster, name: str = "whole") -> PodFacts:
    made = pod(name, "7g.40gb", gated=True, created=world.clock.wall())
    world.cluster.put_pod(made)
    return made


def phases(world: MovingCluster) -> list[Phase]:
    return [move.phase for move in world.replica.mover.journal.moves.values()]


def until(world: MovingCluster, true: Callable[[], bool], turns: int = 100) -> None:
    for _ in range(turns):
        if true():
            return
        world.turn()
    pytest.fail(f"not in {turns} turns: {world.replica.mover.journal}")


@pytest.mark.parametrize("gated", [True, False], ids=["with our gate", "without the webhook"])
def test_a_function_makes_room_without_ever_having_no_ready_pod(world: MovingCluster, *, gated: bool) -> None:
    world.gated = gated
    whole(world)
    until(world, lambda: world.on("whole") != "")
    assert world.on("whole") == "gpu-a/7g.40gb@0"
    assert [world.on(name) for name in world.ready("llm")] == ["gpu-b/3g.20gb@4"]
    assert world.least_ready == {"llm": 1}
    world.turn(3)
    assert phases(world) == []
    assert world.knative.component("move").asked == {}
    assert world.replica.metric("moves_total", outcome="moved") == 1
    told = [reason for name, reason, _ in world.cluster.events if name == "llm" and reason.startswith("Move")]
    assert told == ["MoveBegun", "Moved"]


def test_that_a_function_was_moved_is_told_once_when_it_is_seen_on_its_new_slice(world: MovingCluster) -> None:
    whole(world)
    until(world, lambda: world.on("whole") != "")
    world.turn(3)
    of_llm = [event for event in world.replica.announced if event.subject == "team/llm"]
    assert sorted(event.type for event in of_llm) == sorted((PROVISIONED, RELEASED, MIGRATED))
    (moved,) = [event for event in of_llm if event.type == MIGRATED]
    assert moved.extensions["gpu"] == "gpu-b"
    assert moved.data["from"] == {"node": "n1", "slice": "gpu-a/3g.20gb/4"}
    assert (moved.data["oldPod"], moved.data["madeRoomFor"]) == ("old", "team/whole")


def test_the_pod_that_waits_is_told_that_a_move_is_under_way(world: MovingCluster) -> None:
    whole(world)
    world.turn(3)
    assert ("whole", "MoveUnderWay") in {(name, reason) for name, reason, _ in world.cluster.events}


def test_nobody_takes_the_new_slice_nor_the_place_that_is_cleared(world: MovingCluster) -> None:
    whole(world)
    world.turn(2)
    for at in range(4):
        world.cluster.put_pod(pod(f"small-{at}", "3g.20gb", gated=True, created=world.clock.wall()))
    until(world, lambda: world.on("whole") != "")
    assert world.on("whole") == "gpu-a/7g.40gb@0"
    assert [world.on(name) for name in world.ready("llm")] == ["gpu-b/3g.20gb@4"]
    assert [world.on(f"small-{at}") for at in range(4)] == [""] * 4


class TestNotPlanned:
    """Functions that cannot go now are seen as such, so that nobody waits for them in vain."""

    def check(self, world: MovingCluster) -> None:
        whole(world)
        world.turn(5)
        assert phases(world) == []
        assert world.on("old") == "gpu-a/3g.20gb@4"
        assert "NoFreePlace" in {reason for name, reason, _ in world.cluster.events if name == "whole"}

    def test_a_pod_that_is_no_knative_revisions(self, world: MovingCluster) -> None:
        world.knative.revisions.clear()
        self.check(world)

    def test_a_function_at_its_max_scale(self, world: MovingCluster) -> None:
        world.knative.put_revision("llm", max_scale="1")
        self.check(world)

    def test_one_whose_autoscaler_does_not_know(self, world: MovingCluster) -> None:
        world.knative.put_revision("llm", desired=None)
        self.check(world)

    def test_one_that_is_not_ready(self, world: MovingCluster) -> None:
        made = world.knative.put_revision("llm")
        world.knative.revisions[Key("team", "llm")] = replace(made, ready=False)
        self.check(world)

    def test_any_while_revisions_are_not_seen(self, world: MovingCluster) -> None:
        world.replica.revisions.is_synced = False
        self.check(world)

    def test_any_while_the_journal_is_another_ones(self, world: MovingCluster) -> None:
        def refused() -> None:
            raise Conflict("no")

        world.knative.move_store.before_save = refused
        self.check(world)


class TestItsOwnDemandKeepsAllPods:
    def busy(self, world: MovingCluster) -> None:
        whole(world)
        until(world, lambda: phases(world) == [Phase.MARKING])
        world.demand["llm"] = 2

    def test_the_marked_one_is_evicted_where_its_replacement_finds_a_slice(
        self, world: MovingCluster, cluster: FakeCluster
    ) -> None:
        cluster.put_gpu_node(gpu_node("n2", gpu("gpu-c", {"4g.20gb@0": "fixed2"})))
        cluster.put_node(node("n2"))
        cluster.beat("n2", 0)
        cluster.put_pod(pod("fixed2", "4g.20gb", on="n2"))
        world.agents.__init__(cluster)  # type: ignore[misc]  # it looks at what stands anew
        self.busy(world)
        until(world, lambda: world.on("whole") != "", 200)
        until(world, lambda: len(world.ready("llm")) == 2)
        assert world.replica.metric("move_evictions_total") == 1
        assert world.least_ready == {"llm": 1}

    def test_the_move_is_abandoned_where_none_is_left_and_not_tried_again_at_once(self, world: MovingCluster) -> None:
        self.busy(world)
        until(world, lambda: phases(world) == [], 200)
        assert world.on("old") == "gpu-a/3g.20gb@4"
        assert len(world.ready("llm")) == 2
        assert [each.deletion_cost for each in world.pods("llm")] == [None, None]
        assert world.replica.metric("moves_total", outcome="abandoned") == 1
        world.turn(20)
        assert phases(world) == []


class TestCancelled:
    def test_when_nobody_waits_any_more_all_is_as_it_was(self, world: MovingCluster) -> None:
        world.starts = False
        made = whole(world)
        until(world, lambda: phases(world) == [Phase.STARTING])
        world.turn(2)
        world.cluster.drop_pod(made)
        until(world, lambda: phases(world) == [])
        world.turn(5)
        assert world.ready("llm") == ["old"]
        assert [each.deletion_cost for each in world.pods("llm")] == [None]
        assert world.knative.component("move").asked == {}


@pytest.mark.parametrize("at", [Phase.RESERVING, Phase.STARTING, Phase.MARKING, Phase.LEAVING, Phase.CLEARING])
def test_a_new_leader_goes_on_from_the_journal(at: Phase, world: MovingCluster, clock: Clock) -> None:
    whole(world)
    until(world, lambda: phases(world) == [at])
    world.replica = world.new_replica("planner-b")
    world.replica.leader.step()
    clock.at += 15
    until(world, lambda: world.on("whole") != "")
    assert world.least_ready == {"llm": 1}
    assert [world.on(name) for name in world.ready("llm")] == ["gpu-b/3g.20gb@4"]


def test_a_leader_that_was_paused_does_nothing_more(world: MovingCluster) -> None:
    whole(world)
    until(world, lambda: phases(world) == [Phase.STARTING])
    stands = world.knative.move_store.stands
    world.knative.move_store.stands = replace(stands, token=99, resource_version=world.cluster.version())
    asked = dict(world.knative.component("move").asked)
    assert asked == {LLM: 2.0}
    for _ in range(5):
        world.beat()
        world.replica.round()
    assert world.replica.leader.token() is None
    assert world.knative.component("move").asked == asked
    assert all(each.deletion_cost != GOES_FIRST for each in world.pods("llm"))


def test_what_is_asked_stands_again_in_the_next_round_and_soon_where_somebody_insists(world: MovingCluster) -> None:
    key = Key("knative-mig", "floor-move")
    world.starts = False
    whole(world)
    until(world, lambda: phases(world) == [Phase.STARTING])
    world.turn(3)
    asked, replica = world.knative.requests[key], world.replica
    del world.knative.requests[key]
    replica.round()
    assert world.knative.requests[key] == asked
    world.knative.requests[key] = ()
    replica.round()
    assert world.knative.requests[key] == ()
    assert replica.loop.due_in_s == pytest.approx(0.5)
    world.clock.at += replica.loop.due_in_s
    replica.round()
    assert world.knative.requests[key] == asked
    assert replica.loop.due_in_s > 1.0


def _relays(world: MovingCluster) -> FakeRelays:
    relays = world.replica.relays
    assert isinstance(relays, FakeRelays)
    return relays


def test_what_the_old_pod_has_under_way_is_handed_over_to_the_new_one_and_that_is_told(world: MovingCluster) -> None:
    _relays(world).answer = HandedOver(moved=2, stay=("it asks for several choices",))
    whole(world)
    until(world, lambda: world.on("whole") != "")
    ((leaving, to),) = _relays(world).asked
    assert leaving == "uid-old"
    assert [f"uid-{name}" for name in world.ready("llm")] == [to]
    (text,) = [text for name, reason, text in world.cluster.events if (name, reason) == ("llm", "HandedOver")]
    assert text == ("2 of 3 generations of pod old go on in another; the others end there: it asks for several choices")
    assert world.replica.metric("move_generations_total", outcome="moved") == 2
    assert world.replica.metric("move_generations_total", outcome="stayed") == 1
    assert world.replica.metric("move_hand_overs_total", outcome="done") == 1


@pytest.mark.parametrize("has_relay", [True, False])
def test_a_move_goes_on_without_a_relay_and_who_has_one_is_told_why(world: MovingCluster, *, has_relay: bool) -> None:
    _relays(world).answer = NotHandedOver(why="it answers 401", has_relay=has_relay)
    whole(world)
    until(world, lambda: world.on("whole") != "")
    told = [text for name, reason, text in world.cluster.events if (name, reason) == ("llm", "NotHandedOver")]
    assert told == (["what pod old has under way ends there: it answers 401"] if has_relay else [])
    assert world.replica.metric("move_hand_overs_total", outcome="failed" if has_relay else "no-relay") == 1


def test_a_slice_that_was_given_back_is_cut_anew_while_its_pod_still_relays(world: MovingCluster) -> None:
    world.drains_s = 100_000.0
    world.gives_back = {"old"}
    _relays(world).answer = HandedOver(moved=1)
    whole(world)
    until(world, lambda: world.on("whole") != "")
    assert world.on("whole") == "gpu-a/7g.40gb@0"
    assert world.cluster.pods[Key("team", "old")].ends_at is not None


def test_a_new_leader_asks_the_relay_again(world: MovingCluster) -> None:
    whole(world)
    until(world, lambda: phases(world) == [Phase.HANDING_OVER])
    before = _relays(world)
    world.fail_over()
    until(world, lambda: world.on("whole") != "")
    assert _relays(world) is not before
    assert dict(_relays(world).asked).keys() == {"uid-old"}
