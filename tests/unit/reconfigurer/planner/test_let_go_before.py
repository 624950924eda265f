"""Pods that were let go before the mirror of pods shows it: to whichever node, they have their slices there."""

from random import Random

import pytest

from knative_mig.core.cluster.objects import HOSTNAME, PodFacts
from knative_mig.core.inventory import NodeName
from knative_mig.ports.kube import ApiUnreachable, Key
from tests.rigs.fake_agents import Floor
from tests.rigs.fake_cluster import FakeCluster
from tests.rigs.planner_replica import Clock, Replica
from tests.rigs.small_cluster import gpu, gpu_node, node, pod

NODES = (NodeName("n1"), NodeName("n2"))


@pytest.fixture
def floor(cluster: FakeCluster, first: str) -> Floor:
    """Two nodes with one A100 each; only one has a slice yet."""
    for name in NODES:
        cluster.put_gpu_node(gpu_node(name, gpu(f"gpu-{name}", {"7g.40gb@0": None} if name == first else {})))
        cluster.put_node(node(name, slices={"7g.40gb": int(name == first)}))
    return Floor(cluster)


def obey(cluster: FakeCluster, floor: Floor, clock: Clock) -> None:
    for name in NODES:
        floor.obey(name)
        cluster.beat(name, clock.at)


@pytest.mark.parametrize("first", NODES)
def test_after_a_mirror_that_stood_still_nobody_is_sent_after_them(
    cluster: FakeCluster, floor: Floor, clock: Clock, replica: Replica, first: str
) -> None:
    replica.lead()
    replica.round()
    obey(cluster, floor, clock)
    cluster.put_pod(pod("p1", "7g.40gb", gated=True))
    cluster.put_pod(pod("p2", "7g.40gb", gated=True))
    replica.pods.snapshot()
    replica.pods.lagging = True
    replica.round()
    assert cluster.lifted == [("p1", first)]

    clock.at += 11
    obey(cluster, floor, clock)
    _rounds(replica, cluster, floor, clock)
    replica.pods.lagging = False
    _rounds(replica, cluster, floor, clock)

    _each_has_a_node(cluster, floor)


@pytest.mark.parametrize("first", NODES)
def test_a_new_leader_whose_mirror_is_behind_sends_nobody_after_them(
    cluster: FakeCluster, floor: Floor, clock: Clock, replica: Replica, first: str
) -> None:
    successor = Replica(cluster, clock, "planner-b")
    replica.lead()
    replica.round()
    obey(cluster, floor, clock)
    cluster.put_pod(pod("p1", "7g.40gb", gated=True))
    cluster.put_pod(pod("p2", "7g.40gb", gated=True))
    successor.pods.snapshot()
    successor.pods.lagging = True
    replica.round()
    assert cluster.lifted == [("p1", first)]

    replica.leader.release()
    obey(cluster, floor, clock)
    successor.lead()
    _rounds(successor, cluster, floor, clock)
    successor.pods.lagging = False
    _rounds(successor, cluster, floor, clock)

    _each_has_a_node(cluster, floor)


@pytest.mark.parametrize("first", NODES)
def test_one_who_is_seen_to_have_gone_while_a_round_is_made_has_its_slice_in_that_round_too(
    cluster: FakeCluster, floor: Floor, clock: Clock, replica: Replica, first: str
) -> None:
    replica.lead()
    replica.round()
    obey(cluster, floor, clock)
    before = pod("p2", "7g.40gb", gated=True)
    cluster.put_pod(before)
    replica.round()
    assert cluster.lifted == [("p2", first)]

    cluster.put_pod(pod("p1", "7g.40gb", gated=True))  # comes first by its name, as both are of one second
    replica.pods.show({**cluster.pods, Key("team", "p2"): before})
    replica.nodes.looked = lambda: replica.pods.show(cluster.pods)  # which a round does after its look at pods
    _rounds(replica, cluster, floor, clock)

    _each_has_a_node(cluster, floor)


@pytest.mark.parametrize("first", NODES)
def test_a_lift_whose_answer_was_lost_is_found_to_have_been_done(
    cluster: FakeCluster, floor: Floor, clock: Clock, replica: Replica, first: str
) -> None:
    replica.lead()
    replica.round()
    obey(cluster, floor, clock)
    cluster.put_pod(pod("p1", "7g.40gb", gated=True))
    cluster.put_pod(pod("p2", "7g.40gb", gated=True))
    replica.pods.snapshot()
    replica.pods.lagging = True
    lift_gate = cluster.lift_gate

    def lift_and_be_silent(key: Key, *, uid: str, gate: str, node: NodeName | None) -> PodFacts | None:
        lift_gate(key, uid=uid, gate=gate, node=node)
        raise ApiUnreachable("no answer in 10 s")

    cluster.lift_gate = lift_and_be_silent  # type: ignore[method-assign]
    replica.round()
    assert cluster.lifted == [("p1", first)]

    cluster.lift_gate = lift_gate  # type: ignore[method-assign]
    obey(cluster, floor, clock)
    _rounds(replica, cluster, floor, clock)
    replica.pods.lagging = False
    _rounds(replica, cluster, floor, clock)

    _each_has_a_node(cluster, floor)


def _rounds(replica: Replica, cluster: FakeCluster, floor: Floor, clock: Clock) -> None:
    for _ in range(4):
        replica.round()
        clock.at += 1
        replica.leader.step()
        obey(cluster, floor, clock)


def _each_has_a_node(cluster: FakeCluster, floor: Floor) -> None:
    assert {cluster.pod(name).node_selector.get(HOSTNAME) for name in ("p1", "p2")} == set(NODES)
    floor.schedule(Random(0))
    assert {cluster.pod(name).node for name in ("p1", "p2")} == set(NODES)
