"""HAMi: the fullest GPU on which the profile fits (its binpack policy), at a start that the version decides.

Dynamic MIG as released scans from the highest start for 1g and 3g, from the lowest for the others. Since its pull
request 2855 it takes the start that leaves the largest free run, of those the one that leaves the most legal
placements. Which GPU is fullest is the sum of three shares: slices, compute and memory in use.
HAMi's default for GPUs is to spread; binpack is what a site that cuts GPUs sets, and the better for it here.
"""

from collections.abc import Iterable
from functools import cache

from bench.rules.fleet import EVERY_KIND, EVERY_MASK, Choice, Fleet, free_places
from bench.traffic import MENU, MODEL
from knative_mig.core.geometry import Place, Profile


class Binpack:
    def __init__(self, gpus: int, choice: Choice) -> None:
        self._fleet = Fleet(gpus)
        self._choice = choice
        self._used = [0] * gpus

    def arrive(self, request: int, kind: int) -> int | None:
        choice = self._choice[kind]
        fullest, chosen = -1, None
        for gpu, taken in enumerate(self._fleet.taken):
            if self._used[gpu] > fullest:
                place = choice[taken]
                if place is not None:
                    fullest, chosen = self._used[gpu], (gpu, place)
        if chosen is None:
            return None
        gpu, place = chosen
        self._used[gpu] += _use(place.profile)
        self._fleet.put(request, gpu, place)
        return 0

    def depart(self, request: int) -> None:
        gpu, place = self._fleet.remove(request)
        self._used[gpu] -= _use(place.profile)

    def running(self) -> Iterable[tuple[int, int, Place]]:
        return self._fleet.running()


def hami(gpus: int) -> Binpack:
    return Binpack(gpus, _by_profile())


def hami_free_run(gpus: int) -> Binpack:
    return Binpack(gpus, _by_free_run())


@cache
def _use(profile: Profile) -> int:
    """One slice of seven, its compute of seven, its memory of eight, all over a common denominator."""
    compute, memory = MODEL.compute_slices, MODEL.memory_units
    return memory * (1 + profile.compute) + compute * profile.memory_units


@cache
def _by_profile() -> Choice:
    return tuple(
        tuple(
            next(iter(places[::-1] if MENU[kind].compute in (1, 3) else places), None)
            for places in (free_places(kind, taken) for taken in EVERY_MASK)
        )
        for kind in EVERY_KIND
    )


@cache
def _by_free_run() -> Choice:
    return tuple(
        tuple(
            max(free_places(kind, taken), key=lambda place: _left(taken | place.mask), default=None)
            for taken in EVERY_MASK
        )
        for kind in EVERY_KIND
    )


@cache
def _left(taken: int) -> tuple[int, int]:
    runs = "".join("x" if taken >> unit & 1 else "." for unit in range(MODEL.memory_units)).split("x")
    return max(map(len, runs)), sum(len(free_places(kind, taken)) for kind in EVERY_KIND)
