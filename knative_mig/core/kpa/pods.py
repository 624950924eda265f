"""Which pods of a revision count for the autoscaler.

Called before each tick and each pass of `reconcile`. The subtle thing is a pod that is being deleted: it is not ready
from that moment on, although it serves what it began and its own condition still says Ready.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    phase: Phase
    ready: bool = False  # its condition
    ending: bool = False


def counts(pod: Pod) -> bool:
    return pod.phase is Phase.RUNNING and pod.ready and not pod.ending


def ready_count(pods: Iterable[Pod]) -> int:
    return sum(map(counts, pods))
