"""What the ABI library asks: NVML's calls, answered by simulated GPUs.

Started by libnvidia-ml.c with a socket as stdin and stdout, one for each process that opens NVML; in the tests' own
process `library` answers on a thread instead, as a process takes longer to start than most tests to run. A question is
a verb and words, an answer is NVML's return code and words. `NVML_ABI_CONFIG` says which GPUs, and in what the driver
is odd.
"""

import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

from knative_mig.adapters.sim_gpu import FileStore, SimulatedGpus
from knative_mig.adapters.sim_gpu.state import Instance, SimulatedGpu
from knative_mig.core import errors
from knative_mig.core.geometry import Profile
from knative_mig.ports.gpu import Activation, GpuUuid

# By nvml.h, apart from the adapter's table on purpose: the two meet in the contract tests.
RETURN_CODES: Final[dict[str, int]] = {
    errors.DriverNotLoaded.reason: 9,
    errors.GpuError.reason: 999,
    errors.GpuLost.reason: 15,
    errors.GpuNotFound.reason: 6,
    errors.GpuStateDamaged.reason: 17,
    errors.GpuTimeout.reason: 10,
    errors.IllegalPlacement.reason: 2,
    errors.InsufficientResources.reason: 23,
    errors.NotSupported.reason: 3,
    errors.PermissionDenied.reason: 4,
    errors.ResetRequired.reason: 16,
    errors.SliceInUse.reason: 19,
    errors.SliceNotFound.reason: 6,
    errors.UnknownProfile.reason: 2,
}
INVALID_ARGUMENT: Final = 2
NOT_SUPPORTED: Final = 3
NOT_FOUND: Final = 6
TIMEOUT: Final = 10
DIE: Final = -1
ACTIVATIONS: Final = {Activation.DONE: 0, Activation.CLIENTS_HOLD_THE_GPU: 19, Activation.RESET_REQUIRED: 16}
XID: Final = 8
NO_INSTANCE: Final = 0xFFFFFFFF
# Slices of each compute profile by enum; 7 and 8 double the first and the whole, and cannot be made.
COMPUTE_SLICES: Final = (1, 2, 3, 4, 7, 8, 6, 1, 7)
DOUBLED: Final = (7, 8)


