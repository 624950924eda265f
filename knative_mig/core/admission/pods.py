"""Decides what a pod that asks for a slice is given as it is made: the way onto GPU nodes, and the gate.

Called by the mutating webhook; Knative never compares its pods with what it asked for. The gate holds the pod back from
the scheduler until the planner has a slice for it (decision record 0012), so it is put only on pods that the planner
plans for, and only where a GPU of ours has the profile: nobody else would lift it, and a node that is not ours may well
have what the pod asks for. A pod without the gate is planned for all the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from knative_mig.core.cluster.objects import Effect, Toleration
from knative_mig.core.gpu_node import GATE
from knative_mig.core.profile import ProfileName

# NVIDIA's documentation has GPU nodes tainted nvidia.com/gpu=present:NoSchedule; the value is left open.
GPU_TAINT: Final = Toleration(key="nvidia.com/gpu", exists=True, effect=Effect.NO_SCHEDULE)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPod:
    wants: Mapping[ProfileName, int] = field(default_factory=dict)
    gates: tuple[str, ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    bound: bool = False  # to a node, by whoever made it


@dataclass(frozen=True, slots=True, kw_only=True)
class Additions:
    toleration: Toleration | None = None
    gate: bool = False

    def __bool__(self) -> bool:
        return self.gate or self.toleration is not None


def additions(pod: NewPod, fleet: frozenset[ProfileName]) -> Additions:
    """`fleet`: the profiles that the GPUs of ours can be cut into, as far as is known."""
    asked = sum(pod.wants.values())
    if not asked:
        return Additions()
    return Additions(
        toleration=None if any(map(_covers, pod.tolerations)) else GPU_TAINT,
        gate=asked == 1 and fleet.issuperset(pod.wants) and not pod.bound and GATE not in pod.gates,
    )


def _covers(toleration: Toleration) -> bool:
    """Whatever value the taint has."""
    return toleration.exists and toleration.key in ("", GPU_TAINT.key) and toleration.effect in (None, GPU_TAINT.effect)
