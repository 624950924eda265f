"""A GPU behind a process of its own, which is killed when a call does not come back.

Called by the node agent, once a GPU: a driver call that hangs (a GPU that is falling off its bus takes minutes) then
costs that GPU's loop its deadline and no other GPU anything. `python -m knative_mig.adapters.gpu_worker` is the other
end: it opens the real driver for that GPU alone and does what it is asked, one call at a time.

The subtle thing is a call that was cut short: it may have been carried out. GpuTimeout says no more than that nobody
waited any longer, and whoever gets it has to read the GPU again. A worker that dies is told as a plain GpuError, and
the next call starts another.
"""

import contextlib
import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from knative_mig.adapters.sim_gpu import Call, SimulatedGpus, open_store
from knative_mig.adapters.worker_answers import Packer, Unpacker
from knative_mig.core.errors import GpuError, GpuTimeout, KnativeMigError
from knative_mig.core.profile import ProfileName
from knative_mig.ports.gpu import (
    NO_GPU,
    Activation,
    Gpu,
    GpuDriver,
    GpuInstance,
    GpuUuid,
    HealthEvent,
    Inventory,
    Occupancy,
    OneGpu,
    SliceProcess,
)

ENDS_WITHIN_S: Final = 0.5  # a worker that is told to end; one that is killed may stay in the kernel for longer
_PR_SET_PDEATHSIG: Final = 1
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nvml:
    def open(self, only: OneGpu | None = None) -> GpuDriver:
        from knative_mig.adapters.nvml import NvmlGpus  # noqa: PLC0415 - simulated GPUs need no binding

        return NvmlGpus(only)


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """`spec` like 2xA100-40GB; the file is what the workers, and restarts, share."""

    spec: str
    state: Path
    latency_s: Mapping[Call, float] = field(default_factory=dict)
    may_configure: bool = True

    def open(self, only: OneGpu | None = None) -> SimulatedGpus:
        store = open_store(self.spec, self.state)
        return SimulatedGpus(store, only=only, latency_s=self.latency_s, may_configure=self.may_configure)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """Far beyond what each takes on a GPU that works: reading is milliseconds, a destroy was seen to take seconds."""

    open_s: float = 30.0
    read_s: float = 5.0
    change_s: float = 30.0


