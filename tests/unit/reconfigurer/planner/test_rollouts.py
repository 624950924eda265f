"""A new Revision with no spare slice, in the planner's rounds, on a cluster in memory with stock Knative around it.

One GPU, full: the older Revision has one half, somebody else the other.
"""

from dataclasses import replace
from typing import Any

import pytest

from knative_mig.core.events import MIGRATED, UNSATISFIABLE
from knative_mig.core.floor.values import Setting
from knative_mig.core.inventory import NodeName
from knative_mig.core.mover.values import Phase
from knative_mig.ports.kube import Key, TooManyRequests
from reconfigurer.planner.settings import MoverSettings, PlannerSettings
from tests.rigs.fake_cluster import FakeCluster
from tests.rigs.moving_cluster import Killed, MovingCluster, Writes
from tests.rigs.planner_replica import Clock
from tests.rigs.small_cluster import gpu, gpu_node, node, pod


def world_of(cluster: FakeCluster, clock: Clock, *, recreates: bool, profile: str = "3g.20gb") -> MovingCluster:
    cluster.put_gpu_node(gpu_node("n1", gpu("gpu-a", {"3g.20gb@4": "old", "4g.20gb@0": "other"})))
    cluster.put_node(node("n1"))
    cluster.beat("n1", clock.at)
    cluster.put_pod(pod("other", "4g.20gb", on="n1"))
    world = MovingCluster(cluster, clock)
    world.function("llm-1", "3g.20gb")
    world.running("llm-1", "old", "n1")
    world.newer_revision("llm-1", "llm-2", profile, recreates=recreates)
    there = cluster.pods[Key("team", "old")]
    cluster.put_pod(replace(there, service="llm-1", movable=False))
    return world


def phases(world: MovingCluster) -> list[Phase]:
    return [move.phase for move in world.knative.move_store.stands.journal.moves.values()]


def refused(*_: Any, **__: Any) -> None:
    raise TooManyRequests("a disruption budget")


def until(world: MovingCluster, true: Any, turns: int = 60) -> None:
    for _ in range(turns):
        if true():
            return
        world.turn()
    pytest.fail(f"not in {turns} turns: {world.replica.mover.journal}")


def reasons(world: MovingCluster, name: str) -> list[str]:
    return [reason for whose, reason, _ in world.cluster.events if whose == name]


class TestWait:
    def test_the_older_one_serves_on_and_the_new_ones_pods_and_revision_say_why(
        self, cluster: FakeCluster, clock: Clock
    ) -> None:
        world = world_of(cluster, clock, recreates=False)
        world.turn(30)
        assert world.least_ready["llm-1"] == 1
        assert world.ready("llm-2") == []
        assert reasons(world, "llm-2") == ["NoSpareSlice"]
        waits = world.pods("llm-2")[0]
        assert set(reasons(world, waits.name)) == {"NoSpareSlice"}
        assert waits.told is not None
        assert (waits.told.status, waits.told.reason) == (False, "NoSpareSlice")
        assert cluster.condition_writes == [(waits.name, "NoSpareSlice")]
        (event,) = [each for each in world.replica.announced if each.type == UNSATISFIABLE]
        assert (event.subject, event.data["reason"]) == ("team/llm-2", "NoSpareSlice")

    def test_it_gets_the_first_slice_that_is_free(self, cluster: FakeCluster, clock: Clock) -> None:
        world = world_of(cluster, clock, recreates=False)
        world.turn(3)
        world.die("other")
        until(world, lambda: world.ready("llm-2"))
        assert world.least_ready["llm-1"] == 1 or world.on("old") == ""
        assert world.on(world.ready("llm-2")[0]).startswith("gpu-a/3g.20gb@0")
        assert [reason for _, reason in cluster.condition_writes] == ["NoSpareSlice", "SliceGiven"]

    def test_or_the_older_ones_when_that_is_at_zero(self, cluster: FakeCluster, clock: Clock) -> None:
        world = world_of(cluster, clock, recreates=False)
        world.turn(3)
        world.demand["llm-1"] = 0
        until(world, lambda: world.ready("llm-2"))
        assert world.on(world.ready("llm-2")[0]) == "gpu-a/3g.20gb@4"


