"""Pods that were let go before the mirror of pods shows it: to whichever node, they have their slices there."""

from dataclasses import dataclass
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


@dataclass
class Story:
    """Two nodes with one A100 each, led by `planner`; only `first` has a slice yet."""

    first: str
    cluster: FakeCluster
    clock: Clock
    planner: Replica

    def __post_init__(self) -> None:
        for name in NODES:
            self.cluster.put_gpu_node(
                gpu_node(name, gpu(f"gpu-{name}", {"7g.40gb@0": None} if name == self.first else {}))
            )
            self.cluster.put_node(node(name, slices={"7g.40gb": int(name == self.first)}))
        self.floor = Floor(self.cluster)
        self.planner.lead()
        self.planner.round()
        self.obey()

    def obey(self) -> None:
        for name in NODES:
            self.floor.obey(name)
            self.cluster.beat(name, self.clock.at)

    def come(self, *names: str) -> None:
        """Each wants a whole GPU."""
        for name in names:
            self.cluster.put_pod(pod(name, "7g.40gb", gated=True))

    def first_is_let_go_unseen(self, by: Replica) -> None:
        """p1 is, and `by` sees the two as they came."""
        self.come("p1", "p2")
        by.pods.snapshot()
        by.pods.lagging = True
        self.planner.round()
        assert self.cluster.lifted == [("p1", self.first)]

    def goes_on(self, planner: Replica) -> None:
        """It catches up on its way."""
        self.obey()
        self._rounds(planner)
        planner.pods.lagging = False
        self._rounds(planner)

    def _rounds(self, planner: Replica) -> None:
        for _ in range(4):
            planner.round()
            self.clock.at += 1
            planner.leader.step()
            self.obey()

    def each_has_a_node(self) -> None:
        pods = ("p1", "p2")
        assert {self.cluster.pod(name).node_selector.get(HOSTNAME) for name in pods} == set(NODES)
        self.floor.schedule(Random(0))
        assert {self.cluster.pod(name).node for name in pods} == set(NODES)


@pytest.fixture(params=NODES)
def story(request: pytest.FixtureRequest, cluster: FakeCluster, clock: Clock, replica: Replica) -> Story:
    return Story(request.param, cluster, clock, replica)


def test_after_a_mirror_that_stood_still_nobody_is_sent_after_them(story: Story) -> None:
    story.first_is_let_go_unseen(by=story.planner)
    story.clock.at += 11
    story.goes_on(story.planner)
    story.each_has_a_node()


def test_a_new_leader_whose_mirror_is_behind_sends_nobody_after_them(story: Story) -> None:
    successor = Replica(story.cluster, story.clock, "planner-b")
    story.first_is_let_go_unseen(by=successor)
    story.planner.leader.release()
    story.obey()
    successor.lead()
    story.goes_on(successor)
    story.each_has_a_node()


def test_one_who_is_seen_to_have_gone_while_a_round_is_made_has_its_slice_in_that_round_too(story: Story) -> None:
    cluster, planner = story.cluster, story.planner
    story.come("p2")
    before = cluster.pod("p2")
    planner.round()
    assert cluster.lifted == [("p2", story.first)]

    story.come("p1")  # is first by its name, as both are of one second
    planner.pods.show({**cluster.pods, Key("team", "p2"): before})
    planner.nodes.looked = lambda: planner.pods.show(cluster.pods)  # which a round does after its look at pods
    planner.round()
    story.goes_on(planner)
    story.each_has_a_node()


def test_a_lift_whose_answer_was_lost_is_found_to_have_been_done(story: Story) -> None:
    lift_gate = story.cluster.lift_gate

    def lift_and_be_silent(key: Key, *, uid: str, gate: str, node: NodeName | None) -> PodFacts | None:
        lift_gate(key, uid=uid, gate=gate, node=node)
        raise ApiUnreachable("no answer in 10 s")

    story.cluster.lift_gate = lift_and_be_silent  # type: ignore[method-assign]
    story.first_is_let_go_unseen(by=story.planner)
    story.cluster.lift_gate = lift_gate  # type: ignore[method-assign]
    story.goes_on(story.planner)
    story.each_has_a_node()
