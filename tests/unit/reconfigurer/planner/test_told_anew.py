"""What pods that wait say while slices change hands: today's holder, on a cluster in memory and over virtual time.

One GPU, whole. Whoever waits is told why; what it was told stays true or is told anew, and a mere countdown is no news.
"""

from dataclasses import replace
from random import Random

import pytest

from knative_mig.core.inventory import NodeName
from reconfigurer.planner.loop import Outcome
from tests.rigs.fake_agents import Floor
from tests.rigs.fake_cluster import FakeCluster
from tests.rigs.planner_replica import Clock, Replica
from tests.rigs.small_cluster import gpu, gpu_node, node, pod

N1 = NodeName("n1")
WHOLE = "7g.40gb"
TURN_S = 40.0
LATE_S = 20.0  # so old may a word be: a pod's own bound, and the next resync
MANY = 100


@pytest.fixture
def agents(cluster: FakeCluster) -> Floor:
    cluster.put_gpu_node(gpu_node("n1", gpu("gpu-1", {"7g.40gb@0": "p60"})))
    cluster.put_node(node("n1"))
    cluster.beat("n1", 0)
    cluster.put_pod(pod("p60", WHOLE, on="n1"))
    return Floor(cluster)


def go_on(replica: Replica, agents: Floor, seconds: float, each_s: float = 1.0) -> None:
    for _ in range(int(seconds / each_s)):
        replica.clock.at += each_s
        replica.cluster.beat("n1", replica.clock.at)
        replica.lead()
        assert replica.round() is Outcome.PLANNED
        replica.write_conditions()
        agents.obey(N1)
        agents.schedule(Random(0))
        agents.report(N1)


def comes(cluster: FakeCluster, clock: Clock, name: str, priority: int = 0) -> None:
    cluster.put_pod(pod(name, WHOLE, gated=True, priority=priority, created=clock.wall()))


def begins_to_end(cluster: FakeCluster, name: str, ends_at: float) -> None:
    cluster.put_pod(replace(cluster.pod(name), ends_at=ends_at))


def message(cluster: FakeCluster, name: str) -> str:
    told = cluster.pod(name).told
    assert told is not None
    assert told.status is False
    return told.message


def test_whoever_waits_names_the_holder_of_today_after_every_hand_over(
    cluster: FakeCluster, agents: Floor, replica: Replica
) -> None:
    waiting = ["p50", "p40", "p30", "p20", "p10"]
    for name in waiting:
        comes(cluster, replica.clock, name, int(name[1:]))
    holder = "p60"
    while len(waiting) > 1:
        go_on(replica, agents, TURN_S)
        for name in waiting:
            assert f"held by team/{holder} " in message(cluster, name)
            assert f"team/{holder} scaling to zero" in message(cluster, name)
        agents.end(cluster.pod(holder))
        holder = waiting.pop(0)
        go_on(replica, agents, LATE_S)
        assert cluster.pod(holder).node == N1
    go_on(replica, agents, 60)
    told = [text for name, _, text in cluster.events if name == "p10"]
    assert "held by team/p20 " in told[-1]
    assert f"held by team/{holder} " in message(cluster, "p10")


def test_an_event_tells_of_another_holder_and_once_a_minute_at_the_most(
    cluster: FakeCluster, agents: Floor, replica: Replica
) -> None:
    comes(cluster, replica.clock, "p10")
    go_on(replica, agents, 5)
    for holder in range(60):
        cluster.put_pod(replace(cluster.pod("p60"), revision=f"holder-{holder}"))
        go_on(replica, agents, 5)
    assert 5 <= len(cluster.events) <= 6
    assert len({text for _, _, text in cluster.events}) == len(cluster.events)


def test_who_waits_for_one_that_ends_is_told_a_time_that_does_not_change(
    cluster: FakeCluster, agents: Floor, replica: Replica, clock: Clock
) -> None:
    begins_to_end(cluster, "p60", clock.wall() + 28)
    comes(cluster, replica.clock, "p50")
    at = clock.wall() + 28
    go_on(replica, agents, 20)
    told = cluster.pod("p50").told
    assert told is not None
    assert told.reason == "SoonFree"
    assert told.message == f"7g.40gb@0 comes free at about {_clock(at)} UTC, when team/p60 has ended"
    assert cluster.condition_writes == [("p50", "SoonFree")]
    go_on(replica, agents, 30)
    assert message(cluster, "p50") == "7g.40gb@0 should be free by now: team/p60 has not ended"
    assert len(cluster.condition_writes) == 2


