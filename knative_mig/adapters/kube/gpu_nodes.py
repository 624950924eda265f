"""Reads and writes GpuNodes: the port `ports.kube.GpuNodes`.

Called by the planner process, which writes specs, and by the agents, which make their node's and write its status. Each
writes by merge-patches of its own half, so that neither carries the other's along.
"""

from typing import Any

from knative_mig.adapters.kube import gpu_node_codec
from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.kinds import GPU_NODE, NODE
from knative_mig.adapters.kube.reflector import KubeMirror
from knative_mig.core.gpu_node import Condition, GpuNode, GpuNodeSpec, GpuNodeStatus
from knative_mig.core.inventory import NodeName
from knative_mig.ports.kube import AlreadyExists, Key, ObjectNotFound


class KubeGpuNodes:
    def __init__(self, client: KubeClient) -> None:
        self._client = client

    def read(self, name: NodeName) -> GpuNode:
        return gpu_node_codec.read(self._client.get(GPU_NODE, Key("", name)))

    def ensure(self, name: NodeName) -> GpuNode:
        try:
            return self.read(name)
        except ObjectNotFound:
            node = self._client.get(NODE, Key("", name))
            body = gpu_node_codec.new(name, str(node["metadata"]["uid"]))
        try:
            return gpu_node_codec.read(self._client.create(GPU_NODE, "", body))
        except AlreadyExists:
            return self.read(name)

    def write_spec(self, node: GpuNode, spec: GpuNodeSpec) -> GpuNode:
        # The uid beside the version: of a GpuNode that was deleted and made again another token may be the highest.
        about = {"resourceVersion": node.resource_version} | ({"uid": node.uid} if node.uid else {})
        patch = {"metadata": about, "spec": gpu_node_codec.spec_out(spec)}
        return gpu_node_codec.read(self._client.merge(GPU_NODE, Key("", node.name), patch))

    def write_status(self, name: NodeName, status: GpuNodeStatus) -> GpuNode:
        patch = {"status": gpu_node_codec.status_out(status)}
        return gpu_node_codec.read(self._client.merge(GPU_NODE, Key("", name), patch, subresource="status"))

    def write_planned(self, node: GpuNode, planned: Condition) -> GpuNode:
        # A field of its own: a merge-patch replaces lists whole, so among the agent's conditions it would not stay.
        patch: dict[str, Any] = {"status": {"planned": gpu_node_codec.planned_out(planned)}}
        if node.uid:
            patch["metadata"] = {"uid": node.uid}
        return gpu_node_codec.read(self._client.merge(GPU_NODE, Key("", node.name), patch, subresource="status"))


def mirror(client: KubeClient, name: NodeName | None = None) -> KubeMirror[GpuNode]:
    """Of all of them, or of one node's."""
    selector = "" if name is None else f"metadata.name={name}"
    return KubeMirror(client, GPU_NODE, gpu_node_codec.read, field_selector=selector)
