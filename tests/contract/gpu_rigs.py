"""The implementations of the GPU port, each made ready to be opened, broken and opened again.

`sim-memory` and `sim-file` are the simulated GPUs, `worker` the latter in a process of their own; `nvml` is the adapter
over the real binding, loading the ABI library in front of the same state file. `controls` reach behind the port in all.
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from knative_mig.adapters.gpu_worker import GpuWorker, Simulated
from knative_mig.adapters.sim_gpu import SimulatedGpus, SimulationControls, StateStore, open_store
from knative_mig.core.profile import ProfileName
from knative_mig.ports.gpu import GpuDriver, GpuInstance, GpuUuid, MigUuid, OneGpu
from tests.nvml_abi import library

KINDS: Final = ("sim-memory", "sim-file", "nvml", "worker")
SHARED_KINDS: Final = ("sim-file", "nvml", "worker")  # those that several processes can open


@dataclass
class Rig:
    kind: str
    store: StateStore
    path: Path
    spec: str
    _opened: ExitStack = field(default_factory=ExitStack)

    @property
    def controls(self) -> SimulationControls:
        return SimulationControls(self.store)

    def open(self, only: OneGpu | None = None, *, may_configure: bool = True) -> GpuDriver:
        driver: GpuDriver
        if self.kind == "nvml":
            os.environ.update(library.own_environment(self.path, may_configure=may_configure))
            driver = library.open_nvml(only)
            self._opened.callback(driver.close)
        elif self.kind == "worker":
            driver = GpuWorker(Simulated(spec=self.spec, state=self.path, may_configure=may_configure), only)
            self._opened.callback(driver.close)
        else:
            driver = SimulatedGpus(self.store, only=only, may_configure=may_configure)
        return driver

    def reopen(self, *, may_configure: bool = True) -> GpuDriver:
        """As a restarted process would: nothing is carried over but the GPUs."""
        self._opened.close()
        return self.open(may_configure=may_configure)

    def close(self) -> None:
        self._opened.close()


@contextmanager
def rig(kind: str, spec: str, folder: Path, *, mig_enabled: bool = True) -> Iterator[Rig]:
    """GPUs of that spec, with the same UUIDs in each kind."""
    random = Random(spec)
    folder.mkdir(exist_ok=True)
    path = folder / f"{kind}.json"
    store = open_store(
        spec,
        None if kind == "sim-memory" else path,
        mig_enabled=mig_enabled,
        new_uuid=lambda: uuid.UUID(int=random.getrandbits(128), version=4),
    )
    library.load()
    saved = dict(os.environ)
    made = Rig(kind, store, path, spec)
    try:
        yield made
    finally:
        made.close()
        os.environ.clear()
        os.environ.update(saved)


def name(text: str) -> ProfileName:
    return ProfileName.parse(text)


def first(driver: GpuDriver) -> GpuUuid:
    return driver.inventory().gpus[0].uuid


def mig_uuid(instance: GpuInstance) -> MigUuid:
    assert instance.compute_instance is not None
    return instance.compute_instance.mig_uuid
