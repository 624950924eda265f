"""The handles of a running cluster: kubectl, kn, nodes, images, URLs. Tests start from `Cluster.attach()`."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path

from tests.cluster.testbed import images
from tests.cluster.testbed.build import Build
from tests.cluster.testbed.errors import BadInputError
from tests.cluster.testbed.images import Image
from tests.cluster.testbed.kubectl import Kubectl
from tests.cluster.testbed.layout import Cache, State
from tests.cluster.testbed.node import NodeProcesses
from tests.cluster.testbed.topology import Topology
from tests.cluster.testbed.versions import versions


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What `up` finished: enough to see whether the next `up` has anything to do, and to attach to it."""

    network: str
    eventing: bool
    builds: dict[str, str]

    @classmethod
    def read(cls, state: State) -> "Ready | None":
        try:
            return cls(**json.loads(state.ready.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, state: State) -> None:
        half_written = state.ready.with_suffix(".tmp")
        half_written.write_text(json.dumps({"network": self.network, "eventing": self.eventing, "builds": self.builds}))
        half_written.replace(state.ready)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    state: State = field(default_factory=State.from_environment)
    cache: Cache = field(default_factory=Cache.from_environment)
    topology: Topology = field(default_factory=Topology.from_environment)
    builds: dict[str, Build] = field(default_factory=dict)

    @classmethod
    def attach(cls) -> "Cluster":
        """The cluster that is up; what tests start from."""
        cluster = cls()
        ready = Ready.read(cluster.state)
        if ready is None:
            raise BadInputError("no test cluster is up: run `make cluster-up`")
        topology = Topology(network=IPv4Network(ready.network))
        return cls(state=cluster.state, cache=cluster.cache, topology=topology, builds=recorded(ready))

    def with_builds(self, builds: dict[str, Build]) -> "Cluster":
        return Cluster(state=self.state, cache=self.cache, topology=self.topology, builds=builds)

    @property
    def kubectl(self) -> Kubectl:
        return Kubectl(binary=self.builds["kubernetes"].binary("kubectl"), kubeconfig=self.state.kubeconfig)

    @property
    def kn(self) -> Path:
        return self.builds["kn"].binary("kn")

    def node(self, name: str) -> NodeProcesses:
        node = self.topology.node(name)
        return NodeProcesses(state=self.state, topology=self.topology, builds=self.builds, node=node)

    @property
    def nodes(self) -> list[NodeProcesses]:
        return [self.node(node.name) for node in self.topology.nodes]

    def load(self, image: Image, *nodes: str) -> str:
        """Builds an image and imports it into these nodes (all by default); its name."""
        path = images.archive(image, self.cache.images)
        targets = [self.node(name) for name in nodes] or self.nodes
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda node: node.import_image(path), targets))
        return image.name

    def url(self, function: str, namespace: str = "default") -> str:
        return f"http://{function}.{namespace}.{self.topology.domain}"


def recorded(ready: Ready) -> dict[str, Build]:
    known = versions().components
    return {
        name: Build(component=known[name], folder=Path(path)) for name, path in ready.builds.items() if name in known
    }
