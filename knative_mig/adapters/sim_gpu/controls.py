"""What only a simulation can do to its GPUs: put processes on slices, break things, reset.

Called by tests and by what stands in for a workload: `dev`'s replicas attach themselves by the MIG UUID that they were
given, as a CUDA program would.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from knative_mig.adapters.sim_gpu.driver import living, reset
from knative_mig.adapters.sim_gpu.faults import Fault
from knative_mig.adapters.sim_gpu.pids import start_time
from knative_mig.adapters.sim_gpu.state import Holder, Instance, NumberedEvent, SimulatedGpu, State, StateStore
from knative_mig.core.errors import BadInput, SliceNotFound
from knative_mig.ports.gpu import GpuUuid, HealthEvent, MigUuid

KEPT_EVENTS: Final = 64


class SimulationControls:
    def __init__(self, store: StateStore) -> None:
        self._store = store

    def attach(self, mig_uuid: MigUuid, *, pid: int | None = None, memory_mib: int = 0) -> None:
        """SliceNotFound: no such slice any more. A process holds its slice until it is detached or gone."""
        pid = os.getpid() if pid is None else pid
        started = start_time(pid)
        if started is None:
            raise BadInput(f"there is no process {pid} to attach to {mig_uuid}")
        new = Holder(pid=pid, started=started, memory_mib=memory_mib)

        def change(instance: Instance) -> Instance:
            alive = {process.pid for process in living(instance)} - {pid}
            return replace(instance, holders=(*(h for h in instance.holders if h.pid in alive), new))

        self._change_slice(mig_uuid, change)

    def detach(self, mig_uuid: MigUuid, *, pid: int | None = None) -> None:
        gone = os.getpid() if pid is None else pid
        self._change_slice(
            mig_uuid,
            lambda instance: replace(instance, holders=tuple(h for h in instance.holders if h.pid != gone)),
        )

    def raise_xid(self, gpu: GpuUuid, xid: int, *, gi_id: int | None = None) -> None:
        def change(state: State) -> tuple[State, None]:
            event = HealthEvent(gpu=state.gpu(gpu).uuid, xid=xid, gi_id=gi_id)
            number = state.event_number + 1
            kept = (*state.events, NumberedEvent(number=number, event=event))[-KEPT_EVENTS:]
            return replace(state, event_number=number, events=kept), None

        self._store.update(change)

    def lose(self, gpu: GpuUuid) -> None:
        self._change_gpu(gpu, lambda found: replace(found, lost=True))

    def hang(self, gpu: GpuUuid, *, hangs: bool = True) -> None:
        """As one that is falling off its bus: no question to it comes back, also none that begins with it among others;
        those that wait are answered when it hangs no more.
        """
        self._change_gpu(gpu, lambda found: replace(found, hangs=hangs))

    def want_reset(self, gpu: GpuUuid) -> None:
        """As a driver says after an error that only a reset cures."""
        self._change_gpu(gpu, lambda found: replace(found, wants_reset=True))

    def reset(self, gpu: GpuUuid) -> None:
        """As by an administrator: the pending mode takes effect, slices are gone, a lost GPU is back."""
        self._change_gpu(gpu, reset)

    def reboot(self) -> None:
        """Every GPU is reset, as slices do not survive the machine."""
        self._store.update(lambda state: (replace(state, gpus=tuple(reset(gpu) for gpu in state.gpus)), None))

    def need_reset_for_mode(self, gpu: GpuUuid, *, needed: bool = True) -> None:
        """As in a virtual machine, where the driver may not reset the GPU by itself."""
        self._change_gpu(gpu, lambda found: replace(found, mode_needs_reset=needed))

    def inject(self, fault: Fault) -> None:
        self._store.update(lambda state: (replace(state, faults=(*state.faults, fault)), None))

    def clear_faults(self) -> None:
        self._store.update(lambda state: (replace(state, faults=()), None))

    def _change_gpu(self, uuid: GpuUuid, change: Callable[[SimulatedGpu], SimulatedGpu]) -> None:
        self._store.update(lambda state: (state.with_gpu(change(state.gpu(uuid))), None))

    def _change_slice(self, mig_uuid: MigUuid, change: Callable[[Instance], Instance]) -> None:
        def in_state(state: State) -> tuple[State, None]:
            for gpu in state.gpus:
                for instance in gpu.instances:
                    if instance.mig_uuid == mig_uuid:
                        return state.with_gpu(gpu.with_instance(change(instance))), None
            raise SliceNotFound(f"no slice {mig_uuid}")

        self._store.update(in_state)
