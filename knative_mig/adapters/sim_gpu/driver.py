"""Simulated GPUs behind the GPU port: they refuse what hardware refuses, in the same words.

Called wherever the agent, `dev` or a test wants GPUs without having any. Each call is counted against the injected
faults, waits as long as its latency says, and then changes the state in one step, so that a kill in between leaves
either all of it or nothing. `controls` does what only a simulation can: attach processes, lose a GPU, inject faults.
"""

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final, NoReturn, TypeVar

from knative_mig.adapters.sim_gpu.faults import Call, Fault, Harm, When, count
from knative_mig.adapters.sim_gpu.pids import start_time
from knative_mig.adapters.sim_gpu.state import Instance, SimulatedGpu, State, StateStore, new_mig_uuid
from knative_mig.core.errors import (
    GpuError,
    GpuLost,
    IllegalPlacement,
    InsufficientResources,
    NotSupported,
    PermissionDenied,
    ResetRequired,
    SliceInUse,
    SliceNotFound,
)
from knative_mig.core.geometry import Place, Profile
from knative_mig.core.nvml_placement import default_place
from knative_mig.core.profile import ProfileName
from knative_mig.ports.gpu import (
    Activation,
    Gpu,
    GpuInstance,
    GpuUuid,
    HealthEvent,
    Inventory,
    MigMode,
    Occupancy,
    OneGpu,
    SliceProcess,
    UnusableGpu,
    read_occupancy,
)

# NVIDIA publishes no figures; these lie within what drivers and operators were seen to take.
HARDWARE_LIKE_LATENCY_S: Final[Mapping[Call, float]] = MappingProxyType(
    {
        Call.CREATE_GPU_INSTANCE: 0.2,
        Call.CREATE_COMPUTE_INSTANCE: 0.1,
        Call.DESTROY_COMPUTE_INSTANCE: 0.3,
        Call.DESTROY_GPU_INSTANCE: 0.7,
    }
)
EVENT_POLL_S: Final = 0.02
T = TypeVar("T")


def kill_this_process() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a process outlived its SIGKILL")