def test_a_plan_each_second_with_a_hundred_who_wait_writes_nothing_while_nothing_changes(
    cluster: FakeCluster, agents: Floor, replica: Replica, clock: Clock
) -> None:
    go_on(replica, agents, 1)
    begins_to_end(cluster, "p60", clock.wall() + 600)
    for number in range(MANY):
        comes(cluster, replica.clock, f"f{number:02}")
    go_on(replica, agents, 1)
    assert len(cluster.condition_writes) == len(cluster.events) == MANY
    go_on(replica, agents, 200)
    assert len(cluster.condition_writes) == len(cluster.events) == MANY


def test_however_often_the_holder_changes_a_hundred_who_wait_are_two_writes_a_second(
    cluster: FakeCluster, agents: Floor, replica: Replica
) -> None:
    for number in range(MANY):
        comes(cluster, replica.clock, f"f{number:02}")
    go_on(replica, agents, 1)
    for holder in range(200):
        cluster.put_pod(replace(cluster.pod("p60"), revision=f"holder-{holder}"))
        go_on(replica, agents, 1)
    assert 3 * MANY <= len(cluster.condition_writes) - MANY <= 4 * MANY
    assert len(cluster.events) - MANY <= 4 * MANY


def test_what_is_free_elsewhere_is_a_figure_and_no_news(cluster: FakeCluster, replica: Replica) -> None:
    cluster.put_gpu_node(gpu_node("n1", gpu("gpu-1", {"1g.5gb@0": "near"})))
    cluster.put_gpu_node(gpu_node("n2", gpu("gpu-2", {"4g.20gb@0": "far"})))
    for on, name, profile in (("n1", "near", "1g.5gb"), ("n2", "far", "4g.20gb")):
        cluster.put_node(node(on))
        cluster.put_pod(pod(name, profile, on=on))
    floor = Floor(cluster)

    def go_on_with_two(seconds: int) -> None:
        for _ in range(seconds):
            cluster.beat("n2", replica.clock.at + 1)
            go_on(replica, floor, 1)
            floor.obey(NodeName("n2"))

    go_on_with_two(2)
    comes(cluster, replica.clock, "p10")
    go_on_with_two(12)
    first = message(cluster, "p10")
    assert "11 memory units are free" in first
    assert "held by team/near " in first
    cluster.put_pod(pod("more", "1g.5gb", gated=True, created=replica.clock.wall(), only_on="n2"))
    go_on_with_two(60)
    assert cluster.pod("more").node == "n2"
    assert [name for name, _ in cluster.condition_writes] == ["p10"]


def _clock(at: float) -> str:
    seconds = int(at) % 86_400
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def test_while_an_agent_has_yet_to_answer_another_pods_spec_nobody_who_waits_is_told_anything_else(
    cluster: FakeCluster, replica: Replica
) -> None:
    """In between nothing more is asked of its node, and for that moment no place comes free there."""
    left, full = gpu("gpu-1", {"4g.20gb@0": "goes", "2g.10gb@4": "near"}), gpu("gpu-2", {"4g.20gb@0": "far"})
    cluster.put_gpu_node(gpu_node("n1", left, full))
    cluster.put_node(node("n1"))
    cluster.put_pod(pod("goes", "4g.20gb", on="n1", ends_at=replica.clock.wall() + 30.0))
    cluster.put_pod(pod("near", "2g.10gb", on="n1"))
    cluster.put_pod(pod("far", "4g.20gb", on="n1"))
    agents = Floor(cluster)
    agents.release(cluster.pod("goes"))
    agents.report(N1)
    go_on(replica, agents, 2.0)
    cluster.put_pod(pod("waits", "4g.20gb", gated=True, created=replica.clock.wall()))
    go_on(replica, agents, 2.0)
    assert [reason for name, reason, _ in cluster.events if name == "waits"] == ["SoonFree"]

    cluster.put_pod(pod("small", "1g.5gb", gated=True, created=replica.clock.wall()))
    for _ in range(3):
        assert replica.round() is Outcome.PLANNED
    assert [reason for name, reason, _ in cluster.events if name == "waits"] == ["SoonFree"]
    told = cluster.pod("waits").told
    assert told is not None
    assert told.reason == "SoonFree"

    for _ in range(4):  # it does not answer, and is not waited for any more
        replica.clock.at += 10.0
        cluster.beat("n1", replica.clock.at)
        replica.lead()
        replica.round()
    assert [reason for name, reason, _ in cluster.events if name == "waits"] == ["SoonFree", "NoFreePlace"]
