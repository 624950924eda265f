"""What pods say in their status of the slice that they wait for, on a cluster in memory: written once a state.

One GPU, full: whoever comes waits until somebody ends.
"""

from dataclasses import replace
from random import Random

import pytest

from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.inventory import NodeName
from knative_mig.ports.kube import Key
from reconfigurer.planner.loop import Outcome
from tests.rigs.fake_agents import Floor
from tests.rigs.fake_cluster import FakeCluster
from tests.rigs.planner_replica import Clock, Replica
from tests.rigs.small_cluster import gpu, gpu_node, node, pod

N1 = NodeName("n1")
LONG_S = 301.0  # after this a pod's Event is repeated


@pytest.fixture
def agents(cluster: FakeCluster) -> Floor:
    cluster.put_gpu_node(gpu_node("n1", gpu("gpu-1", {"7g.40gb@0": "whole"})))
    cluster.put_node(node("n1"))
    cluster.beat("n1", 0)
    cluster.put_pod(pod("whole", "7g.40gb", on="n1"))
    return Floor(cluster)


def turn(replica: Replica, agents: Floor) -> None:
    replica.cluster.beat("n1", replica.clock.at)
    replica.lead()
    assert replica.round() is Outcome.PLANNED
    replica.write_conditions()
    agents.obey(N1)


@pytest.fixture
def leader(replica: Replica, agents: Floor) -> Replica:
    turn(replica, agents)
    return replica


def ends(name: str, cluster: FakeCluster, agents: Floor) -> None:
    agents.end(cluster.pod(name))
    agents.report(N1)


def waits(name: str = "p", profile: str = "3g.20gb") -> PodFacts:
    return pod(name, profile, gated=True)


def said(cluster: FakeCluster, name: str = "p") -> tuple[bool | None, str, float]:
    told = cluster.pod(name).told
    assert told is not None
    return told.status, told.reason, told.since


def test_a_pod_that_waits_says_why_in_the_words_of_its_event_and_is_told_once(
    cluster: FakeCluster, agents: Floor, leader: Replica, clock: Clock
) -> None:
    cluster.put_pod(waits())
    began = float(int(clock.wall()))
    for _ in range(3):
        turn(leader, agents)
        clock.at += 1
    assert said(cluster) == (False, "NoFreePlace", began)
    told = cluster.pod("p").told
    assert told is not None
    assert "what would help: team/whole scaling to zero" in told.message
    assert cluster.events == [("p", "NoFreePlace", told.message)]
    assert cluster.condition_writes == [("p", "NoFreePlace")]


def test_a_pod_that_is_served_at_once_is_told_nothing(
    cluster: FakeCluster, agents: Floor, leader: Replica, clock: Clock
) -> None:
    ends("whole", cluster, agents)
    cluster.put_pod(waits())
    for _ in range(4):
        turn(leader, agents)
        clock.at += 1
    assert cluster.lifted
    assert cluster.condition_writes == []


def test_who_has_waited_says_when_it_is_given_its_slice_and_which(
    cluster: FakeCluster, agents: Floor, leader: Replica, clock: Clock
) -> None:
    cluster.put_pod(waits())
    turn(leader, agents)
    clock.at += 50
    ends("whole", cluster, agents)
    for _ in range(4):
        turn(leader, agents)
    agents.schedule(Random(0))
    turn(leader, agents)
    assert cluster.pod("p").node == "n1"
    assert said(cluster) == (True, "SliceGiven", float(int(clock.wall())))
    told = cluster.pod("p").told
    assert told is not None
    assert told.message.startswith("3g.20gb@4 of gpu-1 on n1, ")
    assert [reason for _, reason in cluster.condition_writes] == ["NoFreePlace", "SliceGiven"]


def test_who_has_waited_goes_on_to_say_so_while_its_slice_is_being_made(
    cluster: FakeCluster, agents: Floor, leader: Replica, clock: Clock
) -> None:
    """It may take long: a driver may refuse to destroy what stands in its place, again and again."""
    cluster.put_pod(waits())
    turn(leader, agents)
    ends("whole", cluster, agents)
    for _ in range(3):
        clock.at += 1
        cluster.beat("n1", clock.at)
        leader.lead()
        leader.round()
        leader.write_conditions()
    assert said(cluster)[:2] == (False, "NoFreePlace")
    for _ in range(3):
        turn(leader, agents)
    assert said(cluster)[:2] == (True, "SliceGiven")


def test_another_reason_is_another_word_and_the_time_is_the_first_ones(
    cluster: FakeCluster, agents: Floor, leader: Replica, clock: Clock
) -> None:
    cluster.put_pod(waits())
    turn(leader, agents)
    _, _, since = said(cluster)
    clock.at += 20
    cluster.put_node(replace(node("n1"), unschedulable=True))
    turn(leader, agents)
    assert said(cluster) == (False, "NoEligibleNode", since)
    assert [reason for _, reason in cluster.condition_writes] == ["NoFreePlace", "NoEligibleNode"]


def test_a_reason_that_passes_before_it_is_written_is_never_written(
    cluster: FakeCluster, agents: Floor, leader: Replica
) -> None:
    cluster.put_pod(waits())
    leader.round()
    cluster.put_node(replace(node("n1"), unschedulable=True))
    leader.round()
    cluster.put_node(node("n1"))
    turn(leader, agents)
    assert cluster.condition_writes == [("p", "NoFreePlace")]


