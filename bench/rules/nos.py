"""nos: the first GPU that can take another of its geometries; free slices are deleted, then creation orders are tried.

The partitioner thinks in counts. A GPU is always in one of twelve geometries (nos knows twelve of the fourteen
maximal ones of an A100-40GB: not 4g + 3g, not 3g + 4 x 1g); a free slice of the profile is used as it is, else a
geometry that has one more and keeps the counts in use is wished for. The agent then deletes every free slice of
that GPU and creates what is missing with NVML's default placement, at most 21 orders of it.

Of the geometries that would do, nos takes one at random, and leaves the pod pending for its next round if no order of
it can be created. Here they are tried in nos's order, then the next GPU's, and a failure keeps the old free slices:
kinder than the original.
"""

from collections.abc import Iterable
from functools import cache
from itertools import islice, permutations
from typing import Final

from bench.traffic import MENU, MODEL
from knative_mig.core.geometry import Place
from knative_mig.core.nvml_placement import default_place

# Counts of 1g, 2g, 3g, 4g, 7g, in nos's order.
GEOMETRIES: Final = (
    (0, 0, 0, 0, 1),
    (1, 1, 0, 1, 0),
    (3, 0, 0, 1, 0),
    (0, 0, 2, 0, 0),
    (1, 1, 1, 0, 0),
    (3, 0, 1, 0, 0),
    (0, 2, 1, 0, 0),
    (2, 1, 1, 0, 0),
    (1, 3, 0, 0, 0),
    (3, 2, 0, 0, 0),
    (5, 1, 0, 0, 0),
    (7, 0, 0, 0, 0),
)
ORDERS_TRIED: Final = 21

# Slices as positions in MODEL.places, sorted: in use, and free.
State = tuple[tuple[int, ...], tuple[int, ...]]
Grant = tuple[State, int]

_KIND: Final = {place.index: kind for kind, profile in enumerate(MENU) for place in MODEL.places_of(profile)}
_WHOLE: Final[State] = ((), (MODEL.places_of(MENU[-1])[0].index,))


class Nos:
    def __init__(self, gpus: int) -> None:
        # A GPU is first put into the geometry with the fewest slices.
        self._states = [_WHOLE] * gpus
        self._where: dict[int, tuple[int, int]] = {}

    def arrive(self, request: int, kind: int) -> int | None:
        for way in (reuse, repartition):
            for gpu, state in enumerate(self._states):
                grant = way(state, kind)
                if grant is not None:
                    self._states[gpu], place = grant
                    self._where[request] = gpu, place
                    return 0
        return None

    def depart(self, request: int) -> None:
        gpu, place = self._where.pop(request)
        used, free = self._states[gpu]
        self._states[gpu] = tuple(each for each in used if each != place), tuple(sorted((*free, place)))

    def running(self) -> Iterable[tuple[int, int, Place]]:
        return ((request, gpu, MODEL.places[place]) for request, (gpu, place) in self._where.items())


@cache
def reuse(state: State, kind: int) -> Grant | None:
    used, free = state
    place = next((each for each in free if _KIND[each] == kind), None)
    if place is None:
        return None
    return (tuple(sorted((*used, place))), tuple(each for each in free if each != place)), place


@cache
def repartition(state: State, kind: int) -> Grant | None:
    used, _ = state
    in_use = _counts(used)
    for geometry in GEOMETRIES:
        missing = [has - needs for has, needs in zip(geometry, in_use, strict=True)]
        if missing[kind] > 0 and min(missing) >= 0:
            created = _create(used, missing)
            if created is not None:
                return reuse((used, created), kind)
    return None


def _create(used: tuple[int, ...], missing: list[int]) -> tuple[int, ...] | None:
    taken_by_used = sum(MODEL.places[each].mask for each in used)
    wanted = [kind for kind in reversed(range(len(MENU))) for _ in range(missing[kind])]
    for order in islice(permutations(wanted), ORDERS_TRIED):
        taken, created = taken_by_used, list[int]()
        for kind in order:
            place = default_place(MODEL, MENU[kind], taken)
            if place is None:
                break
            taken |= place.mask
            created.append(place.index)
        else:
            return tuple(sorted(created))
    return None


def _counts(places: tuple[int, ...]) -> tuple[int, ...]:
    kinds = [_KIND[each] for each in places]
    return tuple(kinds.count(kind) for kind in range(len(MENU)))
