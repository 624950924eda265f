"""What an XID and an error of the driver say about a slice and its GPU.

Called by `reconfigurer.agent.gpu_loop` for each event and each failed call, and for what an agent before it was told,
as an XID is raised once and outlives who heard it. The subtle thing is what is *not* broken:
an application that divides by zero on its slice raises an XID too, and must not cost the slice its next pod.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from knative_mig.core.agent.readings import GpuReading
from knative_mig.core.errors import (
    DriverNotLoaded,
    GpuError,
    GpuLost,
    GpuNotFound,
    NotSupported,
    ResetRequired,
)
from knative_mig.core.gpu_node import GpuHealth, SliceId


class Harm(StrEnum):
    NONE = "None"  # the application's own fault
    SLICE = "Slice"  # the slice is of no use until it is made anew; without one named, the GPU
    GPU = "Gpu"  # nothing on the GPU can be trusted until it is reset


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    harm: Harm
    why: str


# Numbers and meanings: NVIDIA, "XID Errors" (docs.nvidia.com/deploy/xid-errors). The application errors are those that
# NVIDIA's k8s-device-plugin skips by default (13, 31, 43, 45, 68, 109).
_APPLICATION: Final[Mapping[int, str]] = MappingProxyType(
    {
        13: "graphics engine exception",
        31: "GPU memory page fault",
        43: "GPU stopped processing",
        45: "preemptive cleanup",
        68: "video processor exception",
        109: "context switch timeout",
    }
)
_WHOLE_GPU: Final[Mapping[int, str]] = MappingProxyType(
    {
        48: "double bit ECC error",
        61: "internal microcontroller breakpoint",
        62: "internal microcontroller halt",
        64: "row remapping failure",
        74: "NVLink error",
        79: "fallen off the bus",
        95: "uncontained ECC error",
        119: "GSP RPC timeout",
        120: "GSP error",
        140: "unrecovered ECC error",
        143: "GPU initialisation failure",
        154: "GPU recovery action is needed",
    }
)
_SLICE: Final[Mapping[int, str]] = MappingProxyType(
    {
        69: "graphics engine class error",
        94: "contained ECC error",
    }
)
# Memory was repaired or counted: nothing is broken by it.
_NOTICES: Final[Mapping[int, str]] = MappingProxyType(
    {63: "row remapping was recorded", 92: "high single bit ECC rate"}
)


def verdict(xid: int) -> Verdict:
    """An unknown XID breaks what it was raised on: whoever knows better can mend it by hand, a pod cannot."""
    for table, harm in ((_APPLICATION, Harm.NONE), (_NOTICES, Harm.NONE), (_SLICE, Harm.SLICE), (_WHOLE_GPU, Harm.GPU)):
        if xid in table:
            return Verdict(harm=harm, why=f"XID {xid}: {table[xid]}")
    return Verdict(harm=Harm.SLICE, why=f"XID {xid}")


_HEALTH_OF: Final[tuple[tuple[type[GpuError], GpuHealth], ...]] = (
    (GpuLost, GpuHealth.LOST),
    (GpuNotFound, GpuHealth.LOST),
    (ResetRequired, GpuHealth.RESET_REQUIRED),
    (NotSupported, GpuHealth.NO_MIG),
    (DriverNotLoaded, GpuHealth.UNREADABLE),
)


def health_of(error: GpuError) -> GpuHealth:
    """Of a GPU whose *reading* failed so; the same error of one call on one slice may say less."""
    return next((health for kind, health in _HEALTH_OF if isinstance(error, kind)), GpuHealth.UNREADABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenSlice:
    """What an XID said of a slice: of the very one that had this MIG UUID, not of a successor at its place."""

    mig_uuid: str
    why: str


def still_broken(kept: Mapping[SliceId, BrokenSlice], reading: GpuReading) -> Mapping[SliceId, str]:
    """Of the slices that broke under an agent before this one, those that this GPU still has, and why."""
    found = {reading.slice_id(seen): seen.mig_uuid for seen in reading.slices}
    return {each: broken.why for each, broken in kept.items() if found.get(each) == broken.mig_uuid}


# So long after an XID a driver that wants a reset for it has said so.
SAYS_SO_WITHIN_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantine:
    """Of a GPU of which an XID said that only a reset cures it."""

    why: str
    since: float
    mig_uuids: frozenset[str]  # of the slices when it began: a reset leaves none of them
    failed_since: bool = False  # it could not be read for a while, as during a reset
    reset_wanted: bool = False  # by the driver's own word, at any time since
    taken_over: bool = False  # from an agent before: there may have been a reset while none ran

    def go_on(self, now: float) -> "Quarantine":
        """Under an agent that has just started."""
        return Quarantine(why=self.why, since=now, mig_uuids=self.mig_uuids, taken_over=True)

    def seen(self, *, wants_reset: bool | None) -> "Quarantine":
        return replace(self, reset_wanted=self.reset_wanted or wants_reset is True)

    def over(self, mig_uuids: frozenset[str], *, wants_reset: bool | None, now: float) -> bool:
        """A reset takes all slices with it. Where there was none, and the GPU was never away, the driver's word counts:
        it wants a reset no more, or never wanted one. Of a driver that does not say, a restart of the agent is the
        administrator's.
        """
        if wants_reset is True:
            return False
        if self.mig_uuids & mig_uuids:
            return False
        if self.mig_uuids or self.failed_since or self.reset_wanted:
            return True
        if wants_reset is None:
            return self.taken_over
        return now >= self.since + SAYS_SO_WITHIN_S


def health_of_mode(*, current: bool, pending: bool) -> tuple[GpuHealth, str]:
    if current != pending:
        return GpuHealth.MODE_PENDING, f"MIG is to be turned {'on' if pending else 'off'} by a reset"
    if not current:
        return GpuHealth.NO_MIG, "MIG is off"
    return GpuHealth.HEALTHY, ""
