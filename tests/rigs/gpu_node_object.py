"""All of a GpuNode as the API has it: its writers send a spec, a status or the planner's word, each by itself."""

from typing import Any

from knative_mig.adapters.kube import gpu_node_codec
from knative_mig.adapters.kube.kinds import GPU_NODE
from knative_mig.core.gpu_node import GpuNode


def gpu_node_object(node: GpuNode) -> dict[str, Any]:
    about: dict[str, Any] = {"name": node.name, "labels": dict(node.labels), "generation": node.generation}
    if node.uid:
        about["uid"] = node.uid
    if node.resource_version:
        about["resourceVersion"] = node.resource_version
    body = {
        "apiVersion": GPU_NODE.group,
        "kind": GPU_NODE.kind,
        "metadata": about,
        "spec": gpu_node_codec.spec_out(node.spec),
    }
    status = {} if node.status is None else gpu_node_codec.status_out(node.status)
    if node.planned is not None:
        status["planned"] = gpu_node_codec.planned_out(node.planned)
    return {**body, "status": status} if status else body
