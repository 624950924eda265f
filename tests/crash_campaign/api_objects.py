"""What `tests.rigs.fake_agents` reads and writes, on the fake API server: facts of its objects, and changes in place.

Made by `moving`, which holds the server's lock around whatever reads, and around what it then writes.
"""

from collections.abc import Mapping
from typing import Any, Final

from knative_mig.adapters.kube import gpu_node_codec, parse
from knative_mig.adapters.kube.kinds import GPU_NODE, NODE, POD, Kind
from knative_mig.core.cluster.objects import NodeFacts, PodFacts
from knative_mig.core.gpu_node import GpuNode, GpuNodeStatus
from knative_mig.core.inventory import NodeName
from knative_mig.ports.kube import Key
from tests.fake_api import FakeApi

_SLICES: Final = "nvidia.com/mig-"
_READY: Final = "Ready"


class ApiObjects:
    """A `tests.rigs.fake_agents.Objects`."""

    def __init__(self, api: FakeApi) -> None:
        self._api = api
        self._read_at: dict[str, int] = {}  # the store's version, by kind
        self._gpu_nodes: dict[Key, GpuNode] = {}
        self._nodes: dict[Key, NodeFacts] = {}
        self._pods: dict[Key, PodFacts] = {}

    @property
    def gpu_nodes(self) -> Mapping[Key, GpuNode]:
        if self._has_changed(GPU_NODE):
            found = (gpu_node_codec.read(each) for each in self._api.objects(GPU_NODE))
            self._gpu_nodes = {Key("", each.name): each for each in found}
        return self._gpu_nodes

    @property
    def nodes(self) -> Mapping[Key, NodeFacts]:
        if self._has_changed(NODE):
            found = (parse.node(each) for each in self._api.objects(NODE))
            self._nodes = {Key("", each.name): each for each in found}
        return self._nodes

    @property
    def pods(self) -> Mapping[Key, PodFacts]:
        if self._has_changed(POD):
            found = (parse.pod(each) for each in self._api.objects(POD))
            self._pods = {Key(each.namespace, each.name): each for each in found}
        return self._pods

    def _has_changed(self, kind: Kind) -> bool:
        """Something has: looked at once for each version, as an agent asks for the same node again and again."""
        version = self._api.store.version
        if self._read_at.get(kind.plural) == version:
            return False
        self._read_at[kind.plural] = version
        return True

    def read(self, name: NodeName) -> GpuNode:
        return self.gpu_nodes[Key("", name)]

    def write_status(self, name: NodeName, status: GpuNodeStatus) -> None:
        """The planner's field stays."""
        (body,) = [each for each in self._api.objects(GPU_NODE) if each["metadata"]["name"] == name]
        self._api.put_object({**body, "status": {**body["status"], **gpu_node_codec.status_out(status)}})

    def put_node(self, node: NodeFacts) -> None:
        (body,) = [each for each in self._api.objects(NODE) if each["metadata"]["name"] == node.name]
        others = {name: amount for name, amount in body["status"]["allocatable"].items() if _SLICES not in name}
        slices = {profile.resource: str(count) for profile, count in node.slices.items()}
        self._api.put_object({**body, "status": {**body["status"], "allocatable": others | slices}})

    def put_pod(self, pod: PodFacts) -> None:
        """Where it runs and how it is; the rest is its own, and so are the conditions that are not the kubelet's."""
        (body,) = [each for each in self._api.objects(POD) if each["metadata"]["uid"] == pod.uid]
        others = [each for each in body["status"].get("conditions", []) if each["type"] != _READY]
        conditions = [_condition(ready=pod.ready), *others]
        status = {"phase": str(pod.phase), "reason": pod.reason, "conditions": conditions}
        where = {} if pod.node is None else {"nodeName": str(pod.node)}
        self._api.put_object({**body, "spec": body["spec"] | where, "status": status})

    def drop_pod(self, pod: PodFacts) -> None:
        self._api.remove_object(POD, Key(pod.namespace, pod.name))


def _condition(*, ready: bool) -> dict[str, Any]:
    return {"type": _READY, "status": str(ready)}
