"""Every address comes from one /16 and none is given twice."""

from ipaddress import IPv4Network

import pytest

from tests.cluster.testbed.errors import BadInputError
from tests.cluster.testbed.topology import HOST_LINK, Topology, namespace


@pytest.mark.parametrize("network", ["10.210.0.0/16", "172.20.0.0/16"])
def test_blocks_lie_apart_inside_the_network(network: str) -> None:
    topology = Topology(network=IPv4Network(network))
    blocks = [topology.node_network, topology.pod_network, topology.service_network]
    assert all(block.subnet_of(topology.network) for block in blocks)
    assert not any(a.overlaps(b) for a in blocks for b in blocks if a != b)
    assert all(node.pods.subnet_of(topology.pod_network) for node in topology.nodes)


def test_no_address_is_given_twice() -> None:
    topology = Topology()
    members = [topology.host, topology.control, *(node.address for node in topology.nodes)]
    assert len(set(members)) == len(members)
    assert len({node.pods for node in topology.nodes}) == len(topology.nodes)


def test_link_names_fit_the_kernel() -> None:
    names = [HOST_LINK, *(f"to-{node.name}" for node in Topology().nodes), "to-control"]
    assert all(len(name) <= 15 for name in names)


def test_the_domain_carries_the_gateways_address() -> None:
    topology = Topology()
    assert topology.domain.startswith(str(topology.gateway))


def test_only_gpu_nodes_carry_gpu_labels() -> None:
    system, *gpus = Topology().nodes
    assert "nvidia.com/gpu.present" not in system.labels
    assert all(node.labels["nvidia.com/gpu.present"] == "true" for node in gpus)


def test_an_unknown_node_is_answered_with_the_known_ones() -> None:
    with pytest.raises(BadInputError, match="no node gpu-9; there are system, gpu-1, gpu-2"):
        Topology().node("gpu-9")


def test_namespaces_start_with_the_prefix_that_the_sweep_looks_for() -> None:
    assert namespace("gpu-1") == "kmig-gpu-1"