def test_while_its_mirror_does_not_show_it_it_is_not_written_again(
    cluster: FakeCluster, agents: Floor, leader: Replica, clock: Clock
) -> None:
    cluster.put_pod(waits())
    leader.pods.snapshot()
    leader.pods.lagging = True
    for _ in range(3):
        turn(leader, agents)
        clock.at += 15
    assert len(cluster.condition_writes) == 1


def test_what_was_lost_or_undone_is_written_again_with_the_next_event(
    cluster: FakeCluster, agents: Floor, leader: Replica, clock: Clock
) -> None:
    cluster.put_pod(waits())
    turn(leader, agents)
    since = said(cluster)[2]
    cluster.put_pod(replace(cluster.pod("p"), told=None))
    turn(leader, agents)
    assert cluster.pod("p").told is None
    clock.at += LONG_S
    turn(leader, agents)
    assert said(cluster) == (False, "NoFreePlace", since)
    assert len(cluster.condition_writes) == 2


def test_another_holder_is_named_after_a_while_and_the_time_is_the_first_ones(
    cluster: FakeCluster, agents: Floor, leader: Replica, clock: Clock
) -> None:
    cluster.put_pod(waits())
    turn(leader, agents)
    first = cluster.pod("p").told
    cluster.put_pod(replace(cluster.pod("whole"), revision="another"))
    turn(leader, agents)
    assert cluster.pod("p").told == first
    clock.at += 10
    turn(leader, agents)
    told = cluster.pod("p").told
    assert told is not None
    assert first is not None
    assert "team/another" in told.message
    assert told.since == first.since


def test_who_was_let_go_is_not_told_that_it_waits_though_its_mirror_is_behind(
    cluster: FakeCluster, agents: Floor, leader: Replica, clock: Clock
) -> None:
    ends("whole", cluster, agents)
    cluster.put_pod(waits(profile="7g.40gb"))
    turn(leader, agents)
    assert cluster.lifted == [("p", "n1")]
    leader.pods.lagging = True  # it shows the gate still
    agents.schedule(Random(0))
    agents.report(N1)
    for _ in range(3):
        turn(leader, agents)
        clock.at += 1
    assert (cluster.condition_writes, cluster.events) == ([], [])


def follower(cluster: FakeCluster, clock: Clock) -> Replica:
    """Leads when the first one's lease has run out."""
    other = Replica(cluster, clock, "planner-b")
    other.leader.step()
    clock.at += 15
    return other


def test_a_new_leader_writes_nothing_where_it_stands_rightly(
    cluster: FakeCluster, agents: Floor, leader: Replica, clock: Clock
) -> None:
    cluster.put_pod(waits())
    turn(leader, agents)
    before = cluster.pod("p").told
    other = follower(cluster, clock)
    for _ in range(3):
        turn(other, agents)
    assert cluster.pod("p").told == before
    assert len(cluster.condition_writes) == 1


def test_a_new_leader_words_anew_what_names_who_held_the_place_before(
    cluster: FakeCluster, agents: Floor, leader: Replica, clock: Clock
) -> None:
    cluster.put_pod(waits())
    turn(leader, agents)
    cluster.put_pod(replace(cluster.pod("whole"), revision="another"))
    other = follower(cluster, clock)
    turn(other, agents)
    assert len(cluster.condition_writes) == 1
    clock.at += 10
    turn(other, agents)
    told = cluster.pod("p").told
    assert told is not None
    assert "team/another" in told.message
    assert len(cluster.condition_writes) == 2


def test_a_new_leader_says_of_whoever_was_served_meanwhile_that_it_was(
    cluster: FakeCluster, agents: Floor, leader: Replica, clock: Clock
) -> None:
    cluster.put_pod(waits())
    turn(leader, agents)
    ends("whole", cluster, agents)
    cluster.put_gpu_node(gpu_node("n1", gpu("gpu-1", {"3g.20gb@4": "p"}), token=1))
    cluster.put_pod(replace(cluster.pod("p"), gates=(), node=N1))
    other = follower(cluster, clock)
    for _ in range(3):
        turn(other, agents)
    assert said(cluster)[:2] == (True, "SliceGiven")
    assert [reason for _, reason in cluster.condition_writes] == ["NoFreePlace", "SliceGiven"]


def test_a_leader_that_leads_again_goes_by_what_others_have_written(
    cluster: FakeCluster, agents: Floor, leader: Replica, clock: Clock
) -> None:
    cluster.put_pod(waits())
    turn(leader, agents)
    told = cluster.pod("p").told
    assert told is not None
    other = follower(cluster, clock)
    turn(other, agents)
    leader.leader.step()
    assert leader.round() is Outcome.STANDBY
    cluster.put_pod(replace(cluster.pod("p"), told=replace(told, reason="NoEligibleNode")))
    clock.at += 15
    turn(leader, agents)
    assert said(cluster)[:2] == (False, "NoFreePlace")


def test_its_own_word_does_not_wake_the_planner_and_what_comes_after_it_does(
    cluster: FakeCluster, agents: Floor, leader: Replica
) -> None:
    leader.loop.wake_on_changes()
    cluster.put_pod(replace(waits(), revision=None))  # one that wakes by itself
    turn(leader, agents)
    assert cluster.pod("p").told is not None
    leader.pods.changed(Key("team", "p"))
    assert not leader.is_woken
    leader.pods.changed(Key("team", "p"))
    assert leader.is_woken
