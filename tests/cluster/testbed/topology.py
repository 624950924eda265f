"""Names and addresses of the test cluster: one /16, split into nodes, pods and services.

Everybody reads this; nobody else makes up an address. Names start with `kmig`, which is how a sweep recognises ours.
"""

import os
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError
from typing import Final

from tests.cluster.testbed.errors import BadInputError

NETWORK_VARIABLE: Final = "KNATIVE_MIG_TESTBED_NETWORK"
DEFAULT_NETWORK: Final = "10.210.0.0/16"

# What nobody on the internet has: a cluster may lay its nodes, pods and Services over any of these.
PRIVATE_NETWORKS: Final = tuple(
    each
    for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
    for each in IPv4Network(block).subnets(new_prefix=16)
)

PREFIX: Final = "kmig"
HOST_LINK: Final = "kmig0"
FABRIC: Final = "kmig-fabric"  # the namespace that holds the switch between nodes, out of reach of the host's firewall
CONTROL: Final = "control"
CGROUP: Final = "knative-mig-testbed"

POOL_LABEL: Final = "knative-mig.dev/pool"
GPU_TAINT: Final = "nvidia.com/gpu=present:NoSchedule"


def namespace(member: str) -> str:
    return f"{PREFIX}-{member}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    name: str
    address: IPv4Address
    pods: IPv4Network
    gpu: bool

    @property
    def labels(self) -> dict[str, str]:
        if not self.gpu:
            return {POOL_LABEL: "system"}
        # The second label is the one that NVIDIA's feature discovery sets.
        return {POOL_LABEL: "gpu", "nvidia.com/gpu.present": "true", "knative-mig.dev/gpu": "simulated"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    network: IPv4Network = field(default_factory=lambda: IPv4Network(DEFAULT_NETWORK))
    # NVIDIA's documented taint keeps pods without the toleration off GPU nodes. Off until the admission webhook
    # adds that toleration: before, no function could be placed there.
    gpu_taint: bool = False

    @classmethod
    def from_environment(cls) -> "Topology":
        text = os.environ.get(NETWORK_VARIABLE) or DEFAULT_NETWORK
        try:
            network = IPv4Network(text)
        except (AddressValueError, NetmaskValueError, ValueError) as error:
            raise BadInputError(
                f"{NETWORK_VARIABLE}={text} is not an IPv4 network ({error}); try {DEFAULT_NETWORK}"
            ) from None
        if network not in PRIVATE_NETWORKS:
            raise BadInputError(f"{NETWORK_VARIABLE}={text} must be a private /16, for example {DEFAULT_NETWORK}")
        return cls(network=network)

    def _block(self, third_octet: int, prefix: int) -> IPv4Network:
        return IPv4Network((int(self.network.network_address) + third_octet * 256, prefix))

    @property
    def node_network(self) -> IPv4Network:
        return self._block(0, 24)

    @property
    def pod_network(self) -> IPv4Network:
        return self._block(16, 20)

    @property
    def service_network(self) -> IPv4Network:
        return self._block(32, 20)

    @property
    def host(self) -> IPv4Address:
        return self.node_network[1]

    @property
    def control(self) -> IPv4Address:
        return self.node_network[2]

    @property
    def kubernetes_service(self) -> IPv4Address:
        return self.service_network[1]

    @property
    def nodes(self) -> tuple[Node, ...]:
        names = (("system", False), ("gpu-1", True), ("gpu-2", True))
        return tuple(
            Node(name=name, address=self.node_network[10 + i], pods=self._block(16 + i, 24), gpu=gpu)
            for i, (name, gpu) in enumerate(names)
        )

    def node(self, name: str) -> Node:
        for node in self.nodes:
            if node.name == name:
                return node
        raise BadInputError(f"no node {name}; there are {', '.join(n.name for n in self.nodes)}")

    @property
    def system(self) -> Node:
        return self.nodes[0]

    @property
    def gateway(self) -> IPv4Address:
        """Where Kourier's LoadBalancer Service is reached from the host: the system node plays the load balancer."""
        return self.system.address

    @property
    def domain(self) -> str:
        """Maps onto the gateway by its name alone: public DNS and the cluster's own CoreDNS answer it alike."""
        return f"{self.gateway}.sslip.io"

    @property
    def api_server(self) -> str:
        return f"https://{self.control}:6443"
