"""Which call of a simulated GPU goes wrong, how, and at which time.

A fault is part of the GPUs' state: it reaches every process that uses them, and one that killed a process does not
kill its successor at the same call.
"""

import hashlib
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from knative_mig.core.errors import BadInput, GpuError


class Call(StrEnum):
    INVENTORY = "inventory"  # also `gpu`
    SET_MIG_MODE = "set_mig_mode"
    REMAINING_CAPACITY = "remaining_capacity"
    CREATE_GPU_INSTANCE = "create_gpu_instance"
    CREATE_COMPUTE_INSTANCE = "create_compute_instance"
    DESTROY_COMPUTE_INSTANCE = "destroy_compute_instance"
    DESTROY_GPU_INSTANCE = "destroy_gpu_instance"
    PROCESSES = "processes"
    WAIT_FOR_EVENT = "wait_for_event"


class Harm(StrEnum):
    FAIL = "fail"  # raise `error`
    HANG = "hang"  # take `hang_s` longer
    KILL = "kill"  # SIGKILL the calling process


class When(StrEnum):
    BEFORE = "before"  # nothing was done
    AFTER = "after"  # it was done, and the caller does not know


_KINDS: Final[tuple[type[GpuError], ...]] = (GpuError, *GpuError.__subclasses__())
ERRORS: Final = {kind.reason: kind for kind in _KINDS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    call: Call
    harm: Harm
    when: When = When.BEFORE
    nth: int | None = 1  # counted from the injection; None: each call, by `probability`
    probability: float = 1.0
    seed: int = 0
    error: type[GpuError] = GpuError
    hang_s: float = 3600.0
    seen: int = 0  # calls so far

    def __post_init__(self) -> None:
        if self.nth is not None and self.nth < 1:
            raise BadInput(f"a fault's nth call is counted from 1, not {self.nth}")
        if not 0.0 <= self.probability <= 1.0:
            raise BadInput(f"a fault's probability is between 0 and 1, not {self.probability}")
        if not 0.0 <= self.hang_s <= 86_400.0:
            raise BadInput(f"a fault hangs for 0 to 86400 seconds, not {self.hang_s}")

    @property
    def spent(self) -> bool:
        return self.nth is not None and self.seen >= self.nth

    def strikes(self) -> bool:
        """Whether the call just counted is hit; the same for the same seed in every run."""
        if self.nth is not None:
            return self.seen == self.nth
        draw = hashlib.sha256(f"{self.seed}/{self.seen}".encode()).digest()
        return int.from_bytes(draw[:6]) < self.probability * (1 << 48)


def count(faults: tuple[Fault, ...], call: Call) -> tuple[tuple[Fault, ...], tuple[Fault, ...]]:
    """The faults after this call was counted, and those that strike it."""
    counted = tuple(replace(each, seen=each.seen + 1) if each.call is call else each for each in faults)
    struck = tuple(each for each in counted if each.call is call and each.strikes())
    return tuple(each for each in counted if not each.spent), struck