class SimulatedGpus:
    """A `ports.gpu.GpuDriver`."""

    def __init__(
        self,
        store: StateStore,
        *,
        only: OneGpu | None = None,
        may_configure: bool = True,
        latency_s: Mapping[Call, float] = MappingProxyType({}),
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        die: Callable[[], NoReturn] = kill_this_process,
    ) -> None:
        self._store = store
        self._may_configure = may_configure
        self._latency_s = latency_s
        self._sleep = sleep
        self._clock = clock
        self._die = die
        self._only = only
        state = store.read()
        self._last_event = state.event_number
        if only is not None:
            self._wait_while_one_hangs(None)  # to open it is to ask it
        # One that was lost from the start has not said who it is.
        self._named = {gpu.uuid for _, gpu in self._own(store.read()) if not gpu.lost or (only and only.uuid)}

    def count(self) -> int:
        """How many there are, without a look at any."""
        return len(self._store.read().gpus)

    def _own(self, state: State) -> list[tuple[int, SimulatedGpu]]:
        """With their index: all, or what this driver was opened for."""
        numbered, only = list(enumerate(state.gpus)), self._only
        if only is None:
            return numbered
        return [
            (index, gpu)
            for index, gpu in numbered
            if (index == only.index if only.uuid is None else gpu.uuid == only.uuid)
        ]

    def inventory(self) -> Inventory:
        def look(state: State) -> Inventory:
            own = self._own(state)
            self._named |= {gpu.uuid for _, gpu in own if not gpu.lost}
            return Inventory(
                gpus=tuple(_seen(gpu) for _, gpu in own if not gpu.lost),
                unusable=tuple(
                    UnusableGpu(index=index, uuid=gpu.uuid if gpu.uuid in self._named else None, error=_lost(gpu))
                    for index, gpu in own
                    if gpu.lost
                ),
            )

        return self._look(Call.INVENTORY, look)

    def gpu(self, uuid: GpuUuid) -> Gpu:
        return self._look(Call.INVENTORY, lambda state: _seen(_reachable(state, uuid)), uuid)

    def set_mig_mode(self, uuid: GpuUuid, *, enabled: bool) -> Activation:
        def change(state: State) -> tuple[State, Activation]:
            gpu = _reachable(state, uuid)
            self._refuse_to_configure(gpu)
            if enabled == gpu.mode.current:
                gpu, became = replace(gpu, mode=MigMode(current=enabled, pending=enabled)), Activation.DONE
            elif any(living(instance) for instance in gpu.instances):
                gpu, became = _pending(gpu, enabled=enabled), Activation.CLIENTS_HOLD_THE_GPU
            elif gpu.mode_needs_reset:
                gpu, became = _pending(gpu, enabled=enabled), Activation.RESET_REQUIRED
            else:
                gpu, became = reset(_pending(gpu, enabled=enabled)), Activation.DONE
            return state.with_gpu(gpu), became

        return self._call(Call.SET_MIG_MODE, change, uuid)

    def remaining_capacity(self, uuid: GpuUuid, profile: ProfileName) -> int:
        def look(state: State) -> int:
            cut = state.gpu(uuid).model.profile(profile)
            gpu = _reachable(state, uuid)
            _refuse_without_mig(gpu)
            taken, more = gpu.taken, 0
            for place in gpu.model.places_of(cut):
                if not place.mask & taken:
                    taken, more = taken | place.mask, more + 1
            return more

        return self._look(Call.REMAINING_CAPACITY, look, uuid)

    def create_gpu_instance(self, uuid: GpuUuid, profile: ProfileName, start: int | None = None) -> GpuInstance:
        def change(state: State) -> tuple[State, GpuInstance]:
            cut = state.gpu(uuid).model.profile(profile)
            gpu = _reachable(state, uuid)
            self._refuse_to_cut(gpu)
            place = _free_place(gpu, cut, start)
            used = {instance.gi_id for instance in gpu.instances}
            # The lowest free id, not the number that hardware often derives from the place: nobody may derive it back.
            gi_id = next(each for each in range(1, len(used) + 2) if each not in used)
            new = Instance(serial=state.serial + 1, gi_id=gi_id, place=place, mig_uuid=None)
            return replace(state.with_gpu(gpu.with_instance(new)), serial=new.serial), new.seen(uuid)

        return self._call(Call.CREATE_GPU_INSTANCE, change, uuid)

    def create_compute_instance(self, instance: GpuInstance) -> GpuInstance:
        def change(state: State) -> tuple[State, GpuInstance]:
            gpu, found = self._changeable(state, instance)
            if found.mig_uuid is not None:
                raise InsufficientResources(f"{instance.slice_id} has its compute instance already")
            serial = state.serial + 1
            made = replace(found, mig_uuid=new_mig_uuid(gpu.uuid, serial))
            return replace(state.with_gpu(gpu.with_instance(made)), serial=serial), made.seen(gpu.uuid)

        return self._call(Call.CREATE_COMPUTE_INSTANCE, change, instance.gpu)

    def destroy_compute_instance(self, instance: GpuInstance) -> GpuInstance:
        def change(state: State) -> tuple[State, GpuInstance]:
            if instance.compute_instance is None:
                raise SliceNotFound(f"{instance.slice_id} had no compute instance when it was read")
            gpu, found = self._changeable(state, instance)
            if processes := living(found):
                raise SliceInUse(f"{instance.slice_id} is held by pid {', '.join(str(p.pid) for p in processes)}")
            left = replace(found, mig_uuid=None, holders=())
            return state.with_gpu(gpu.with_instance(left)), left.seen(gpu.uuid)

        return self._call(Call.DESTROY_COMPUTE_INSTANCE, change, instance.gpu)

    def destroy_gpu_instance(self, instance: GpuInstance) -> None:
        def change(state: State) -> tuple[State, None]:
            gpu, found = self._changeable(state, instance)
            if found.mig_uuid is not None:
                raise SliceInUse(f"{instance.slice_id} still has its compute instance")
            return state.with_gpu(gpu.without_instance(found)), None

        self._call(Call.DESTROY_GPU_INSTANCE, change, instance.gpu)

    def processes(self, instance: GpuInstance) -> tuple[SliceProcess, ...]:
        def look(state: State) -> tuple[SliceProcess, ...]:
            found = _find(_reachable(state, instance.gpu), instance)
            if found.mig_uuid is None:
                raise SliceNotFound(f"{instance.slice_id} has no compute instance")
            return living(found)

        return self._look(Call.PROCESSES, look, instance.gpu)

    def occupancy(self, uuid: GpuUuid) -> Occupancy:
        return read_occupancy(self, uuid)

    def wait_for_event(self, timeout_s: float) -> HealthEvent | None:
        def look(state: State) -> HealthEvent | None:
            own = {gpu.uuid for _, gpu in self._own(state)}
            for each in state.events:
                if each.number > self._last_event:
                    self._last_event = each.number
                    if each.event.gpu in own:
                        return each.event
            return None

        deadline = self._clock() + timeout_s
        event = self._around(Call.WAIT_FOR_EVENT, lambda: look(self._store.read()))
        while event is None and (left := deadline - self._clock()) > 0:
            self._sleep(min(left, EVENT_POLL_S))
            event = look(self._store.read())
        return event

    def close(self) -> None:
        pass

    def _look(self, call: Call, look: Callable[[State], T], gpu: GpuUuid | None = None) -> T:
        """Waits for nobody who is changing another GPU."""
        self._wait_while_one_hangs(gpu)
        return self._around(call, lambda: look(self._store.read()))

    def _wait_while_one_hangs(self, gpu: GpuUuid | None) -> None:
        """The one that is asked; None: all of this driver's are."""
        while any(each.hangs and gpu in (None, each.uuid) for _, each in self._own(self._store.read())):
            self._sleep(EVENT_POLL_S)

    def _call(self, call: Call, effect: Callable[[State], tuple[State, T]], gpu: GpuUuid) -> T:
        self._wait_while_one_hangs(gpu)
        return self._around(call, lambda: self._store.update(effect))

    def _around(self, call: Call, carry_out: Callable[[], T]) -> T:
        struck = self._strike(call)
        self._suffer(struck, When.BEFORE)
        if self._latency_s.get(call):
            self._sleep(self._latency_s[call])
        answer = carry_out()
        self._suffer(struck, When.AFTER)
        return answer

    def _strike(self, call: Call) -> tuple[Fault, ...]:
        """Counted and kept before any harm is done: a process that is killed here finds the fault spent."""
        if not any(fault.call is call for fault in self._store.read().faults):
            return ()

        def change(state: State) -> tuple[State, tuple[Fault, ...]]:
            faults, struck = count(state.faults, call)
            return replace(state, faults=faults), struck

        return self._store.update(change)

    def _suffer(self, struck: tuple[Fault, ...], when: When) -> None:
        for fault in struck:
            if fault.when is when:
                match fault.harm:
                    case Harm.HANG:
                        self._sleep(fault.hang_s)
                    case Harm.KILL:
                        self._die()
                    case Harm.FAIL:
                        raise fault.error(f"injected into {fault.call} ({when} its effect)")

    def _changeable(self, state: State, instance: GpuInstance) -> tuple[SimulatedGpu, Instance]:
        gpu = _reachable(state, instance.gpu)
        found = _find(gpu, instance)
        self._refuse_to_cut(gpu)
        return gpu, found

    def _refuse_to_cut(self, gpu: SimulatedGpu) -> None:
        self._refuse_to_configure(gpu)
        if gpu.mode.current != gpu.mode.pending:
            raise ResetRequired(f"{gpu.uuid} waits for a reset to turn MIG {'on' if gpu.mode.pending else 'off'}")
        _refuse_without_mig(gpu)

    def _refuse_to_configure(self, gpu: SimulatedGpu) -> None:
        if not self._may_configure:
            raise PermissionDenied(f"this process may not configure MIG on {gpu.uuid}")