class Refused(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def die() -> NoReturn:
    raise Refused(DIE)


class Rules:
    def __init__(self, config: dict[str, object]) -> None:
        self.store = FileStore(Path(str(config["state"])))
        self.gpus = SimulatedGpus(self.store, may_configure=bool(config.get("may_configure", True)), die=die)
        self.enums = int(str(config.get("enums", 18)))  # how many profiles the driver knows of
        self.renamed = dict(pair.split("=") for pair in str(config.get("renamed", "")).split())
        self.split = config.get("split")  # a profile whose instances somebody cut in two
        self.only_doubled = bool(config.get("only_doubled"))  # compute profiles
        self.tells_recovery = bool(config.get("tells_recovery", True))
        self.listened_to: set[str] = set()
        self.without_mig = bool(config.get("without_mig"))
        self.verbs: dict[str, Callable[..., list[object]]] = {
            "hello": list,
            "version": lambda: ["999.1 (simulated)"],
            "count": lambda: [len(self.store.read().gpus)],
            "at": self.at,
            "name": lambda gpu: [self.gpu(gpu).product],
            "uuid": lambda uuid: [uuid],
            "mode": self.mode,
            "recovery": self.recovery,
            "set-mode": lambda gpu, mode: [ACTIVATIONS[self.gpus.set_mig_mode(GpuUuid(gpu), enabled=mode == "1")]],
            "profile": self.profile,
            "placements": self.placements,
            "gpu-instances": self.gpu_instances,
            "gpu-instance": self.gpu_instance,
            "gpu-instance-info": self.gpu_instance_info,
            "remaining": lambda gpu, nvml_id: [
                self.gpus.remaining_capacity(GpuUuid(gpu), self.by_id(self.gpu(gpu), nvml_id).name)
            ],
            "create": self.create,
            "destroy-gpu-instance": self.destroy_gpu_instance,
            "compute-profile": self.compute_profile,
            "compute-instances": self.compute_instances,
            "compute-instance-info": self.compute_instance_info,
            "create-compute": self.create_compute,
            "destroy-compute": self.destroy_compute,
            "processes": self.processes,
            "register": self.register,
            "event": self.event,
        }

    def answer(self, verb: str, *words: str) -> str:
        try:
            return "\t".join(str(each) for each in (0, *self.verbs[verb](*words)))
        except Refused as refused:
            return str(refused.code)
        except errors.KnativeMigError as error:
            return str(RETURN_CODES[error.reason])

    def gpu(self, uuid: str) -> SimulatedGpu:
        gpu = self.store.read().gpu(GpuUuid(uuid))
        while gpu.hangs:
            time.sleep(0.02)
            gpu = self.store.read().gpu(GpuUuid(uuid))
        if gpu.lost:
            raise errors.GpuLost(uuid)
        return gpu

    def by_id(self, gpu: SimulatedGpu, nvml_id: str) -> Profile:
        for profile in gpu.model.profiles:
            if profile.nvml_id == int(nvml_id):
                return profile
        raise Refused(INVALID_ARGUMENT)

    def instance(self, handle: str) -> tuple[SimulatedGpu, Instance]:
        """By serial (a GPU instance's handle) or by MIG UUID (a compute instance's); a dead handle is refused."""
        for gpu in self.store.read().gpus:
            for instance in gpu.instances:
                if handle in (str(instance.serial), instance.mig_uuid):
                    return gpu, instance
        raise Refused(INVALID_ARGUMENT)

    def at(self, index: str) -> list[object]:
        return [self.gpu(self.store.read().gpus[int(index)].uuid).uuid]

    def mode(self, uuid: str) -> list[object]:
        if self.without_mig:
            raise Refused(NOT_SUPPORTED)
        mode = self.gpus.gpu(GpuUuid(uuid)).mode
        return [int(mode.current), int(mode.pending)]

    def recovery(self, uuid: str) -> list[object]:
        if not self.tells_recovery:
            raise Refused(NOT_SUPPORTED)
        return [int(self.gpu(uuid).wants_reset)]

    def profile(self, uuid: str, enum: str) -> list[object]:
        if int(enum) >= self.enums:
            raise Refused(INVALID_ARGUMENT)
        for profile in self.gpu(uuid).model.profiles:
            if profile.nvml_enum == int(enum):
                name = self.renamed.get(str(profile), str(profile))
                sizes = (profile.multiprocessors or 0, profile.memory_mib or 0)
                return [profile.nvml_id, profile.compute, profile.max_instances, *sizes, f"MIG {name}"]
        raise Refused(NOT_SUPPORTED)

    def placements(self, uuid: str, nvml_id: str) -> list[object]:
        profile = self.by_id(self.gpu(uuid), nvml_id)
        return [len(profile.starts), *(word for start in profile.starts for word in (start, profile.memory_units))]

    def gpu_instances(self, uuid: str, nvml_id: str) -> list[object]:
        found = [each for each in self.gpu(uuid).instances if each.place.profile.nvml_id == int(nvml_id)]
        return [len(found), *(each.serial for each in found)]

    def gpu_instance(self, uuid: str, gi_id: str) -> list[object]:
        for each in self.gpu(uuid).instances:
            if each.gi_id == int(gi_id):
                return [each.serial]
        raise Refused(NOT_FOUND)

    def gpu_instance_info(self, serial: str) -> list[object]:
        gpu, found = self.instance(serial)
        profile = found.place.profile
        return [gpu.uuid, found.gi_id, profile.nvml_id, found.place.start, profile.memory_units]

    def create(self, uuid: str, nvml_id: str, start: str | None = None, size: str | None = None) -> list[object]:
        profile = self.by_id(self.gpu(uuid), nvml_id)
        if size is not None and int(size) != profile.memory_units:
            raise Refused(INVALID_ARGUMENT)
        made = self.gpus.create_gpu_instance(GpuUuid(uuid), profile.name, None if start is None else int(start))
        return self.gpu_instance(uuid, str(made.gi_id))

    def destroy_gpu_instance(self, serial: str) -> list[object]:
        gpu, found = self.instance(serial)
        self.gpus.destroy_gpu_instance(found.seen(gpu.uuid))
        return []

    def compute_profile(self, serial: str, enum: str, engines: str) -> list[object]:
        _, found = self.instance(serial)
        if int(enum) >= len(COMPUTE_SLICES) or engines != "0":
            raise Refused(INVALID_ARGUMENT)
        slices, whole = COMPUTE_SLICES[int(enum)], found.place.profile.compute
        if (
            slices > whole
            or (int(enum) in DOUBLED and slices != whole)
            or (self.only_doubled and int(enum) not in DOUBLED)
        ):
            raise Refused(NOT_SUPPORTED)
        return [enum, slices, whole // slices]

    def compute_instances(self, serial: str, ci_profile: str) -> list[object]:
        _, found = self.instance(serial)
        if str(found.place.profile) == self.split:
            return [2, "MIG-half", "MIG-other-half"] if ci_profile == "0" else [0]
        there = found.mig_uuid is not None and int(ci_profile) == self.whole(found)
        return [1, found.mig_uuid] if there else [0]

    def compute_instance_info(self, mig_uuid: str) -> list[object]:
        _, found = self.instance(mig_uuid)
        return [found.serial, found.mig_uuid, 0, self.whole(found), found.place.profile.compute]

    def whole(self, instance: Instance) -> int:
        return COMPUTE_SLICES.index(instance.place.profile.compute)

    def create_compute(self, serial: str, ci_profile: str) -> list[object]:
        """Only of the whole instance: the simulation has no others."""
        gpu, found = self.instance(serial)
        if int(ci_profile) != self.whole(found):
            raise Refused(INVALID_ARGUMENT)
        made = self.gpus.create_compute_instance(found.seen(gpu.uuid))
        assert made.compute_instance is not None
        return [made.compute_instance.mig_uuid]

    def destroy_compute(self, mig_uuid: str) -> list[object]:
        gpu, found = self.instance(mig_uuid)
        self.gpus.destroy_compute_instance(found.seen(gpu.uuid))
        return []

    def processes(self, mig_uuid: str) -> list[object]:
        gpu, found = self.instance(mig_uuid)
        there = self.gpus.processes(found.seen(gpu.uuid))
        return [len(there), *(w for p in there for w in (p.pid, (p.memory_mib or 0) << 20, found.gi_id, 0))]

    def register(self, uuid: str, types: str) -> list[object]:
        self.gpu(uuid)
        if int(types) != XID:
            raise Refused(NOT_SUPPORTED)
        self.listened_to.add(uuid)
        return []

    def event(self) -> list[object]:
        """As documented of nvmlEventSetWait: GPU_IS_LOST if a GPU of the set has fallen off the bus."""
        if any(gpu.lost and gpu.uuid in self.listened_to for gpu in self.store.read().gpus):
            raise errors.GpuLost
        event = self.gpus.wait_for_event(0)
        while event is not None and event.gpu not in self.listened_to:
            event = self.gpus.wait_for_event(0)
        if event is None:
            raise Refused(TIMEOUT)
        gi_id = NO_INSTANCE if event.gi_id is None else event.gi_id
        return [event.gpu, XID, event.xid, gi_id, NO_INSTANCE if event.gi_id is None else 0]


def serve(asked: socket.socket, config: str | None = None) -> None:
    """Until whoever asks has closed. Without a config that is the first thing said."""
    with asked, asked.makefile("r", encoding="utf-8") as lines:
        rules = Rules(json.loads(config or lines.readline()))
        for line in lines:
            asked.sendall((rules.answer(*line.rstrip("\n").split("\t")) + "\n").encode())


def main() -> None:
    serve(socket.socket(fileno=0), os.environ["NVML_ABI_CONFIG"])


if __name__ == "__main__":
    main()
