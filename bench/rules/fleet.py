"""What the rules that only choose a place have in common: one mask of taken units a GPU, and who stands where."""

from collections.abc import Iterable

from bench.traffic import MENU, MODEL
from knative_mig.core.geometry import Place

# By MENU position, then by a GPU's mask of taken units: the place a rule takes there, if any.
Choice = tuple[tuple[Place | None, ...], ...]


class Fleet:
    def __init__(self, gpus: int) -> None:
        self.taken = [0] * gpus
        self._where: dict[int, tuple[int, Place]] = {}

    def put(self, request: int, gpu: int, place: Place) -> None:
        self.taken[gpu] |= place.mask
        self._where[request] = gpu, place

    def remove(self, request: int) -> tuple[int, Place]:
        gpu, place = self._where.pop(request)
        self.taken[gpu] &= ~place.mask
        return gpu, place

    def running(self) -> Iterable[tuple[int, int, Place]]:
        return ((request, gpu, place) for request, (gpu, place) in self._where.items())


def free_places(kind: int, taken: int) -> list[Place]:
    """In the order of their starts."""
    return [place for place in MODEL.places_of(MENU[kind]) if not place.mask & taken]


EVERY_MASK = range(1 << MODEL.memory_units)
EVERY_KIND = range(len(MENU))