class GpuWorker:
    """A `ports.gpu.GpuDriver`. With `only` it touches no other GPU, and hears of none."""

    def __init__(
        self, driver: Nvml | Simulated, only: OneGpu | None = None, deadlines: Deadlines | None = None
    ) -> None:
        self._driver, self._only, self._deadlines = driver, only, deadlines or Deadlines()
        self._lock = threading.Lock()
        self._worker: _Worker | None = None
        self._closed = threading.Event()
        self._unpacker = Unpacker()
        self.started = 0  # workers so far: more than one tells of calls that hung

    def keep_to(self, uuid: GpuUuid) -> None:
        """Whoever was found at its index: a worker that is started later looks for that one."""
        assert self._only is not None
        self._only = replace(self._only, uuid=uuid)

    def begin_anew(self) -> None:
        """The next question goes to another worker, which opens the driver anew: a session counts GPUs once."""
        with self._lock:
            worker, self._worker = self._worker, None
            if worker is not None:
                worker.end()

    def count(self) -> int:
        found: int = self._read("count")
        return found

    def inventory(self) -> Inventory:
        found: Inventory = self._read("inventory")
        return found

    def gpu(self, uuid: GpuUuid) -> Gpu:
        read: Gpu = self._read("gpu", uuid)
        return read

    def set_mig_mode(self, uuid: GpuUuid, *, enabled: bool) -> Activation:
        became: Activation = self._change("set_mig_mode", uuid, enabled=enabled)
        return became

    def remaining_capacity(self, uuid: GpuUuid, profile: ProfileName) -> int:
        left: int = self._read("remaining_capacity", uuid, profile)
        return left

    def create_gpu_instance(self, uuid: GpuUuid, profile: ProfileName, start: int | None = None) -> GpuInstance:
        made: GpuInstance = self._change("create_gpu_instance", uuid, profile, start)
        return made

    def create_compute_instance(self, instance: GpuInstance) -> GpuInstance:
        made: GpuInstance = self._change("create_compute_instance", instance)
        return made

    def destroy_compute_instance(self, instance: GpuInstance) -> GpuInstance:
        left: GpuInstance = self._change("destroy_compute_instance", instance)
        return left

    def destroy_gpu_instance(self, instance: GpuInstance) -> None:
        self._change("destroy_gpu_instance", instance)

    def processes(self, instance: GpuInstance) -> tuple[SliceProcess, ...]:
        listed: tuple[SliceProcess, ...] = self._read("processes", instance)
        return listed

    def occupancy(self, uuid: GpuUuid) -> Occupancy:
        """One question to the worker, not one a slice."""
        read: Occupancy = self._read("occupancy", uuid)
        return read

    def wait_for_event(self, timeout_s: float) -> HealthEvent | None:
        event: HealthEvent | None = self._call(timeout_s + self._deadlines.read_s, "wait_for_event", (timeout_s,), {})
        return event

    def close(self) -> None:
        """Also while a call hangs on another thread, which then gets its error at once. No worker is started any more,
        and one that is just being started ends.
        """
        self._closed.set()
        worker = self._worker
        if worker is None:
            return
        if self._lock.acquire(timeout=ENDS_WITHIN_S):
            try:
                worker.end()
                self._worker = None
            finally:
                self._lock.release()
        else:
            worker.interrupt()

    def _read(self, method: str, *arguments: object) -> Any:
        return self._call(self._deadlines.read_s, method, arguments, {})

    def _change(self, method: str, *arguments: object, **named: object) -> Any:
        return self._call(self._deadlines.change_s, method, arguments, named)

    def _call(self, deadline_s: float, method: str, arguments: tuple[object, ...], named: Mapping[str, object]) -> Any:
        with self._lock:
            worker = self._worker or self._start()
            answer = self._ask(worker, (method, arguments, dict(named)), deadline_s, method)
        if isinstance(answer, KnativeMigError):
            raise answer
        return answer

    def _start(self) -> "_Worker":
        if self._closed.is_set():
            raise GpuError(f"the worker of {self._of()} is closed")
        worker = self._worker = _Worker()
        self._unpacker.begin()
        self.started += 1
        if self._closed.is_set():
            self._worker = None
            worker.kill()
            raise GpuError(f"the worker of {self._of()} was closed while it started")
        opened = self._ask(worker, (self._driver, self._only), self._deadlines.open_s, "opening the driver")
        if isinstance(opened, KnativeMigError):
            worker.end()
            self._worker = None
            raise opened
        return worker

    def _ask(self, worker: "_Worker", question: object, deadline_s: float, what: str) -> object:
        try:
            worker.connection.send(question)
            if worker.connection.poll(deadline_s):
                return self._unpacker.unpack(worker.connection.recv())
        except (EOFError, OSError) as error:
            self._worker = None
            code = worker.kill()
            raise GpuError(f"the worker of {self._of()} ended ({code}) during {what}") from error
        self._worker = None
        worker.kill()
        _LOG.error("%s on %s did not come back in %g s: its worker was killed", what, self._of(), deadline_s)
        raise GpuTimeout(f"{what} on {self._of()} did not come back in {deadline_s:g} s: it may have been carried out")

    def _of(self) -> str:
        if self._only is None or self._only == NO_GPU:
            return "all GPUs"
        return self._only.uuid or f"GPU {self._only.index}"


class _Worker:
    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - this very module
                [sys.executable, "-m", __spec__.name, str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )
        self.connection = Connection(ours.detach())

    def end(self) -> None:
        self.connection.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(ENDS_WITHIN_S)
            return
        self.kill()

    def interrupt(self) -> None:
        """For another thread than the one that waits for the answer, which sees the end of the pipe."""
        self._process.kill()

    def kill(self) -> int | None:
        """Its exit code; None: the kernel does not let go of it yet, and it does nothing more when it does."""
        self._process.kill()
        with contextlib.suppress(OSError):
            self.connection.close()
        try:
            return self._process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            return None


def serve(connection: Connection) -> None:
    """The worker's life: the driver is the first question, and the end of the pipe the last."""
    driver_setting, only = connection.recv()
    packer = Packer()
    try:
        driver: GpuDriver = driver_setting.open(only)
    except KnativeMigError as error:
        connection.send(packer.pack(error))
        return
    connection.send(packer.pack(None))
    while True:
        method, arguments, named = connection.recv()
        try:
            answer: object = getattr(driver, method)(*arguments, **named)
        except KnativeMigError as error:
            answer = error
        except Exception as error:  # noqa: BLE001 - the agent decides what an unforeseen error costs
            answer = GpuError(f"{method}: {type(error).__name__}: {error}")
        connection.send(packer.pack(answer))


def main(handle: int, parent: int) -> None:
    """It dies with its parent, also while a call of the driver hangs, and is not there for the terminal's signals."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        return
    with contextlib.suppress(EOFError, OSError):
        serve(Connection(handle))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
