"""Planner and agents whole, on one clock that a test turns: simulated GPUs, their agents' loops, an API server in
memory, a scheduler that binds what an agent offers.

What is real here is what runs on a cluster: the planner's rounds, each node's GPU loop, the report that its publisher
writes. `pass_time` is fair: each tick the agents take up the spec, the kubelets are asked, pods that fit start, the
reports are written, and the replicas have their rounds.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from prometheus_client import CollectorRegistry

from knative_mig.adapters.sim_gpu import open_store
from knative_mig.adapters.sim_gpu.share_clock import ShareClock, ShareSeconds
from knative_mig.core.cluster.objects import Phase, PodFacts
from knative_mig.core.gpu_node import Layout
from knative_mig.core.inventory import NodeName
from knative_mig.core.profile import ProfileName
from knative_mig.ports.kube import Key
from reconfigurer.agent.metrics import AgentMetrics
from reconfigurer.agent.publisher import Identity, Publisher
from reconfigurer.agent.retry import Retry
from reconfigurer.agent.surroundings import Surroundings
from reconfigurer.planner.settings import PlannerSettings
from tests.rigs import planner_replica, simulated_node, small_cluster
from tests.rigs.fake_cluster import FakeCluster
from tests.rigs.planner_replica import Replica

QUIET_S = 8.0  # with a node's round of a second each, a planner's round comes every ten, as its resync


@dataclass
class WholeCluster:
    """`gpus`: by the name of its node, the one GPU there."""

    gpus: dict[str, str]
    cluster: FakeCluster = field(default_factory=FakeCluster)
    replicas: list[Replica] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = simulated_node.Clock()
        self.planners_clock = planner_replica.Clock(at=self.clock.now)
        self.gpu_clocks = {
            name: ShareClock(open_store(f"1x{model}"), lambda: self.clock.now) for name, model in self.gpus.items()
        }
        self.nodes = {name: simulated_node.Node(store, self.clock) for name, store in self.gpu_clocks.items()}
        self.publishers = {name: self._publisher(name, node) for name, node in self.nodes.items()}
        for name in self.nodes:
            self._report(name)

    # -- what happens to it ------------------------------------------------------------------------------------------

    def start_planner(self, name: str, settings: PlannerSettings | None = None) -> Replica:
        replica = Replica(self.cluster, self.planners_clock, name, settings or PlannerSettings())
        self.replicas.append(replica)
        return replica

    def ask(self, name: str, profile: str, *, namespace: str) -> None:
        """A replica of the service of that name waits for a slice."""
        asking = small_cluster.pod(name, profile, created=self.planners_clock.wall())
        self.cluster.put_pod(replace(asking, namespace=namespace))

    def end(self, name: str) -> None:
        for node in self.nodes.values():
            if name in node.pods:
                node.end(node.pods[name])
        (key,) = [each for each in self.cluster.pods if each.name == name]
        del self.cluster.pods[key]

    def pass_time(self, seconds: float) -> None:
        """Up to a round of the planners; faster while nothing changes."""
        until, before = self.clock.now + seconds, None
        while self.clock.now < until:
            if self._seen() == before:
                self.clock.now += QUIET_S
            before = self._seen()
            self._tick()

    # -- what there is -----------------------------------------------------------------------------------------------

    def running(self) -> dict[str, str]:
        """Each pod's slice."""
        return {
            pod.name: f"{pod.slice_id.profile}@{pod.slice_id.start} on {name}"
            for name, node in self.nodes.items()
            for pod in node.pods.values()
        }

    def by_the_gpus_clock(self) -> dict[ProfileName, ShareSeconds]:
        """By profile, of which no two models here have one in common."""
        return {profile: each for clock in self.gpu_clocks.values() for (_, profile), each in clock.seconds().items()}

    # -- one moment --------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        for name, node in self.nodes.items():
            self._take_up(name)
            node.round()
            self._bind(name)
            self._report(name)
        self.planners_clock.at = self.clock.now
        for replica in self.replicas:
            replica.leader.step()
            replica.round()

    def _seen(self) -> tuple[object, ...]:
        """What a tick in which nothing happened leaves as it was."""
        slices = tuple(tuple(node.slices()) for node in self.nodes.values())
        specs = tuple(self.cluster.gpu_node(name).spec for name in self.nodes)
        marks = tuple(node.board.snapshot().marks for node in self.nodes.values())
        return slices, specs, marks, tuple(self.running())

    def _take_up(self, name: str) -> None:
        node = self.nodes[name]
        node.spec = self.cluster.gpu_node(name)
        node.board.put_spec(node.spec)

    def _bind(self, name: str) -> None:
        """Scheduler and kubelet: a pod that waits gets any slice of its profile that is offered here."""
        node = self.nodes[name]
        for key, pod in self._waiting():
            (profile,) = pod.wants
            started = node.admit(str(profile), key.name, key.namespace)
            if started is not None:
                node.start(started)
                node.ask_kubelet()
                self.cluster.put_pod(replace(pod, node=NodeName(name), phase=Phase.RUNNING))

    def _waiting(self) -> Iterable[tuple[Key, PodFacts]]:
        return [(key, pod) for key, pod in self.cluster.pods.items() if pod.node is None]

    def _report(self, name: str) -> None:
        node = self.nodes[name]
        self.publishers[name].step()
        offered = Counter({str(profile): many for profile, many in node.offered.items()})
        self.cluster.put_node(small_cluster.node(name, slices=offered))
        self.cluster.beat(name, self.clock.now)

    def _publisher(self, name: str, node: simulated_node.Node) -> Publisher:
        return Publisher(
            Identity(node=NodeName(name), layout=Layout.DYNAMIC, agent_version="1", boot_id="b"),
            node.board,
            self.cluster,
            AgentMetrics(CollectorRegistry()),
            Retry(lambda: 1.0),
            clock=lambda: self.clock.now,
            wall=lambda: self.clock.now + self.planners_clock.ahead_s,
            surroundings=Surroundings(node.board),
        )
