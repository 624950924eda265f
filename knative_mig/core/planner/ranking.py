"""GPU states in the order of what they offer for one profile, kept while GPUs come into and leave a state.

Used by `Fleet`: with 10,000 GPUs in some thousand states, the best offer is the first entry and a change costs two
binary searches. Only states that some GPU is in are listed.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from knative_mig.core.planner.clearings import clearings
from knative_mig.core.planner.fits import Tier, fits_of
from knative_mig.core.planner.gpu_state import GpuState, Key
from knative_mig.core.planner.offers import Clearing, Fit
from knative_mig.core.profile import ProfileName

Ranked = TypeVar("Ranked", Fit, Clearing)
Entry = tuple[tuple[float, ...], Key, int, GpuState, Ranked]


class Ranking(Generic[Ranked]):
    def __init__(self, offers: Callable[[GpuState], tuple[Ranked, ...]]) -> None:
        self._offers: Callable[[GpuState], tuple[Ranked, ...]] = offers
        self._entries: list[Entry[Ranked]] = []

    def __iter__(self) -> Iterator[tuple[GpuState, Ranked]]:
        """Cheapest first; of equal cost in the order of the states' keys, which no history changes."""
        return ((state, offer) for _, _, _, state, offer in self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def fill(self, states: Iterable[GpuState]) -> None:
        self._entries = sorted(entry for state in states for entry in self._entries_of(state))

    def add(self, state: GpuState) -> None:
        for entry in self._entries_of(state):
            insort(self._entries, entry)

    def remove(self, state: GpuState) -> None:
        for entry in self._entries_of(state):
            del self._entries[bisect_left(self._entries, entry)]

    def _entries_of(self, state: GpuState) -> Iterator[Entry[Ranked]]:
        return ((offer.cost, state.key, number, state, offer) for number, offer in enumerate(self._offers(state)))


def by_fit(tier: Tier, name: ProfileName) -> Ranking[Fit]:
    return Ranking(lambda state: fits_of(tier, state, name))


def by_clearing(name: ProfileName) -> Ranking[Clearing]:
    return Ranking(lambda state: clearings(state, name))
