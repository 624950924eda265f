"""Which pods of a node have to go so that their function gets another one: failed at admission, or on a dead slice.

Called by the agent's pod loop. The kubelet leaves a pod that it could not admit lying there as Failed, and leaves a pod
whose device has become Unhealthy running: neither comes right by itself. The first is deleted, as nothing runs in it
and its controller makes another; a bare pod, which nobody makes anew, is left for its user to read;
the second is evicted, so that disruption budgets are kept. The subtle things are that a pod is named by its UID, as its
successor may have the same name, and how long it may take to end.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from knative_mig.core.agent.readings import UNMARKED, GpuReading, KubeletView, Mark, Unnamed
from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.gpu_node import GpuHealth, SliceId
from knative_mig.core.inventory import GpuUuid, NodeName

# Of a pod whose engine is dead. Its preStop would hold it until its queue-proxy has seen no request for 30 s, while the
# autoscaler and the scheduler count the pod and its device, so that its function waits for another pod: and nothing is
# left to drain. Not 0: that forgets the pod while its processes may still be there.
DEAD_ENGINE_GRACE_S: Final = 1


class Why(StrEnum):
    ADMISSION_FAILED = "SliceAdmissionFailed"  # the kubelet refused it: no device, or `hand_out` said no
    SLICE_CHANGED = "SliceChanged"  # its container would restart on another slice than it was given
    SLICE_BROKEN = "SliceBroken"  # an XID, or the slice is dead


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    namespace: str
    pod: str
    uid: str
    why: Why
    message: str
    evict: bool  # as disruption budgets allow; otherwise it is deleted at once
    grace_s: int | None = None  # in place of the pod's own

    def __str__(self) -> str:
        return f"pod {self.namespace}/{self.pod}"


def failed_at_admission(pods: Iterable[PodFacts], node: NodeName) -> tuple[Removal, ...]:
    return tuple(
        Removal(
            namespace=pod.namespace,
            pod=pod.name,
            uid=pod.uid,
            why=Why.ADMISSION_FAILED,
            message=f"deleted, so that its function is tried anew: the kubelet of {node} answered {pod.reason}",
            evict=False,
        )
        for pod in pods
        if pod.node == node and pod.is_refused
    )


def on_broken_slices(pods: Iterable[PodFacts], broken: Mapping[SliceId, str], view: KubeletView) -> tuple[Removal, ...]:
    """`broken`: why, by slice. A pod that holds several broken slices goes once, for the first of them."""
    return _of_holders(pods, broken, view, Why.SLICE_BROKEN, evict=True)


def on_changed_slices(
    pods: Iterable[PodFacts], changed: Mapping[SliceId, str], view: KubeletView
) -> tuple[Removal, ...]:
    """`changed`: slices that `before_start` refused. Such a pod cannot run again, so no budget is asked."""
    return _of_holders(pods, changed, view, Why.SLICE_CHANGED, evict=False)


def _of_holders(
    pods: Iterable[PodFacts],
    slices: Mapping[SliceId, str],
    view: KubeletView,
    why: Why,
    *,
    evict: bool,
) -> tuple[Removal, ...]:
    by_name = {(pod.namespace, pod.name): pod for pod in pods if not pod.over and pod.ends_at is None}
    found: dict[str, Removal] = {}
    for slice_id in sorted(slices):
        for holder in view.holders_of(slice_id):
            pod = by_name.get((holder.namespace, holder.pod))
            if pod and pod.uid not in found:
                found[pod.uid] = Removal(
                    namespace=pod.namespace,
                    pod=pod.name,
                    uid=pod.uid,
                    why=why,
                    message=f"{'evicted' if evict else 'deleted'} from slice {slice_id}: {slices[slice_id]}",
                    evict=evict,
                    grace_s=DEAD_ENGINE_GRACE_S,
                )
    return tuple(found.values())


def dead_slices(
    readings: Mapping[GpuUuid, GpuReading],
    marks: Mapping[SliceId, Mark],
    view: KubeletView,
    unnamed: Mapping[int, Unnamed] = MappingProxyType({}),
) -> Mapping[SliceId, str]:
    """Held slices on which nothing can run any more, and why. A GPU that merely cannot be read now is waited for.
    `unnamed`: of which one that has no reading has to be; none while some are still to be read.
    """
    found: dict[SliceId, str] = {}
    lost = [each for each in unnamed.values() if each.health is GpuHealth.LOST]
    for device in view.holders:
        slice_id = SliceId.parse(device)
        reading, mark = readings.get(slice_id.gpu), marks.get(slice_id, UNMARKED)
        if mark.broken:
            found[slice_id] = mark.broken
        elif mark.release is not None:
            continue
        elif reading is None:
            if lost and len(lost) == len(unnamed):
                found[slice_id] = f"its GPU is {lost[0].health}: {lost[0].why}"
        elif reading.health in (GpuHealth.LOST, GpuHealth.RESET_REQUIRED):
            found[slice_id] = f"its GPU is {reading.health}: {reading.why}"
        elif reading.health is GpuHealth.HEALTHY and reading.find(slice_id) is None:
            found[slice_id] = "the slice is not there any more"
    return found
