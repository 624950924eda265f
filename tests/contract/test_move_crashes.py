"""The planner killed before and after each write that a move takes: the next leader brings it to the same end.

Three moves on a cluster in memory: one that goes through, one whose function's own demand keeps all pods and that
evicts, one that is abandoned for want of a slice. First each is played once and its writes are counted, then once for
every write and either side of it. Never is the function without a Ready pod, and nothing of the move is left behind.
"""

from typing import Final

import pytest

from knative_mig.core.mover.values import Phase
from tests.rigs.fake_cluster import FakeCluster
from tests.rigs.moving_cluster import Killed, MovingCluster, Writes
from tests.rigs.planner_replica import Clock
from tests.rigs.small_cluster import gpu, gpu_node, node, pod

STORIES: Final = ("goes through", "evicts", "is abandoned")
IDLE_S: Final = 4.0  # where a turn writes nothing somebody's patience runs out: less than a lease lasts, and heartbeats


def world_of(story: str) -> MovingCluster:
    cluster, clock = FakeCluster(), Clock()
    first, second = gpu("gpu-a", {"3g.20gb@4": "old"}), gpu("gpu-b", {"4g.20gb@0": "fixed"})
    cluster.put_gpu_node(gpu_node("n1", first, second))
    cluster.put_node(node("n1"))
    cluster.put_pod(pod("fixed", "4g.20gb", on="n1"))
    if story == "evicts":
        cluster.put_gpu_node(gpu_node("n2", gpu("gpu-c", {"4g.20gb@0": "fixed2"})))
        cluster.put_node(node("n2"))
        cluster.put_pod(pod("fixed2", "4g.20gb", on="n2"))
    for name in ("n1", "n2"):
        cluster.beat(name, clock.at)
    world = MovingCluster(cluster, clock)
    world.function("llm", "3g.20gb")
    world.running("llm", "old", "n1")
    world.turn()
    cluster.put_pod(pod("whole", "7g.40gb", gated=True, created=clock.wall()))
    return world


def play(story: str, writes: Writes) -> MovingCluster:
    world = world_of(story)
    writes.watch_all(world)
    has_moved = False
    for _ in range(260):
        before = len(writes.done)
        try:
            world.turn()
        except Killed:
            world.beat()
            world.fail_over()
        if len(writes.done) == before:
            world.clock.at += IDLE_S
        stands = world.knative.move_store.stands.journal.moves.values()
        has_moved = has_moved or bool(stands)
        if story != "goes through" and any(move.phase is Phase.MARKING for move in stands):
            world.demand["llm"] = 2
        if has_moved and not stands:
            world.turn(2)
            return world
    pytest.fail(f"the move is not over: {world.knative.move_store.stands}")


def check(story: str, world: MovingCluster) -> None:
    assert world.least_ready == {"llm": 1}
    assert world.knative.component("move").asked == {}
    assert world.knative.floor("llm") is None
    assert world.knative.floor_store.stands.records == {}
    assert {each.deletion_cost for each in world.pods("llm")} == {None}
    if story == "is abandoned":
        assert world.on("old") == "gpu-a/3g.20gb@4"
        assert world.on("whole") == ""
    else:
        assert world.on("old") == ""
        assert world.on("whole") == "gpu-a/7g.40gb@0"


@pytest.mark.parametrize("story", STORIES)
def test_what_a_move_writes(story: str) -> None:
    writes = Writes()
    check(story, play(story, writes))
    assert writes.done.count("write") == 2, "the floor is raised and restored"
    assert writes.done.count("evict") == (story == "evicts")
    assert writes.done.count("set_deletion_cost") == (2 if story == "is abandoned" else 1)


@pytest.mark.parametrize("story", STORIES)
def test_it_comes_to_the_same_end_wherever_the_planner_dies(story: str) -> None:
    counted = Writes()
    play(story, counted)
    died = 0
    for at, what in enumerate(counted.done):
        for after in (False, True):
            writes = Writes(at=at, after=after)
            where = f"{'after' if after else 'before'} write {at} ({what})"
            world = play(story, writes)
            assert writes.at is None, f"{where} was not reached"
            died += 1
            try:
                check(story, world)
            except AssertionError as wrong:
                raise AssertionError(f"{story}, killed {where}: {wrong}") from wrong
    assert died == 2 * len(counted.done) > 20