def living(instance: Instance) -> tuple[SliceProcess, ...]:
    """Those on it that still are who they were: a slice is freed by the end of a process, however it ended."""
    return tuple(
        SliceProcess(pid=holder.pid, memory_mib=holder.memory_mib)
        for holder in instance.holders
        if start_time(holder.pid) == holder.started
    )


def reset(gpu: SimulatedGpu) -> SimulatedGpu:
    """What a reset and a reboot leave: the pending mode, and no slice."""
    mode = MigMode(current=gpu.mode.pending, pending=gpu.mode.pending)
    return replace(gpu, mode=mode, instances=(), lost=False, hangs=False, wants_reset=False)


def _pending(gpu: SimulatedGpu, *, enabled: bool) -> SimulatedGpu:
    return replace(gpu, mode=MigMode(current=gpu.mode.current, pending=enabled))


def _seen(gpu: SimulatedGpu) -> Gpu:
    return Gpu(
        uuid=gpu.uuid,
        product=gpu.product,
        model=gpu.model,
        mode=gpu.mode,
        instances=tuple(instance.seen(gpu.uuid) for instance in gpu.instances),
        wants_reset=gpu.wants_reset,
    )


def _lost(gpu: SimulatedGpu) -> GpuError:
    return GpuLost(f"{gpu.uuid} has fallen off the bus")


def _reachable(state: State, uuid: GpuUuid) -> SimulatedGpu:
    gpu = state.gpu(uuid)
    if gpu.lost:
        raise _lost(gpu)
    return gpu


def _refuse_without_mig(gpu: SimulatedGpu) -> None:
    if not gpu.mode.current:
        raise NotSupported(f"MIG is off on {gpu.uuid}")


def _find(gpu: SimulatedGpu, instance: GpuInstance) -> Instance:
    for found in gpu.instances:
        if found.gi_id == instance.gi_id and found.place == instance.place:
            if instance.compute_instance is None or instance.compute_instance.mig_uuid == found.mig_uuid:
                return found
            raise SliceNotFound(f"{instance.slice_id} was made anew since it was read")
    raise SliceNotFound(f"{instance.slice_id} is gone")


def _free_place(gpu: SimulatedGpu, profile: Profile, start: int | None) -> Place:
    if start is None:
        place = default_place(gpu.model, profile, gpu.taken)
        if place is None:
            raise InsufficientResources(f"no free place for {profile} on {gpu.uuid}")
        return place
    if start not in profile.starts:
        raise IllegalPlacement(f"{profile} cannot start at {start}: it can at {', '.join(map(str, profile.starts))}")
    place = gpu.model.place(profile, start)
    for instance in gpu.instances:
        if instance.place.mask & place.mask:
            raise InsufficientResources(f"{place} is in the way of {instance.place} on {gpu.uuid}")
    return place