class TestRecreate:
    @pytest.mark.parametrize("profile", ["3g.20gb", "2g.10gb"])
    def test_the_traffic_goes_first_then_the_older_one_and_the_new_one_serves_in_its_place(
        self, cluster: FakeCluster, clock: Clock, profile: str
    ) -> None:
        world = world_of(cluster, clock, recreates=True, profile=profile)
        until(world, lambda: world.ready("llm-2") and not phases(world))
        assert world.on(world.ready("llm-2")[0]) == f"gpu-a/{profile}@4"
        world.turn(5)
        assert world.pods("llm-1") == []
        assert world.held_in_vain == 0
        assert world.on("other") == "gpu-a/4g.20gb@0"
        assert world.replica.metric("moves_total", outcome="recreated") == 1
        assert reasons(world, "llm-1")[0] == "RecreateBegun"
        assert "Recreated" in reasons(world, "llm-1")
        assert "Recreated" in reasons(world, "llm-2")
        assert MIGRATED not in {each.type for each in world.replica.announced}
        assert UNSATISFIABLE not in {each.type for each in world.replica.announced}

    def test_also_where_both_are_to_have_a_pod_always_and_their_users_values_are_restored(
        self, cluster: FakeCluster, clock: Clock
    ) -> None:
        world = world_of(cluster, clock, recreates=True)
        for each in ("llm-1", "llm-2"):
            world.knative.edit(each, {Setting.MIN: "1", Setting.WINDOW: "120s"}, manager="controller")
        until(world, lambda: world.ready("llm-2") and not phases(world))
        world.turn(5)
        assert world.held_in_vain == 0
        written = [set(values) for name, values in world.knative.writes if name == "llm-2"]
        assert written == [{Setting.MIN, Setting.INITIAL}] * 2
        for each in ("llm-1", "llm-2"):
            assert world.knative.revision(each).values == {Setting.MIN: "1", Setting.WINDOW: "120s"}
        assert world.knative.floor_store.stands.records == {}

    def test_what_the_older_one_was_asked_before_is_answered_however_long_that_takes(
        self, cluster: FakeCluster, clock: Clock
    ) -> None:
        world = world_of(cluster, clock, recreates=True)
        world.answers_until = clock.wall() + 200
        world.turn(190)
        assert phases(world) == [Phase.ENDING]
        assert world.ready("llm-1") == ["old"]
        until(world, lambda: world.ready("llm-2"))
        assert world.held_in_vain == 0

    @pytest.mark.parametrize(("revision", "wakes"), [("llm-1", True), ("llm-2", True), ("other", False)])
    def test_what_becomes_of_its_revisions_wakes_the_planner(
        self, cluster: FakeCluster, clock: Clock, revision: str, *, wakes: bool
    ) -> None:
        world = world_of(cluster, clock, recreates=True)
        world.stays = True
        world.replica.loop.wake_on_changes()
        world.replica.revisions.changed(Key("team", revision))
        assert not world.replica.is_woken
        until(world, lambda: phases(world) == [Phase.SWITCHING])
        world.replica.revisions.changed(Key("team", revision))
        assert world.replica.is_woken is wakes

    def test_nobody_is_evicted(self, cluster: FakeCluster, clock: Clock) -> None:
        world = world_of(cluster, clock, recreates=True)
        cluster.evict = refused  # type: ignore[method-assign]
        until(world, lambda: world.ready("llm-2"))

    def test_not_where_its_slice_does_not_do(self, cluster: FakeCluster, clock: Clock) -> None:
        world = world_of(cluster, clock, recreates=True, profile="7g.40gb")
        world.turn(20)
        assert world.least_ready["llm-1"] == 1
        assert reasons(world, "llm-2") == ["NoSpareSlice"]

    def test_not_while_revisions_are_not_seen(self, cluster: FakeCluster, clock: Clock) -> None:
        world = world_of(cluster, clock, recreates=True)
        world.replica.revisions.is_synced = False
        world.turn(10)
        assert world.least_ready["llm-1"] == 1

    def test_not_where_a_slice_is_spare(self, cluster: FakeCluster, clock: Clock) -> None:
        world = world_of(cluster, clock, recreates=True)
        world.die("other")
        world.agents.report(NodeName("n1"))
        until(world, lambda: world.ready("llm-2"))
        assert phases(world) == []
        assert not world.knative.writes

    def test_nor_where_one_comes_free_before_the_traffic_has_gone(self, cluster: FakeCluster, clock: Clock) -> None:
        world = world_of(cluster, clock, recreates=True)
        world.stays = True
        until(world, lambda: phases(world) == [Phase.SWITCHING])
        world.die("other")
        until(world, lambda: world.ready("llm-2"))
        assert world.on(world.ready("llm-2")[0]) == "gpu-a/3g.20gb@0"
        assert world.least_ready["llm-1"] == 1
        world.turn(3)
        assert reasons(world, "llm-1").count("RecreateAbandoned") == 1
        assert Setting.INITIAL not in world.knative.revision("llm-2").values

    def test_who_has_been_given_a_slice_after_all_has_its_pod_before_the_traffic(
        self, cluster: FakeCluster, clock: Clock
    ) -> None:
        world = world_of(cluster, clock, recreates=True)
        world.knative.allows_zero = False
        until(world, lambda: phases(world) == [Phase.SWITCHING])
        world.die("other")
        world.beat()
        world.knative.allows_zero = True
        until(world, lambda: world.ready("llm-2"))
        assert not world.knative.writes

    def test_a_service_that_names_the_older_one_keeps_it(self, cluster: FakeCluster, clock: Clock) -> None:
        world = world_of(cluster, clock, recreates=True)
        world.stays = True
        world.turn(70)
        assert world.least_ready["llm-1"] == 1
        assert reasons(world, "llm-1") == ["RecreateBegun", "RecreateAbandoned"]

    def test_where_knative_takes_no_revision_without_a_pod_the_older_one_serves_on_and_it_is_said(
        self, cluster: FakeCluster, clock: Clock
    ) -> None:
        world = world_of(cluster, clock, recreates=True)
        world.knative.allows_zero = False
        world.turn(70)
        assert world.least_ready["llm-1"] == 1
        why = {text for _, reason, text in cluster.events if reason == "RecreateAbandoned"}
        assert len(why) == 1
        assert "allow-zero-initial-scale" in why.pop()
        assert reasons(world, "llm-2")[-1] == "NoSpareSlice"

    def test_moves_under_way_are_no_obstacle_for_it_takes_no_second_slice(
        self, cluster: FakeCluster, clock: Clock
    ) -> None:
        world = world_of(cluster, clock, recreates=True)
        world.replica.settings = PlannerSettings(mover=MoverSettings(at_once=0))
        world.replica.mover._settings = MoverSettings(at_once=0)
        until(world, lambda: world.ready("llm-2"))

    @pytest.mark.parametrize("at", [Phase.SWITCHING, Phase.ENDING, Phase.CLEARING, Phase.HOLDING])
    def test_a_new_leader_goes_on_from_the_journal(self, at: Phase, cluster: FakeCluster, clock: Clock) -> None:
        world = world_of(cluster, clock, recreates=True)
        until(world, lambda: phases(world) == [at])
        world.fail_over()
        until(world, lambda: world.ready("llm-2") and not phases(world))
        assert world.on(world.ready("llm-2")[0]) == "gpu-a/3g.20gb@4"
        assert world.held_in_vain == 0


