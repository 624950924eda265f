"""What the rest of the project may ask of GPUs: read them, cut them, and hear when they fail.

Called by the node agent, `dev` and the tests; answered by `adapters.nvml` on hardware and by `adapters.sim_gpu`
anywhere, which pass the same contract tests. Nothing here decides: a driver that is told to overlap two slices
answers with the error that hardware gives.

The subtle thing is what names a slice. A GPU instance's id is reused and cannot be derived from its place, a MIG UUID
is new at each re-creation, and a count names nothing: so a slice is (GPU UUID, profile name, start), `SliceId`. A
`GpuInstance` is what was read at one moment; acting on one that has since been destroyed or made anew raises
`SliceNotFound`, never touches its successor.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NewType, Protocol

from knative_mig.core import gpu_node, inventory
from knative_mig.core.errors import GpuError, GpuTimeout
from knative_mig.core.geometry import GpuModel, Place
from knative_mig.core.profile import ProfileName

GpuUuid = inventory.GpuUuid
SliceId = gpu_node.SliceId
MigUuid = NewType("MigUuid", str)


@dataclass(frozen=True, slots=True, kw_only=True)
class MigMode:
    """They differ while a GPU waits for its reset; slices are neither made nor destroyed until then."""

    current: bool
    pending: bool


class Activation(StrEnum):
    """What became of a change of mode: NVML returns it, and reports success for a change that did not take effect."""

    DONE = "Done"
    CLIENTS_HOLD_THE_GPU = "ClientsHoldTheGpu"
    RESET_REQUIRED = "ResetRequired"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeInstance:
    ci_id: int
    mig_uuid: MigUuid


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuInstance:
    """A slice as it was read. Without its compute instance it takes its memory and runs nothing: half made."""

    gpu: GpuUuid
    gi_id: int
    place: Place
    compute_instance: ComputeInstance | None

    @property
    def slice_id(self) -> SliceId:
        return SliceId(gpu=self.gpu, profile=self.place.profile.name, start=self.place.start)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignInstance:
    """Memory units taken by something that this project did not make and cannot reuse; `why` says what it is."""

    gi_id: int
    start: int
    size: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedProfile:
    """A profile that the driver offers and this version cannot name or place."""

    name: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    uuid: GpuUuid
    product: str  # as the driver names the board: NVIDIA A100-SXM4-40GB
    model: GpuModel  # as read from the driver, and the same object for GPUs that read the same
    mode: MigMode
    instances: tuple[GpuInstance, ...]  # by start
    foreign: tuple[ForeignInstance, ...] = ()
    skipped: tuple[SkippedProfile, ...] = ()
    wants_reset: bool | None = None  # nothing on it can be trusted before; None: the driver does not tell


@dataclass(frozen=True, slots=True, kw_only=True)
class UnusableGpu:
    """A GPU that is there and cannot be cut: lost, of a part without MIG, or failing. `uuid` where it can be told."""

    index: int
    uuid: GpuUuid | None
    error: GpuError


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    gpus: tuple[Gpu, ...]
    unusable: tuple[UnusableGpu, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceProcess:
    pid: int
    memory_mib: int | None  # None: the driver does not tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupancy:
    """A GPU, and who runs on it as listed right after: by the id of each GPU instance that has its compute instance, an
    error where the driver would not tell of that one.
    """

    gpu: Gpu
    processes: Mapping[int, tuple[SliceProcess, ...] | GpuError]


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthEvent:
    """A critical XID. Without `gi_id` it concerns the whole GPU."""

    gpu: GpuUuid
    xid: int
    gi_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OneGpu:
    """What a driver may be opened for, so that it touches no other GPU: one that hangs takes whoever asks with it. With
    `uuid` it is that GPU, looked for at `index` first: where one is gone, the others are counted anew.
    """

    index: int
    uuid: GpuUuid | None = None


NO_GPU: Final = OneGpu(index=-1)  # to count them


class GpuDriver(Protocol):
    """Each method may raise DriverNotLoaded (no driver, no library, or one older than needed), GpuNotFound (no GPU of
    that UUID), GpuLost (it has fallen off the bus), GpuTimeout (the driver gave up waiting), PermissionDenied (this
    process may not configure MIG) and a plain GpuError for what has no name of its own. The docstrings name the rest.

    One thread at a time: NVML serialises inside anyway, and a slow call would hide behind another's lock.
    """

    def inventory(self) -> Inventory:
        """All GPUs. One that fails is listed as unusable, and hides none of the others."""

    def gpu(self, uuid: GpuUuid) -> Gpu:
        """One GPU, read now. NotSupported: the part has no MIG."""

    def set_mig_mode(self, uuid: GpuUuid, *, enabled: bool) -> Activation:
        """Ask for a mode, and say what became of it: a change that waits for clients or for a reset is returned, not
        raised. A mode that changes takes all slices with it. NotSupported: the part has no MIG.
        """

    def remaining_capacity(self, uuid: GpuUuid, profile: ProfileName) -> int:
        """How many more of a profile the driver says it could make: to cross-check free places, not to plan with.
        NotSupported: MIG is off. UnknownProfile: not this model's.
        """

    def create_gpu_instance(self, uuid: GpuUuid, profile: ProfileName, start: int | None = None) -> GpuInstance:
        """Take memory units; without `start` the driver chooses, and may choose badly (`core.nvml_placement`).

        UnknownProfile: not this model's. IllegalPlacement: it cannot start there. InsufficientResources: something is
        in the way, so the plan was stale. ResetRequired: a change of mode is pending. NotSupported: MIG is off.
        """

    def create_compute_instance(self, instance: GpuInstance) -> GpuInstance:
        """Let processes run on the whole of it; the answer carries the new MIG UUID.

        SliceNotFound: the instance is gone. InsufficientResources: it has one already.
        """

    def destroy_compute_instance(self, instance: GpuInstance) -> GpuInstance:
        """SliceNotFound: gone, or it had none. SliceInUse: a process is on it (listed or not: monitors are not)."""

    def destroy_gpu_instance(self, instance: GpuInstance) -> None:
        """SliceNotFound: gone. SliceInUse: it still has its compute instance."""

    def processes(self, instance: GpuInstance) -> tuple[SliceProcess, ...]:
        """Who runs on it, by pid as the host counts. SliceNotFound: gone, or without a compute instance."""

    def occupancy(self, uuid: GpuUuid) -> Occupancy:
        """`gpu` and the `processes` of all its slices, at the cost of one question where asking costs. Raises what
        `gpu` raises, and GpuTimeout also where the driver gave up on a slice.
        """

    def wait_for_event(self, timeout_s: float) -> HealthEvent | None:
        """The next event since the driver was opened, oldest first; None when the time is up."""

    def close(self) -> None:
        """Nothing is undone: slices outlive who made them."""


def read_occupancy(driver: GpuDriver, uuid: GpuUuid) -> Occupancy:
    """For drivers to which a question more is nothing."""
    gpu = driver.gpu(uuid)
    found: dict[int, tuple[SliceProcess, ...] | GpuError] = {}
    for each in gpu.instances:
        if each.compute_instance is None:
            continue
        try:
            found[each.gi_id] = driver.processes(each)
        except GpuTimeout:
            raise
        except GpuError as error:
            found[each.gi_id] = error
    return Occupancy(gpu=gpu, processes=found)


def create_slice(driver: GpuDriver, uuid: GpuUuid, profile: ProfileName, start: int | None = None) -> GpuInstance:
    """A GPU instance with its compute instance, or neither: where the second fails the first is taken back, since one
    left behind holds memory that nobody can use. Raises what the two calls raise; the error that counts is the first.
    """
    half_made = driver.create_gpu_instance(uuid, profile, start)
    try:
        return driver.create_compute_instance(half_made)
    except GpuError as error:
        try:
            driver.destroy_gpu_instance(half_made)
        except GpuError as undo:
            error.add_note(f"{half_made.slice_id} is left behind without a compute instance: {undo}")
        raise


def destroy_slice(driver: GpuDriver, instance: GpuInstance) -> None:
    """Both instances, in the one order that works. SliceInUse leaves the slice whole."""
    if instance.compute_instance is not None:
        instance = driver.destroy_compute_instance(instance)
    driver.destroy_gpu_instance(instance)
