"""GPUs behind NVML: the GPU port on hardware, over nvidia-ml-py.

Called by the node agent, which owns NVML on its node. Profiles, places and memory are read from the driver at the
first sight of a GPU: names differ by driver and board, and a name that this version cannot read is skipped with its
reason, as is an instance that it did not make.

NVML counts profiles twice: the *enum* is the argument of ProfileInfo, the *id* that it answers is the argument of all
else. Handles of instances die with them and MIG handles go stale within a session, so none is kept: each call finds
its instance anew and compares it with what the caller saw. One thread, one session from `__init__` to `close`.

A session for one GPU opens that GPU by its index, since by a UUID NVML opens others as it searches, and hears its
events alone: waiting for events fails for all as soon as one GPU of the set is lost. Only where another GPU has the
index by now are the rest looked through.
"""

import ctypes
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import pynvml

from knative_mig.adapters.nvml_calls import (
    CREATE_ERRORS,
    ERRORS,
    each_profile,
    foreign_instance,
    gpu_error,
    instances_of,
    nvml,
    parse_place,
    read_compute_instance,
    read_mode,
    read_profiles,
    read_uuid,
    read_wants_reset,
    text,
)
from knative_mig.core.errors import (
    GpuError,
    GpuLost,
    GpuNotFound,
    GpuTimeout,
    NotSupported,
    SliceNotFound,
    UnknownModel,
)
from knative_mig.core.geometry import GpuModel, Profile
from knative_mig.core.mig_tables import gpu_model
from knative_mig.core.profile import ProfileName
from knative_mig.ports.gpu import (
    Activation,
    ForeignInstance,
    Gpu,
    GpuInstance,
    GpuUuid,
    HealthEvent,
    Inventory,
    Occupancy,
    OneGpu,
    SkippedProfile,
    SliceProcess,
    UnusableGpu,
    read_occupancy,
)

_ACTIVATIONS: Final[dict[int, Activation]] = {
    pynvml.NVML_SUCCESS: Activation.DONE,
    pynvml.NVML_ERROR_IN_USE: Activation.CLIENTS_HOLD_THE_GPU,
    pynvml.NVML_ERROR_RESET_REQUIRED: Activation.RESET_REQUIRED,
}
# Two compute profiles have the slice count of another and fail where that one works.
_DOUBLED_COMPUTE_PROFILES: Final = (
    pynvml.NVML_COMPUTE_INSTANCE_PROFILE_1_SLICE_REV1,
    pynvml.NVML_COMPUTE_INSTANCE_PROFILE_7_SLICE_NVL,
)
_NO_INSTANCE: Final = 0xFFFFFFFF
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class _Device:
    """A GPU as the session knows it; its handle lives as long as the session."""

    handle: Any
    uuid: GpuUuid
    product: str
    model: GpuModel
    skipped: tuple[SkippedProfile, ...]
    capacities: dict[int, int]  # instances that a list of one profile id can hold, unnameable profiles included


@dataclass(frozen=True, slots=True)
class _ComputeProfile:
    nvml_enum: int
    nvml_id: int
    slices: int
    capacity: int


