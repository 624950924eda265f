"""The simulated GPUs' own clock: for how long which share of each was cut, and for how long a process was on it.

    gpus = ShareClock(open_store("2xA100-40GB"), clock)
    ... SimulatedGpus(gpus), SimulationControls(gpus) ...
    gpus.seconds()

A store around a store, so it sees every change of this process at the moment it happens, and knows nothing of specs,
pods or meters: what the planner has metered is held against it. What other processes do to a shared file it does not
see. A share is memory units over the GPU's. The subtle thing is a process that ends by itself: it is on its slice until
somebody asks for the processes there, so whoever wants that to the second looks often enough.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from knative_mig.adapters.sim_gpu.driver import living
from knative_mig.adapters.sim_gpu.state import SimulatedGpu, State, StateStore
from knative_mig.core.inventory import GpuUuid
from knative_mig.core.profile import ProfileName

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareSeconds:
    cut: float = 0.0
    in_use: float = 0.0


class ShareClock:
    """A `StateStore`. `clock` counts seconds and never goes back."""

    def __init__(self, store: StateStore, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._at = clock()
        self._shares = _shares(store.read())
        self._seconds: dict[tuple[GpuUuid, ProfileName], ShareSeconds] = {}

    def read(self) -> State:
        return self._store.read()

    def update(self, change: Callable[[State], tuple[State, T]]) -> T:
        with self._lock:
            answer = self._store.update(change)
            self._tick()
            return answer

    def seconds(self) -> Mapping[tuple[GpuUuid, ProfileName], ShareSeconds]:
        """Up to now, by GPU and profile."""
        with self._lock:
            self._tick()
            return dict(self._seconds)

    def _tick(self) -> None:
        """Up to now with what was, and from now on with what is."""
        now = self._clock()
        passed, self._at = now - self._at, now
        for key, share in self._shares.items():
            before = self._seconds.get(key, ShareSeconds())
            self._seconds[key] = ShareSeconds(
                cut=before.cut + share.cut * passed, in_use=before.in_use + share.in_use * passed
            )
        self._shares = _shares(self._store.read())


def _shares(state: State) -> dict[tuple[GpuUuid, ProfileName], ShareSeconds]:
    """What each second adds."""
    found: dict[tuple[GpuUuid, ProfileName], ShareSeconds] = {}
    for gpu in state.gpus:
        for name, share, used in _slices(gpu):
            before = found.get((gpu.uuid, name), ShareSeconds())
            found[gpu.uuid, name] = replace(
                before, cut=before.cut + share, in_use=before.in_use + (share if used else 0.0)
            )
    return found


def _slices(gpu: SimulatedGpu) -> list[tuple[ProfileName, float, bool]]:
    return [
        (each.place.profile.name, each.place.profile.memory_units / gpu.model.memory_units, bool(living(each)))
        for each in gpu.instances
    ]
