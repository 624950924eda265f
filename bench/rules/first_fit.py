"""The first GPU on which the profile fits, at a start that depends on nothing but that GPU's taken units.

InstaSlice walks a node's GPUs in their order and takes the lowest free start. NVIDIA's DRA driver announces one device
for each profile and start, sorted by name GPU by GPU, and the Kubernetes scheduler takes the first device that matches
the claim. A claim names its profile, so of that order only GPU and start are left: the two rules choose the same place
here, and both are kept because that they are equal is itself a result. NVML's default placement is the third: the
first GPU that accepts a create call which names no placement.
"""

from collections.abc import Iterable
from functools import cache

from bench.rules.fleet import EVERY_KIND, EVERY_MASK, Choice, Fleet, free_places
from bench.traffic import MENU, MODEL
from knative_mig.core.geometry import Place
from knative_mig.core.nvml_placement import default_place


class FirstFit:
    def __init__(self, gpus: int, choice: Choice) -> None:
        self._fleet = Fleet(gpus)
        self.choice = choice

    def arrive(self, request: int, kind: int) -> int | None:
        choice = self.choice[kind]
        for gpu, taken in enumerate(self._fleet.taken):
            place = choice[taken]
            if place is not None:
                self._fleet.put(request, gpu, place)
                return 0
        return None

    def depart(self, request: int) -> None:
        self._fleet.remove(request)

    def running(self) -> Iterable[tuple[int, int, Place]]:
        return self._fleet.running()


def instaslice(gpus: int) -> FirstFit:
    return FirstFit(gpus, _lowest_start())


def dra_driver(gpus: int) -> FirstFit:
    return FirstFit(gpus, _first_device())


def nvml_default(gpus: int) -> FirstFit:
    return FirstFit(gpus, _default_placement())


@cache
def _lowest_start() -> Choice:
    return tuple(tuple(next(iter(free_places(kind, taken)), None) for taken in EVERY_MASK) for kind in EVERY_KIND)


@cache
def _first_device() -> Choice:
    """Names as the driver builds them: profile without its dot, NVML's profile id, start."""
    devices = sorted(
        (f"mig-{str(profile).replace('.', '')}-{profile.nvml_id}-{place.start}", place)
        for profile in MENU
        for place in MODEL.places_of(profile)
    )
    return tuple(
        tuple(
            next((place for _, place in devices if place.profile is profile and not place.mask & taken), None)
            for taken in EVERY_MASK
        )
        for profile in MENU
    )


@cache
def _default_placement() -> Choice:
    return tuple(tuple(default_place(MODEL, profile, taken) for taken in EVERY_MASK) for profile in MENU)
