"""Pods that each want a whole GPU, as many as there are GPUs, on planners that see pods late: each gets its own.

A pod that was let go can run on one node alone. So two that are sent to the same slice are one too many there, for
ever, while another GPU stands empty: nothing that comes later puts that right. Here mirrors of pods lag, and catch up
in the middle of a round; answers of lifts are lost; and the clock jumps as on a machine that stood still, so that who
leads leads no more, or another does. Agents, kubelets and the scheduler do what they are told, sooner or later.
"""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.inventory import NodeName
from knative_mig.ports.kube import ApiUnreachable, Key
from tests.rigs.fake_agents import Floor
from tests.rigs.fake_cluster import FakeCluster
from tests.rigs.planner_replica import Clock, Replica
from tests.rigs.small_cluster import gpu, gpu_node, node, pod

NODES = (NodeName("n1"), NodeName("n2"))
PODS = 4
HAPPENINGS = ("pod", "pod", "obey", "obey", "round", "round", "round", "lag", "sees", "loses", "stands")


class Story:
    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.clock = Clock()
        self.cluster = FakeCluster()
        for name in NODES:
            self.cluster.put_gpu_node(gpu_node(name, *(gpu(f"gpu-{name}-{number}") for number in range(2))))
            self.cluster.put_node(node(name))
        self.floor = Floor(self.cluster)
        self.planners = [Replica(self.cluster, self.clock, f"planner-{number}") for number in range(2)]
        self.came = 0
        self.loses = 0  # answers of lifts, from now on
        self._lift = self.cluster.lift_gate
        self.cluster.lift_gate = self._lift_gate  # type: ignore[method-assign]

    def _lift_gate(self, key: Key, *, uid: str, gate: str, node: NodeName | None) -> PodFacts | None:
        answer = self._lift(key, uid=uid, gate=gate, node=node)
        if self.loses:
            self.loses -= 1
            raise ApiUnreachable("no answer in 10 s")
        return answer

    def happen(self, what: str) -> None:
        match what:
            case "pod":
                self.come()
            case "obey":
                self.obey(self.rng.choice(NODES))
            case "round":
                self.lead()
            case "lag":
                planner = self.rng.choice(self.planners)
                planner.pods.snapshot()
                planner.pods.lagging = True
                planner.nodes.looked = lambda: None
            case "sees":
                self._sees_in_its_next_round(self.rng.choice(self.planners))
            case "loses":
                self.loses = self.rng.randrange(1, 3)
            case "stands":
                self.clock.at += 11
        self.clock.at += 0.1

    @staticmethod
    def _sees_in_its_next_round(planner: Replica) -> None:
        def sees() -> None:
            planner.pods.lagging = False

        planner.nodes.looked = sees  # a round looks at nodes after its look at pods

    def come(self) -> None:
        if self.came < PODS:
            self.came += 1
            self.cluster.put_pod(pod(f"p{self.came}", "7g.40gb", gated=True, created=self.clock.wall()))

    def obey(self, name: NodeName) -> None:
        self.floor.obey(name)
        self.cluster.beat(name, self.clock.at)

    def lead(self) -> None:
        for planner in self.rng.sample(self.planners, len(self.planners)):
            planner.leader.step()
            planner.round()

    def settle(self) -> None:
        self.loses = 0
        for planner in self.planners:
            planner.pods.lagging = False
        for _ in range(PODS):
            self.come()
        for _ in range(12):
            self.clock.at += 4  # a lease runs out meanwhile
            for name in NODES:
                self.obey(name)
            self.lead()
            self.floor.schedule(self.rng)


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_each_pod_has_a_gpu_of_its_own_however_late_planners_see_pods(seed: int) -> None:
    story = Story(seed)
    for _ in range(45):
        story.happen(story.rng.choice(HAPPENINGS))
    story.settle()
    waiting = [each.name for each in story.cluster.pods.values() if each.node is None]
    assert not waiting, f"{waiting} wait; let go were {story.cluster.lifted}"
