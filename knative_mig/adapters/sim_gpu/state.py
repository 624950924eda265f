"""What simulated GPUs are at one moment, as values; and where such a value is kept.

`driver` and `controls` turn one state into the next; `state_file` keeps it where several processes see it,
`MemoryStore` keeps it where one test is fast.
"""

import re
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeVar

from knative_mig.adapters.sim_gpu.faults import Fault
from knative_mig.core.errors import BadInput, GpuNotFound
from knative_mig.core.geometry import GpuModel, Place
from knative_mig.core.mig_tables import gpu_model
from knative_mig.ports.gpu import ComputeInstance, GpuInstance, GpuUuid, HealthEvent, MigMode, MigUuid

MOST_GPUS: Final = 1024
_SPEC = re.compile(r"(0|[1-9][0-9]{0,8})x(.+)", re.ASCII)
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A process on a slice. A pid alone is reused, so its start time goes with it (`pids`)."""

    pid: int
    started: int
    memory_mib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    serial: int  # never reused, unlike gi_id: what a handle of the driver stands for
    gi_id: int
    place: Place
    mig_uuid: MigUuid | None  # None: no compute instance
    holders: tuple[Holder, ...] = ()

    def seen(self, gpu: GpuUuid) -> GpuInstance:
        compute = None if self.mig_uuid is None else ComputeInstance(ci_id=0, mig_uuid=self.mig_uuid)
        return GpuInstance(gpu=gpu, gi_id=self.gi_id, place=self.place, compute_instance=compute)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedGpu:
    uuid: GpuUuid
    model: GpuModel
    mode: MigMode
    instances: tuple[Instance, ...] = ()  # by start
    lost: bool = False
    hangs: bool = False  # whoever asks it anything gets no answer
    wants_reset: bool = False
    mode_needs_reset: bool = False  # as in a virtual machine: the driver may not reset the GPU itself

    @property
    def product(self) -> str:
        return self.model.aliases[0] if self.model.aliases else self.model.name

    @property
    def taken(self) -> int:
        mask = 0
        for instance in self.instances:
            mask |= instance.place.mask
        return mask

    def with_instance(self, new: Instance) -> "SimulatedGpu":
        others = [each for each in self.instances if each.serial != new.serial]
        return replace(self, instances=tuple(sorted([*others, new], key=lambda each: each.place.start)))

    def without_instance(self, gone: Instance) -> "SimulatedGpu":
        return replace(self, instances=tuple(each for each in self.instances if each.serial != gone.serial))


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedEvent:
    number: int
    event: HealthEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    gpus: tuple[SimulatedGpu, ...]
    serial: int = 0  # of the last instance made
    event_number: int = 0  # of the last event
    events: tuple[NumberedEvent, ...] = ()
    faults: tuple[Fault, ...] = ()

    def gpu(self, uuid: GpuUuid) -> SimulatedGpu:
        for gpu in self.gpus:
            if gpu.uuid == uuid:
                return gpu
        raise GpuNotFound(f"no GPU {uuid}: there are {', '.join(gpu.uuid for gpu in self.gpus)}")

    def with_gpu(self, new: SimulatedGpu) -> "State":
        return replace(self, gpus=tuple(new if gpu.uuid == new.uuid else gpu for gpu in self.gpus))


class StateStore(Protocol):
    """Where a state is kept: one writer at a time, and readers see it whole."""

    def read(self) -> State:
        """GpuStateDamaged: what is kept cannot be read."""

    def update(self, change: Callable[[State], tuple[State, T]]) -> T:
        """Replace the state by what `change` makes of it; nothing is kept when that raises."""


class MemoryStore:
    """For one process: fast, and gone with it."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._lock = threading.Lock()

    def read(self) -> State:
        return self._state

    def update(self, change: Callable[[State], tuple[State, T]]) -> T:
        with self._lock:
            self._state, answer = change(self._state)
            return answer


def new_state(spec: str, *, mig_enabled: bool = True, new_uuid: Callable[[], uuid.UUID] = uuid.uuid4) -> State:
    """The GPUs that `2xA100-40GB,1xH100-80GB` says, empty."""
    models = parse_spec(spec)
    mode = MigMode(current=mig_enabled, pending=mig_enabled)
    return State(
        gpus=tuple(SimulatedGpu(uuid=GpuUuid(f"GPU-{new_uuid()}"), model=model, mode=mode) for model in models)
    )


def parse_spec(spec: str, *, most: int = MOST_GPUS) -> tuple[GpuModel, ...]:
    """`most`: of a part. BadInput."""
    models: list[GpuModel] = []
    for part in spec.split(","):
        what = f"{part.strip()!r} in {spec!r}" if "," in spec else repr(part.strip())
        match = _SPEC.fullmatch(part.strip())
        if not match:
            raise BadInput(f"{what} is not written like 2xA100-40GB, a count and a model")
        if not 1 <= int(match[1]) <= most:
            raise BadInput(f"{what} asks for {match[1]} simulated GPUs: legal are 1 to {most} in each part")
        models += [gpu_model(match[2])] * int(match[1])
    if len(models) > MOST_GPUS:
        raise BadInput(f"{spec!r} asks for {len(models)} simulated GPUs: at most {MOST_GPUS} are")
    return tuple(models)


def new_mig_uuid(gpu: GpuUuid, serial: int) -> MigUuid:
    """Never the same twice, as on hardware, and the same in every run that makes the same slices on the same GPU."""
    return MigUuid(f"MIG-{uuid.uuid5(uuid.NAMESPACE_OID, f'{gpu}/{serial}')}")
