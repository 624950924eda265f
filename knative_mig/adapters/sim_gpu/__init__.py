"""Simulated GPUs: the GPU port without hardware.

    gpus = SimulatedGpus(open_store("2xA100-40GB,1xH100-80GB", Path("gpus.json")))

are shared through that file; without a path they live in memory. Read `driver` for what they enforce, `controls` for
what tests can do to them, `state_file` for what survives a crash.
"""

import uuid
from collections.abc import Callable
from pathlib import Path

from knative_mig.adapters.sim_gpu.controls import SimulationControls
from knative_mig.adapters.sim_gpu.driver import HARDWARE_LIKE_LATENCY_S, SimulatedGpus
from knative_mig.adapters.sim_gpu.faults import Call, Fault, Harm, When
from knative_mig.adapters.sim_gpu.state import MemoryStore, StateStore, new_state
from knative_mig.adapters.sim_gpu.state_file import FileStore

__all__ = [
    "HARDWARE_LIKE_LATENCY_S",
    "Call",
    "Fault",
    "FileStore",
    "Harm",
    "MemoryStore",
    "SimulatedGpus",
    "SimulationControls",
    "StateStore",
    "When",
    "open_store",
]


def open_store(
    spec: str,
    path: Path | None = None,
    *,
    mig_enabled: bool = True,
    new_uuid: Callable[[], uuid.UUID] = uuid.uuid4,
) -> StateStore:
    """The GPUs that `spec` says (`2xA100-40GB,1xH100-80GB`): those in the file, made there at the first use, or new
    ones in memory.
    """
    if path is None:
        return MemoryStore(new_state(spec, mig_enabled=mig_enabled, new_uuid=new_uuid))
    return FileStore.open(path, spec, lambda: new_state(spec, mig_enabled=mig_enabled, new_uuid=new_uuid))
