"""What a node agent read: its GPUs and its kubelet, as values, and what it remembers of each slice.

Filled in by `reconfigurer.agent` and judged by everything in this folder. The subtle thing is when something was read:
a kubelet that was asked before a slice was withdrawn says nothing about who got it since, so a view carries the
time at which it was *asked*, and only views asked after an event count as having seen it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NewType

from knative_mig.core.geometry import GpuModel, Place
from knative_mig.core.gpu_node import GpuHealth, Holder, SliceId
from knative_mig.core.inventory import GpuUuid
from knative_mig.core.profile import ProfileName

# Between the kubelet's Allocate call and its holder in PodResources lie milliseconds, more where a kubelet starves.
HOLDER_SHOWS_WITHIN_S: Final = 5.0

DeviceId = NewType("DeviceId", str)  # a slice's id as the kubelet knows it, str(SliceId)


def device_id(slice_id: SliceId) -> DeviceId:
    return DeviceId(str(slice_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A slice as it is offered to the kubelet."""

    id: DeviceId
    healthy: bool
    numa_node: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeletView:
    """One reading of PodResources, holders read last. `allocatable`: devices that the kubelet holds for healthy now,
    which `allocatable_of` tells by profile: another plugin's are among them, where one serves the same profile.
    """

    holders: Mapping[DeviceId, tuple[Holder, ...]] = field(default_factory=dict)
    allocatable: frozenset[DeviceId] = frozenset()
    allocatable_of: Mapping[ProfileName, frozenset[DeviceId]] = field(default_factory=dict)

    def holders_of(self, slice_id: SliceId) -> tuple[Holder, ...]:
        return self.holders.get(device_id(slice_id), ())


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeletReading:
    """A view with the time before which it was asked for: what happened after `asked_at` it may have missed."""

    view: KubeletView
    asked_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReading:
    """How many slices of each profile the node's status offers, as the API server answered after `asked_at`."""

    allocatable: Mapping[ProfileName, int]
    asked_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenSlice:
    """A GPU instance that this project could have made. Without a MIG UUID it is half made."""

    place: Place
    gi_id: int
    ci_id: int | None
    mig_uuid: str | None
    pids: tuple[int, ...] | None  # None: they could not be listed
    not_injectable: str = ""  # why no container could be given it, whole as it is

    @property
    def half_made(self) -> bool:
        return self.mig_uuid is None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenForeign:
    """Memory units taken by something that was not made here."""

    gi_id: int
    start: int
    size: int
    why: str

    def mask(self, model: GpuModel) -> int:
        """Its memory, and the media engines beside it where the model divides those: whether it takes them is not
        known, and a create that the driver refuses is only a stale plan.
        """
        return (((1 << self.size) - 1) << self.start) & model.memory_mask


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuReading:
    """A GPU as it was last read. While it cannot be read, `slices` are those seen last and `health` says so."""

    uuid: GpuUuid
    read_at: float
    product: str = ""
    model: GpuModel | None = None  # None: never read
    health: GpuHealth = GpuHealth.HEALTHY
    why: str = ""
    slices: tuple[SeenSlice, ...] = ()
    foreign: tuple[SeenForeign, ...] = ()

    def slice_id(self, seen: SeenSlice) -> SliceId:
        return SliceId(gpu=self.uuid, profile=seen.place.profile.name, start=seen.place.start)

    def find(self, slice_id: SliceId) -> SeenSlice | None:
        return next((each for each in self.slices if self.slice_id(each) == slice_id), None)

    def unreadable(self, health: GpuHealth, why: str, at: float) -> "GpuReading":
        return replace(self, health=health, why=why, read_at=at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unnamed:
    """A GPU that the driver counts and that has not said who it is since the agent started: lost, or it hangs."""

    health: GpuHealth
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A slice whose engine has gone while its pod goes on: only that very slice, not a successor at its place."""

    since: float
    mig_uuid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What the agent remembers of a slice id beyond what can be read."""

    withdrawn_since: float | None = None  # taken back from the kubelet, to be destroyed
    lowered_at: float | None = None  # when kubelet and node status were both seen to offer it no more
    release: Release | None = None
    broken: str = ""  # why nobody may be given it
    handed_out_at: float | None = None  # the kubelet asked for it: its holder shows a moment later
    of_no_pod: bool = False  # a process is on it, and the kubelet names no holder: who came next would share it
    held_before: bool = False  # a container had it since it was made: a process of it may still be there

    def just_handed_out(self, now: float) -> bool:
        return self.handed_out_at is not None and now < self.handed_out_at + HOLDER_SHOWS_WITHIN_S

    @property
    def empty(self) -> bool:
        return self == Mark()


UNMARKED = Mark()


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """Why a GPU is not, or cannot be, as the spec says: quoted in the SpecApplied condition."""

    reason: str  # CamelCase
    message: str