def play(writes: Writes) -> MovingCluster:
    world = world_of(FakeCluster(), Clock(), recreates=True)
    for each in ("llm-1", "llm-2"):
        world.knative.edit(each, {Setting.MIN: "1"}, manager="controller")
    writes.watch_all(world)
    for _ in range(150):
        try:
            world.turn()
        except Killed:
            world.beat()
            world.fail_over()
        if world.ready("llm-2") and not phases(world):
            world.turn(5)
            return world
    pytest.fail(f"it is not over: {world.knative.move_store.stands}")


@pytest.mark.no_cover
def test_it_comes_to_the_same_end_wherever_the_planner_dies() -> None:
    counted = Writes()
    play(counted)
    assert counted.done.count("evict") == 0
    assert counted.done.count("write") == 4, "the floor is written and restored on both"
    for at in range(len(counted.done)):
        for after in (False, True):
            writes = Writes(at=at, after=after)
            world = play(writes)
            assert writes.at is None, f"write {at} was not reached"
            assert world.on(world.ready("llm-2")[0]) == "gpu-a/3g.20gb@4"
            assert world.pods("llm-1") == []
            assert world.held_in_vain == 0
            assert not world.knative.move_store.stands.journal.moves
            assert world.knative.component("move").asked == {}
            assert world.knative.floor_store.stands.records == {}