class NvmlGpus:
    """A `ports.gpu.GpuDriver`."""

    def __init__(self, only: OneGpu | None = None) -> None:
        self._only = only
        self._session = self._lost = False  # lost: to be opened anew by the next question
        self._devices: dict[int, _Device | GpuError] = {}
        self._uuids: dict[int, GpuUuid] = {}
        self._models: dict[tuple[str, tuple[Profile, ...]], GpuModel] = {}
        self._compute_profiles: dict[tuple[GpuUuid, int], tuple[_ComputeProfile, ...]] = {}
        self._open()

    def _open(self) -> None:
        nvml("start NVML", pynvml.nvmlInit)
        self._session = True
        self._events = nvml("make an event set", pynvml.nvmlEventSetCreate)
        count = self.count()
        if self._only is None:
            self._devices = {index: self._first_sight(index) for index in range(count)}
        else:
            self._devices, self._uuids = {}, {}
            self._open_one(self._only, count)

    def _open_one(self, only: OneGpu, count: int) -> None:
        others = [index for index in range(count) if index != only.index] if only.uuid is not None else []
        for index in ([only.index] if 0 <= only.index < count else []) + others:
            found = self._first_sight(index, only.uuid)
            seen = self._uuids.get(index)
            if only.uuid is None or seen == only.uuid:
                self._devices[index] = found
                return
            if seen is None and index == only.index:  # it does not say who it is: most likely who it was
                self._devices[index], self._uuids[index] = found, only.uuid
                return
            self._uuids.pop(index, None)

    def count(self) -> int:
        """How many there are, without a look at any."""
        found: int = nvml("count GPUs", pynvml.nvmlDeviceGetCount)
        return found

    def close(self) -> None:
        if self._session:
            self._session = False
            nvml("free the event set", pynvml.nvmlEventSetFree, self._events)
            nvml("end NVML", pynvml.nvmlShutdown)

    def _reopen(self) -> None:
        """A driver that is away stays so until it answers again: the next question asks it anew."""
        with suppress(GpuError):
            self.close()
        self._lost = True
        self._open()
        self._lost = False

    @property
    def driver_version(self) -> str:
        return text(nvml("read the driver's version", pynvml.nvmlSystemGetDriverVersion))

    def inventory(self) -> Inventory:
        if self._lost:
            self._reopen()
        gpus: list[Gpu] = []
        unusable: list[UnusableGpu] = []
        for index in sorted(self._devices):
            try:
                gpus.append(self._read(index))
            except GpuError as error:
                self._lost = self._lost or self._only is not None
                unusable.append(UnusableGpu(index=index, uuid=self._uuids.get(index), error=error))
        return Inventory(gpus=tuple(gpus), unusable=tuple(unusable))

    def gpu(self, uuid: GpuUuid) -> Gpu:
        try:
            return self._read(self._index(uuid))
        except (GpuLost, GpuNotFound):
            self._lost = self._lost or self._only is not None  # after its reset it wants a session of its own
            raise

    def set_mig_mode(self, uuid: GpuUuid, *, enabled: bool) -> Activation:
        device = self._device(uuid)
        status: int = nvml(f"set the MIG mode of {uuid}", pynvml.nvmlDeviceSetMigMode, device.handle, int(enabled))
        if status not in _ACTIVATIONS:
            raise gpu_error(pynvml.NVMLError(status), f"activate the MIG mode of {uuid}", ERRORS)
        return _ACTIVATIONS[status]

    def remaining_capacity(self, uuid: GpuUuid, profile: ProfileName) -> int:
        device = self._device(uuid)
        nvml_id = device.model.profile(profile).nvml_id
        what = f"count what {profile} is left on {uuid}"
        left: int = nvml(what, pynvml.nvmlDeviceGetGpuInstanceRemainingCapacity, device.handle, nvml_id)
        return left

    def create_gpu_instance(self, uuid: GpuUuid, profile: ProfileName, start: int | None = None) -> GpuInstance:
        device = self._device(uuid)
        cut = device.model.profile(profile)
        if start is None:
            call, arguments = pynvml.nvmlDeviceCreateGpuInstance, [device.handle, cut.nvml_id]
        else:
            wanted = pynvml.c_nvmlGpuInstancePlacement_t(start, cut.memory_units)
            call = pynvml.nvmlDeviceCreateGpuInstanceWithPlacement
            arguments = [device.handle, cut.nvml_id, ctypes.byref(wanted)]
        what = f"create {profile} at {'any place' if start is None else start} on {uuid}"
        handle = nvml(what, call, *arguments, errors=CREATE_ERRORS)
        info = nvml("read the new GPU instance", pynvml.nvmlGpuInstanceGetInfo, handle)
        place = device.model.place(cut, info.placement.start)
        return GpuInstance(gpu=uuid, gi_id=info.id, place=place, compute_instance=None)

    def create_compute_instance(self, instance: GpuInstance) -> GpuInstance:
        device = self._device(instance.gpu)
        handle, _ = self._find(device, instance)
        whole = self._whole_compute_profile(device, handle, instance.place.profile)
        what = f"create the compute instance of {instance.slice_id}"
        made = nvml(what, pynvml.nvmlGpuInstanceCreateComputeInstance, handle, whole.nvml_id)
        seen = read_compute_instance(made)
        return GpuInstance(gpu=instance.gpu, gi_id=instance.gi_id, place=instance.place, compute_instance=seen)

    def destroy_compute_instance(self, instance: GpuInstance) -> GpuInstance:
        if instance.compute_instance is None:
            raise SliceNotFound(f"{instance.slice_id} had no compute instance when it was read")
        _, compute = self._find(self._device(instance.gpu), instance)
        what = f"destroy the compute instance of {instance.slice_id}"
        nvml(what, pynvml.nvmlComputeInstanceDestroy, compute)
        return GpuInstance(gpu=instance.gpu, gi_id=instance.gi_id, place=instance.place, compute_instance=None)

    def destroy_gpu_instance(self, instance: GpuInstance) -> None:
        handle, _ = self._find(self._device(instance.gpu), instance)
        nvml(f"destroy {instance.slice_id}", pynvml.nvmlGpuInstanceDestroy, handle)

    def processes(self, instance: GpuInstance) -> tuple[SliceProcess, ...]:
        _, compute = self._find(self._device(instance.gpu), instance)
        if compute is None:
            raise SliceNotFound(f"{instance.slice_id} has no compute instance")
        what = f"list the processes of {instance.slice_id}"
        mig_device = nvml(what, pynvml.nvmlComputeInstanceGetInfo_v2, compute).device
        return tuple(
            SliceProcess(pid=each.pid, memory_mib=None if each.usedGpuMemory is None else each.usedGpuMemory // _MIB)
            for each in nvml(what, pynvml.nvmlDeviceGetComputeRunningProcesses_v3, mig_device)
        )

    def occupancy(self, uuid: GpuUuid) -> Occupancy:
        return read_occupancy(self, uuid)

    def wait_for_event(self, timeout_s: float) -> HealthEvent | None:
        if not self._session:
            self._reopen()
        if all(isinstance(each, GpuError) for each in self._devices.values()):
            return None  # none is listened to
        try:
            event = nvml("wait for events", pynvml.nvmlEventSetWait_v2, self._events, int(timeout_s * 1000))
        except GpuTimeout:
            return None
        except GpuError:
            self._lost = True  # a set that fails once may be deaf from then on
            raise
        gi_id = None if event.gpuInstanceId == _NO_INSTANCE else event.gpuInstanceId
        return HealthEvent(gpu=read_uuid(event.device), xid=event.eventData, gi_id=gi_id)

    def _device(self, uuid: GpuUuid) -> _Device:
        return self._device_at(self._index(uuid))

    def _index(self, uuid: GpuUuid) -> int:
        if self._lost:
            self._reopen()
        for index, known in self._uuids.items():
            if known == uuid and index in self._devices:
                return index
        raise GpuNotFound(f"no GPU {uuid}: there are {', '.join(self._uuids.values()) or 'none'}")

    def _device_at(self, index: int) -> _Device:
        """A GPU that failed at first sight is looked at again: it may have been reset since."""
        if isinstance(self._devices[index], GpuError):
            self._devices[index] = self._first_sight(index, self._only.uuid if self._only else None)
        device = self._devices[index]
        if isinstance(device, GpuError):
            raise device
        return device

    def _read(self, index: int) -> Gpu:
        """NVML's "unknown error" is the one that a new session may cure; reading can be done twice."""
        try:
            return self._read_once(self._device_at(index))
        except GpuError as error:
            if getattr(error.__cause__, "value", None) != pynvml.NVML_ERROR_UNKNOWN:
                raise
        uuid = self._uuids.get(index)
        self._reopen()
        if uuid is not None:
            index = self._index(uuid)  # a GPU may be gone since, and the others be counted anew
        elif index not in self._devices:
            raise GpuNotFound(f"GPU {index} is gone since NVML was opened anew")
        return self._read_once(self._device_at(index))

    def _first_sight(self, index: int, wanted: GpuUuid | None = None) -> _Device | GpuError:
        """Of one that is not `wanted` no more is read than who it is."""
        try:
            handle = nvml(f"find GPU {index}", pynvml.nvmlDeviceGetHandleByIndex, index)
            uuid = self._uuids[index] = read_uuid(handle)
            if wanted is not None and uuid != wanted:
                return GpuNotFound(f"GPU {index} is {uuid}")
            product: str = nvml(f"name {uuid}", pynvml.nvmlDeviceGetName, handle)
            read_mode(handle, uuid)  # NotSupported here says that the part has no MIG
            profiles, skipped, capacities = read_profiles(handle)
            self._listen(handle, uuid)
        except GpuError as error:
            return error
        return _Device(handle, uuid, product, self._model(product, profiles), skipped, capacities)

    def _listen(self, handle: Any, uuid: GpuUuid) -> None:
        xid = pynvml.nvmlEventTypeXidCriticalError
        with suppress(NotSupported):  # a GPU without events is of use without them
            nvml(f"hear events of {uuid}", pynvml.nvmlDeviceRegisterEvents, handle, xid, self._events)

    def _model(self, product: str, profiles: tuple[Profile, ...]) -> GpuModel:
        """One object for all GPUs that read the same: the core compares models by identity."""
        if (product, profiles) not in self._models:
            self._models[product, profiles] = GpuModel(
                name=_short_name(product),
                memory_units=max((each.memory_units + max(each.starts) for each in profiles), default=0),
                compute_slices=max((each.compute for each in profiles), default=0),
                profiles=profiles,
                aliases=(product,),
            )
        return self._models[product, profiles]

    def _read_once(self, device: _Device) -> Gpu:
        mode = read_mode(device.handle, device.uuid)
        ours: list[GpuInstance] = []
        foreign: list[ForeignInstance] = []
        for nvml_id, capacity in device.capacities.items() if mode.current else ():
            handles = instances_of(
                pynvml.nvmlDeviceGetGpuInstances, device.handle, nvml_id, pynvml.c_nvmlGpuInstance_t, capacity
            )
            for handle in handles:
                info = nvml("read a GPU instance", pynvml.nvmlGpuInstanceGetInfo, handle)
                place = parse_place(device.model, info)
                if isinstance(place, str):
                    foreign.append(foreign_instance(info, place))
                    continue
                whole, others = self._compute_instances(device, handle, place.profile)
                if others or len(whole) > 1:
                    foreign.append(foreign_instance(info, f"{place} is cut into several compute instances"))
                    continue
                seen = read_compute_instance(whole[0]) if whole else None
                ours.append(GpuInstance(gpu=device.uuid, gi_id=info.id, place=place, compute_instance=seen))
        return Gpu(
            uuid=device.uuid,
            product=device.product,
            model=device.model,
            mode=mode,
            instances=tuple(sorted(ours, key=lambda each: each.place.start)),
            foreign=tuple(sorted(foreign, key=lambda each: each.start)),
            skipped=device.skipped,
            wants_reset=read_wants_reset(device.handle, device.uuid),
        )

    def _find(self, device: _Device, instance: GpuInstance) -> tuple[Any, Any | None]:
        """The handles of what the caller saw, and of its compute instance; SliceNotFound if it is another by now."""
        what = f"find {instance.slice_id}"
        handle = nvml(what, pynvml.nvmlDeviceGetGpuInstanceById, device.handle, instance.gi_id)
        place = parse_place(device.model, nvml(what, pynvml.nvmlGpuInstanceGetInfo, handle))
        if place != instance.place:
            raise SliceNotFound(f"{instance.slice_id} is gone: GPU instance {instance.gi_id} is {place} now")
        whole, _ = self._compute_instances(device, handle, instance.place.profile)
        compute = whole[0] if whole else None
        if instance.compute_instance is not None and (
            compute is None or read_compute_instance(compute).mig_uuid != instance.compute_instance.mig_uuid
        ):
            raise SliceNotFound(f"{instance.slice_id} was made anew since it was read")
        return handle, compute

    def _compute_instances(self, device: _Device, handle: Any, profile: Profile) -> tuple[list[Any], list[Any]]:
        """Those that are the whole of a GPU instance, and others."""
        whole: list[Any] = []
        others: list[Any] = []
        for each in self._compute_profiles_of(device, handle, profile):
            found = instances_of(
                pynvml.nvmlGpuInstanceGetComputeInstances,
                handle,
                each.nvml_id,
                pynvml.c_nvmlComputeInstance_t,
                each.capacity,
            )
            (whole if each.slices == profile.compute else others).extend(found)
        return whole, others

    def _whole_compute_profile(self, device: _Device, handle: Any, profile: Profile) -> _ComputeProfile:
        for each in self._compute_profiles_of(device, handle, profile):
            if each.slices == profile.compute and each.nvml_enum not in _DOUBLED_COMPUTE_PROFILES:
                return each
        raise NotSupported(f"no compute instance profile has the {profile.compute} slices of {profile}")

    def _compute_profiles_of(self, device: _Device, handle: Any, profile: Profile) -> tuple[_ComputeProfile, ...]:
        """The same for each instance of a profile, so it is asked once."""
        key = (device.uuid, profile.nvml_id)
        if key not in self._compute_profiles:
            self._compute_profiles[key] = tuple(
                _ComputeProfile(enum, info.id, info.sliceCount, info.instanceCount)
                for enum, info in each_profile(
                    pynvml.NVML_COMPUTE_INSTANCE_PROFILE_COUNT,
                    pynvml.nvmlGpuInstanceGetComputeInstanceProfileInfo,
                    handle,
                    pynvml.NVML_COMPUTE_INSTANCE_ENGINE_PROFILE_SHARED,
                )
            )
        return self._compute_profiles[key]


def _short_name(product: str) -> str:
    """As the tables call it, or else as the driver does."""
    try:
        return gpu_model(product).name
    except UnknownModel:
        return product
