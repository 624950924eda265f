"""NVML's calls as this project uses them: errors by their number, arrays with room, profiles read to the end.

Called by `nvml`, which holds the session. Everything here takes handles that its caller has just obtained and keeps
none.
"""

import ctypes
from collections.abc import Callable, Iterator
from typing import Any, Final

import pynvml

from knative_mig.core.errors import (
    BadInput,
    DriverNotLoaded,
    GpuError,
    GpuLost,
    GpuNotFound,
    GpuTimeout,
    IllegalPlacement,
    InsufficientResources,
    NotSupported,
    PermissionDenied,
    ResetRequired,
    SliceInUse,
    SliceNotFound,
)
from knative_mig.core.geometry import GpuModel, Place, Profile
from knative_mig.core.profile import ProfileName
from knative_mig.ports.gpu import ComputeInstance, ForeignInstance, GpuUuid, MigMode, MigUuid, SkippedProfile

# By the number alone: the binding has no class for each, and newer drivers answer numbers it has no name for.
ERRORS: Final[dict[int, type[GpuError]]] = {
    pynvml.NVML_ERROR_UNINITIALIZED: DriverNotLoaded,
    pynvml.NVML_ERROR_INVALID_ARGUMENT: SliceNotFound,  # a dead handle, but for `CREATE_ERRORS`
    pynvml.NVML_ERROR_NOT_SUPPORTED: NotSupported,
    pynvml.NVML_ERROR_NO_PERMISSION: PermissionDenied,
    pynvml.NVML_ERROR_NOT_FOUND: SliceNotFound,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: DriverNotLoaded,
    pynvml.NVML_ERROR_TIMEOUT: GpuTimeout,
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: DriverNotLoaded,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: DriverNotLoaded,  # an older driver than this needs
    pynvml.NVML_ERROR_GPU_IS_LOST: GpuLost,
    pynvml.NVML_ERROR_RESET_REQUIRED: ResetRequired,
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: DriverNotLoaded,  # the driver was updated under a running library
    pynvml.NVML_ERROR_IN_USE: SliceInUse,
    pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH: DriverNotLoaded,
    pynvml.NVML_ERROR_INSUFFICIENT_RESOURCES: InsufficientResources,
    pynvml.NVML_ERROR_GPU_NOT_FOUND: GpuNotFound,
}
# Of the actions by which a driver says how a GPU is to be recovered: none, drain peer-to-peer traffic, recover the IMEX
# domain (nvml.h, nvmlDeviceGpuRecoveryAction_t). The others are resets of the GPU, of the bus or of the machine.
_USABLE_AS_IT_IS: Final = frozenset({0, 3, 5})
CREATE_ERRORS: Final = {**ERRORS, pynvml.NVML_ERROR_INVALID_ARGUMENT: IllegalPlacement}


def nvml(what: str, call: Callable[..., Any], *arguments: Any, errors: dict[int, type[GpuError]] = ERRORS) -> Any:
    try:
        return call(*arguments)
    except pynvml.NVMLError as error:
        raise gpu_error(error, what, errors) from error


def gpu_error(error: Any, what: str, errors: dict[int, type[GpuError]]) -> GpuError:
    return errors.get(error.value, GpuError)(f"NVML could not {what}: {error} ({error.value})")


def each_profile(count: int, call: Callable[..., Any], handle: Any, *more: int) -> Iterator[tuple[int, Any]]:
    """By NVML's enum: it has gaps where a part lacks a profile, and an older driver refuses what it never heard of."""
    for enum in range(count):
        try:
            yield enum, call(handle, enum, *more)
        except pynvml.NVMLError as error:
            if error.value not in (pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_INVALID_ARGUMENT):
                raise gpu_error(error, f"read profile {enum}", ERRORS) from error


def instances_of(call: Callable[..., Any], handle: Any, nvml_id: int, kind: Any, capacity: int) -> list[Any]:
    """The list has room for as many instances as the profile can have, or NVML refuses to fill it."""
    room, count = (kind * capacity)(), ctypes.c_uint(capacity)
    nvml(f"list instances of profile {nvml_id}", call, handle, nvml_id, room, ctypes.byref(count))
    return [room[at] for at in range(count.value)]


