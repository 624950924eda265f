"""What is known of a pod that waits for a slice while the planner has not said a word of it: what that may be due to.

Called by `cold_start` while somebody waits, and by `causes` afterwards. Of such a pod Kubernetes knows only that it has
a scheduling gate. The subtle thing is who is silent: a planner that has planned a slice for it waits for the node's
agent, and says no more until the slice is there.
"""

from collections.abc import Iterable, Iterator

from knative_mig.cli.pod_trouble import joined
from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.gpu_node import GATE, ConditionType, GpuNode, SliceKey

_CHANGES = "Changing"  # SpecApplied is False for that reason while all is well


def of_pod(pod: PodFacts, nodes: Iterable[GpuNode]) -> str:
    """Empty: the planner has said something of it, or need not."""
    if GATE not in pod.gates or pod.told is not None or pod.node is not None:
        return ""
    nodes = sorted(nodes, key=lambda each: each.name)
    planned = [f"{key} on {node.name}" for node in nodes for key in _unmade(node) if key.profile in pod.wants]
    said = f"{planned[0]} is planned and not made yet" if planned else "the planner has not said a word of it"
    return "; ".join([said, *filter(None, map(_trouble, nodes))])


def _unmade(node: GpuNode) -> Iterator[SliceKey]:
    made = {(gpu.uuid, each.key) for gpu in (node.status.gpus if node.status else ()) for each in gpu.slices}
    for gpu in node.spec.gpus:
        yield from (each.key for each in gpu.slices if (gpu.uuid, each.key) not in made)


def _trouble(node: GpuNode) -> str:
    """In its agent's words, as the planner would go by them."""
    if node.status is None:
        return f"the agent of {node.name} has not reported yet"
    ready, applied = map(node.status.condition, (ConditionType.READY, ConditionType.SPEC_APPLIED))
    if ready is not None and ready.status is not True:
        return joined(f"{node.name} is not ready", ready.reason, ready.message)
    if applied is not None and applied.status is False and applied.reason != _CHANGES:
        return joined(str(node.name), applied.reason, applied.message)
    return ""
