"""The simulated GPUs of a node, from outside: what only hardware does to them."""

from dataclasses import dataclass

from knative_mig.adapters.sim_gpu.controls import SimulationControls
from knative_mig.adapters.sim_gpu.state_file import FileStore
from knative_mig.core.inventory import GpuUuid
from tests.cluster.api import Api
from tests.cluster.driver import Cluster
from tests.cluster.slices import agent_pod, metric
from tests.cluster.system import STATE

CALLS = "knative_mig_agent_hardware_calls_total"


@dataclass(frozen=True, slots=True)
class Gpus:
    """Of all nodes, for a stage."""

    cluster: Cluster
    api: Api

    def calls(self, node: str, call: str) -> int:
        return int(metric(self.api, agent_pod(self.api, node), CALLS, call=call))

    def break_slice(self, node: str, gpu: str, uuid: str, xid: int) -> None:
        controls(self.cluster, node).raise_xid(GpuUuid(gpu), xid, gi_id=instance_number(self.cluster, node, uuid))


def controls(cluster: Cluster, node: str) -> SimulationControls:
    """Of the GPUs that the agent of this node has, through the same file."""
    return SimulationControls(_store(cluster, node))


def instance_number(cluster: Cluster, node: str, uuid: str) -> int:
    return instance_of(_store(cluster, node), uuid)


def instance_of(store: FileStore, uuid: str) -> int:
    """The GPU instance that a slice is now."""
    [found] = [each.gi_id for gpu in store.read().gpus for each in gpu.instances if each.mig_uuid == uuid]
    return found


def _store(cluster: Cluster, node: str) -> FileStore:
    return FileStore(cluster.testbed.node(node).folder.mounts["/var/lib"] / STATE.relative_to("/var/lib"))


def layouts(cluster: Cluster, node: str) -> dict[GpuUuid, frozenset[str]]:
    """What is cut on the node's GPUs, whatever anybody says of it, as in `3g.20gb@4`."""
    return {
        gpu.uuid: frozenset(f"{each.place.profile.name}@{each.place.start}" for each in gpu.instances)
        for gpu in _store(cluster, node).read().gpus
    }
