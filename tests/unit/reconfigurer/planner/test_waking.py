"""What has the planner look before its next resync: what may be used, events, and the pods that an event foretold."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.events import PendingRevision
from knative_mig.core.gpu_node import GATE
from knative_mig.core.inventory import NodeName
from knative_mig.core.outcomes.causes import BEFORE_POD_S
from knative_mig.core.profile import ProfileName
from knative_mig.ports.kube import Key
from tests.rigs.fake_cluster import FakeCluster
from tests.rigs.planner_replica import Clock, Replica
from tests.rigs.small_cluster import gpu, gpu_node, node, pod

Comes = Callable[[PodFacts], bool]


def event(revision: str, told_by: str = "event-1") -> PendingRevision:
    profile = ProfileName.parse("3g.20gb")
    return PendingRevision(
        namespace="team", revision=revision, profile=profile, count=1, revision_uid=f"uid-{revision}", told_by=told_by
    )


@pytest.fixture
def comes(cluster: FakeCluster, replica: Replica) -> Comes:
    """A pod comes, or changes: whether that wakes the planner."""
    replica.loop.wake_on_changes()
    replica.round()

    def put(each: PodFacts) -> bool:
        cluster.put_pod(each)
        replica.pods.changed(Key(each.namespace, each.name))
        woken = replica.is_woken
        replica.round()
        return woken

    return put


def waits(clock: Clock, name: str = "p", revision: str = "llm-1") -> PodFacts:
    return pod(name, "3g.20gb", revision=revision, gated=True, created=clock.wall())


def test_a_pod_of_a_revision_of_which_no_event_told_waits_for_the_resync(comes: Comes, clock: Clock) -> None:
    assert not comes(waits(clock))


def test_an_event_wakes_the_planner_and_so_does_the_pod_that_it_foretold(
    comes: Comes, replica: Replica, clock: Clock
) -> None:
    replica.loop.hear(event("llm-1"))
    assert replica.is_woken
    replica.round()
    assert not comes(waits(clock, "q", "other-1"))
    assert comes(waits(clock))


def test_what_becomes_of_a_pod_that_has_its_node_is_nobodys_wish_for_a_slice(
    comes: Comes, replica: Replica, clock: Clock
) -> None:
    replica.loop.hear(event("llm-1"))
    replica.round()
    assert not comes(replace(waits(clock), node=NodeName("n1"), gates=()))
    assert not comes(replace(waits(clock), ends_at=clock.wall()))


def test_long_after_the_event_its_revisions_pods_wait_for_the_resync_again(
    comes: Comes, replica: Replica, clock: Clock
) -> None:
    replica.loop.hear(event("llm-1"))
    replica.round()
    clock.at += BEFORE_POD_S + 1
    assert not comes(waits(clock))


def test_a_pod_without_a_revision_wakes_the_planner_by_itself(comes: Comes, clock: Clock) -> None:
    assert comes(replace(waits(clock), revision=None))
    assert not comes(replace(waits(clock, "q"), revision=None, wants={}))


@pytest.mark.parametrize("which", ["gpu_nodes", "nodes", "quotas"])
def test_what_there_is_to_be_used_wakes_the_planner(comes: Comes, replica: Replica, which: str) -> None:
    getattr(replica, which).changed(Key("", "n1"))
    assert replica.is_woken


def test_while_something_is_moved_each_pod_on_a_slice_that_changes_wakes_the_planner_and_each_that_goes(
    comes: Comes, replica: Replica, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(replica.mover), "is_moving", property(lambda _: True))
    assert comes(replace(waits(clock), node=NodeName("n1"), gates=()))
    assert not comes(replace(waits(clock, "q"), wants={}))
    replica.pods.changed(Key("team", "gone"))
    assert replica.is_woken


def test_the_event_that_asked_for_a_slice_is_among_the_reasons_that_are_logged(
    cluster: FakeCluster, replica: Replica, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.put_gpu_node(gpu_node("n1", gpu("gpu-1", {"2g.10gb@4": None, "1g.5gb@6": None, "4g.20gb@0": "x"}), token=1))
    cluster.put_node(node("n1"))
    cluster.beat("n1", 0)
    replica.lead()
    replica.round()
    there = cluster.gpu_node("n1")
    assert there.status
    cluster.write_status(NodeName("n1"), replace(there.status, observed_generation=there.generation))
    replica.loop.hear(event("llm-1", "uid-1/7/3g.20gb/1/0"))
    cluster.put_pod(waits(clock))
    with caplog.at_level("INFO"):
        replica.round()
        replica.round()
    (line,) = [each for each in caplog.messages if "team/p is given 3g.20gb@4" in each]
    assert "merge" in line
    assert "event 'uid-1/7/3g.20gb/1/0' asked for it" in line
    assert GATE in cluster.pod("p").gates
