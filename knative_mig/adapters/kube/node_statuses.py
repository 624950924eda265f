"""Reads and writes what a Node's status says of its slices: the port `ports.kube.NodeStatuses`.

Called by the node agent. The kubelet writes the same two maps, by patches of what it sees changed;
a merge-patch of the named profiles alone steps on nothing of it.
"""

from collections.abc import Mapping
from typing import Any

from knative_mig.adapters.kube import pod_requests
from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.fields import Fields
from knative_mig.adapters.kube.kinds import NODE
from knative_mig.core.inventory import NodeName
from knative_mig.core.profile import ProfileName
from knative_mig.ports.kube import Key, NodeSlices


class KubeNodeStatuses:
    def __init__(self, client: KubeClient) -> None:
        self._client = client

    def read_slices(self, name: NodeName) -> NodeSlices:
        return _slices(self._client.get(NODE, Key("", name)))

    def write_slices(self, name: NodeName, slices: NodeSlices) -> NodeSlices:
        patch = {"status": {"capacity": _out(slices.capacity), "allocatable": _out(slices.allocatable)}}
        return _slices(self._client.merge(NODE, Key("", name), patch, subresource="status"))


def _out(counts: Mapping[ProfileName, int]) -> dict[str, str]:
    return {profile.resource: str(count) for profile, count in counts.items()}


def _slices(body: Mapping[str, Any]) -> NodeSlices:
    status = Fields(body).child("status")
    return NodeSlices(
        capacity=pod_requests.slices(pod_requests.amounts(status.child("capacity"))),
        allocatable=pod_requests.slices(pod_requests.amounts(status.child("allocatable"))),
    )
