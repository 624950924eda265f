"""Who holds which slice, also by the word of a kubelet that has just started.

Called by the agent's node loop with each reading of PodResources. A kubelet that starts hears of its pods by the API
server, and until then it lists none of them, though their containers run on: by its word alone each slice would be
idle. A pod that has been given a slice keeps it for as long as it lives, so whoever held one is taken to hold it still
until the kubelet lists that pod again, or the pod is over, is told to end, or is gone.

The subtle thing is an agent that starts beside such a kubelet: it has heard of nobody itself, and goes on from what its
predecessor reported. And while the API server has not told the node's pods, that a pod is gone is nobody's word.
"""

from collections.abc import Iterable
from dataclasses import replace

from knative_mig.core.agent.readings import DeviceId, KubeletView, device_id
from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.gpu_node import GpuNodeStatus, Holder, SliceId


def reported_holders(last: GpuNodeStatus) -> KubeletView:
    """Who held what by the last report, of whichever agent of this node."""
    slices = (
        (SliceId(gpu=gpu.uuid, profile=each.key.profile, start=each.key.start), each)
        for gpu in last.gpus
        for each in gpu.slices
    )
    return KubeletView(holders={device_id(slice_id): each.holders for slice_id, each in slices if each.holders})


def with_known_holders(view: KubeletView, before: KubeletView, pods: Iterable[PodFacts] | None) -> KubeletView:
    """`view` with those of `before` that it leaves out and that live. Both are in our ids; `pods`: of this node, None
    while they are not known.
    """
    listed = {(each.namespace, each.pod) for held_by in view.holders.values() for each in held_by}
    alive = {(pod.namespace, pod.name): pod for pod in pods or () if not pod.over and pod.ends_at is None}
    holders = dict(view.holders)
    for device, held_by in before.holders.items():
        kept = tuple(
            each
            for each in held_by
            if (each.namespace, each.pod) not in listed
            and (pods is None or _asks(alive.get((each.namespace, each.pod)), device))
        )
        if kept:
            holders[device] = holders.get(device, ()) + kept
    return replace(view, holders=holders)


def left_out(view: KubeletView, told: KubeletView) -> tuple[tuple[DeviceId, Holder], ...]:
    """Whom `told`, the kubelet's own word, leaves out."""
    return tuple(
        (device, each)
        for device, held_by in sorted(view.holders.items())
        for each in held_by
        if each not in told.holders.get(device, ())
    )


def _asks(pod: PodFacts | None, device: DeviceId) -> bool:
    """Another pod of the name, after one that is gone, may ask for nothing like it."""
    return pod is not None and SliceId.parse(device).profile in pod.wants
