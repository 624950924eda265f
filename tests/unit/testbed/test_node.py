"""What a node's daemons are told."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from tests.cluster.testbed.build import Build
from tests.cluster.testbed.control_plane import NODE_GRACE_SECONDS, ControlPlane
from tests.cluster.testbed.layout import State
from tests.cluster.testbed.node import NodeProcesses
from tests.cluster.testbed.topology import Topology
from tests.cluster.testbed.versions import versions

BUILDS = {name: Build(component=found, folder=Path("/cache") / name) for name, found in versions().components.items()}


def machine(name: str, topology: Topology | None = None) -> NodeProcesses:
    topology = topology or Topology()
    return NodeProcesses(state=State(root=Path("/s")), topology=topology, builds=BUILDS, node=topology.node(name))


def test_the_taint_that_nvidia_documents_is_an_option_of_gpu_nodes() -> None:
    assert machine("gpu-1").kubelet_settings()["registerWithTaints"] == []
    tainted = Topology(gpu_taint=True)
    assert machine("system", tainted).kubelet_settings()["registerWithTaints"] == []
    assert machine("gpu-1", tainted).kubelet_settings()["registerWithTaints"] == [
        {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    ]


@pytest.mark.parametrize("name", ["system", "gpu-1", "gpu-2"])
def test_each_node_gives_addresses_of_its_own_pod_network(name: str) -> None:
    node = machine(name)
    (first, *_) = json.loads(node.cni_settings())["plugins"]
    assert first["ipam"]["ranges"] == [[{"subnet": str(node.node.pods)}]]


def test_a_node_misses_several_leases_before_it_counts_as_lost() -> None:
    lease = machine("gpu-1").kubelet_settings()["nodeLeaseDurationSeconds"]
    assert isinstance(lease, int)
    renewed_every = lease / 4  # as the kubelet does
    assert renewed_every * 4 <= NODE_GRACE_SECONDS


def test_containerd_is_given_well_formed_settings_with_cdi() -> None:
    settings = tomllib.loads(machine("gpu-1").containerd_settings())
    runtime = settings["plugins"]["io.containerd.cri.v1.runtime"]
    assert runtime["enable_cdi"]
    assert runtime["cdi_spec_dirs"] == ["/var/run/cdi"]


def test_names_that_nobody_serves_are_answered_at_once() -> None:
    control = ControlPlane(state=State(root=Path("/s")), topology=Topology(), builds=BUILDS)
    corefile = control.corefile()
    assert "rcode NXDOMAIN" in corefile
    assert "forward" not in corefile
    named = set(re.findall(r"^  (\w+)", corefile, re.MULTILINE))
    built_in = re.findall(r"coredns/plugin/(\w+)", (versions().components["coredns"].folder / "main.go").read_text())
    assert named == set(built_in)