def read_profiles(handle: Any) -> tuple[tuple[Profile, ...], tuple[SkippedProfile, ...], dict[int, int]]:
    """The profiles this version can name and place, those it cannot, and how many instances each id of either can
    have: what it cannot name may lie on the GPU all the same.
    """
    profiles: dict[ProfileName, Profile] = {}
    skipped: list[SkippedProfile] = []
    capacities: dict[int, int] = {}
    for enum, info in each_profile(
        pynvml.NVML_GPU_INSTANCE_PROFILE_COUNT, pynvml.nvmlDeviceGetGpuInstanceProfileInfo, handle
    ):
        capacities[info.id] = info.instanceCount
        name = text(info.name).removeprefix("MIG ")
        try:
            profile = parse_profile(name, enum, info, possible_placements(handle, info.id))
        except BadInput as error:
            skipped.append(SkippedProfile(name=name, why=str(error)))
            continue
        if profiles.setdefault(profile.name, profile) is not profile:
            skipped.append(SkippedProfile(name=name, why=f"another profile, of id {info.id}, has the name already"))
    # By size, as the tables have them: NVML's enum puts a 1g with media engines behind the whole GPU.
    by_size = sorted(profiles.values(), key=lambda each: (each.compute, each.memory_units, each.nvml_id))
    return tuple(by_size), tuple(skipped), capacities


def possible_placements(handle: Any, nvml_id: int) -> list[Any]:
    """Possible on an empty GPU, whatever is on this one."""
    call, what = pynvml.nvmlDeviceGetGpuInstancePossiblePlacements, f"read the placements of profile {nvml_id}"
    count = ctypes.c_uint(0)
    nvml(what, call, handle, nvml_id, None, ctypes.byref(count))
    room = (pynvml.c_nvmlGpuInstancePlacement_t * count.value)()
    nvml(what, call, handle, nvml_id, room, ctypes.byref(count))
    return list(room[: count.value])


def parse_profile(name: str, enum: int, info: Any, placements: list[Any]) -> Profile:
    sizes = {each.size for each in placements}
    if len(sizes) != 1:
        raise BadInput(f"its placements have {len(sizes)} sizes instead of one")
    return Profile(
        name=ProfileName.parse(name),
        memory_units=sizes.pop(),
        starts=tuple(sorted(each.start for each in placements)),
        max_instances=info.instanceCount,
        memory_mib=info.memorySizeMB or None,
        multiprocessors=info.multiprocessorCount or None,
        nvml_enum=enum,
        nvml_id=info.id,
    )


def parse_place(model: GpuModel, info: Any) -> Place | str:
    """Where it lies, or why that is no place of this model."""
    for place in model.places:
        if place.profile.nvml_id == info.profileId and place.start == info.placement.start:
            return place
    return f"profile {info.profileId} at {info.placement.start} is no place of a {model}"


def foreign_instance(info: Any, why: str) -> ForeignInstance:
    return ForeignInstance(gi_id=info.id, start=info.placement.start, size=info.placement.size, why=why)


def read_compute_instance(handle: Any) -> ComputeInstance:
    info = nvml("read a compute instance", pynvml.nvmlComputeInstanceGetInfo_v2, handle)
    return ComputeInstance(ci_id=info.id, mig_uuid=MigUuid(read_uuid(info.device)))


def read_uuid(handle: Any) -> GpuUuid:
    return GpuUuid(nvml("read a UUID", pynvml.nvmlDeviceGetUUID, handle))


def read_mode(handle: Any, uuid: GpuUuid) -> MigMode:
    current, pending = nvml(f"read the MIG mode of {uuid}", pynvml.nvmlDeviceGetMigMode, handle)
    return MigMode(current=bool(current), pending=bool(pending))


def read_wants_reset(handle: Any, uuid: GpuUuid) -> bool | None:
    """None: a driver that has not heard of the question."""
    what = f"ask whether {uuid} wants a reset"
    try:
        (field,) = nvml(what, pynvml.nvmlDeviceGetFieldValues, handle, [pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION])
    except (NotSupported, SliceNotFound):  # an argument that it does not know is SliceNotFound here
        return None
    return None if field.nvmlReturn != pynvml.NVML_SUCCESS else field.value.uiVal not in _USABLE_AS_IT_IS


def text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
