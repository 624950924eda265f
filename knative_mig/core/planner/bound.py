"""A proven limit on what any plan could serve: the dual of the configuration LP.

Called by `batch` when something had to be rejected. Each GPU takes one of the packings that fit beside its fixed
slices; movable functions may go anywhere but must stay somewhere. Relaxing "no more of a profile than the chosen
packings hold" with a price per profile gives an upper bound at *any* prices, so the few steps of price search below can
only make it loose, never wrong. Nodes and priorities are left out, which can only raise it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from math import floor
from typing import Final

import numpy as np
import numpy.typing as npt

from knative_mig.core.geometry import GpuModel
from knative_mig.core.planner.fleet import Fleet
from knative_mig.core.profile import ProfileName

# Work, not time, limits the search for prices, so that equal inputs give equal bounds: rows of packings times steps.
_MOST_STEPS: Final = 300
_MOST_WORK: Final = 2_000_000
# With 300, one in 300 small fleets' bounds would be lower by a slice; that of a thousand GPUs and as many pendings by
# up to a twentieth, for twice the time.
_MOST_IN_VAIN: Final = 60
_ROUNDING: Final = 1e-6

Packing = tuple[int, ...]


def most_compute(
    fleet: Fleet, wanted: Mapping[ProfileName, int], served: int, *, moving: bool, wait_until: float
) -> int:
    """No plan serves more compute slices of `wanted`. `served`: what some plan does serve, which aims the search."""
    movable = Counter[ProfileName]()
    kinds = Counter[tuple[int, bool, int, tuple[ProfileName, ...]]]()
    models: dict[int, GpuModel] = {}
    for state in fleet.states():
        fixed, goes = state.fixed(moving=moving, wait_until=wait_until)
        count = len(fleet.members(state))
        models[state.key[0]] = state.model
        kinds[state.key[0], state.static, fixed, state.reusable() if state.static else ()] += count
        for name in goes:
            movable[name] += count
    names = sorted({*wanted, *movable})
    rows: list[Packing] = []
    starts, counts = [], []
    for (number, static, fixed, offered), count in sorted(kinds.items()):  # no history of the fleet in the sums
        packings = _static_packing(offered, names) if static else _packings_of(models[number], fixed, names)
        if packings:
            starts.append(len(rows))
            counts.append(count)
            rows.extend(packings)
    if not rows:
        return 0
    least = _least_dual(
        np.array(rows, dtype=float),
        np.array(starts),
        gpus=np.array(counts, dtype=float),
        wanted=np.array([wanted.get(name, 0) for name in names], dtype=float),
        movable=np.array([movable[name] for name in names], dtype=float),
        value=np.array([name.compute for name in names], dtype=float),
        served=served,
    )
    return floor(least + _ROUNDING)  # what is served is a whole number of compute slices


def _least_dual(
    rows: npt.NDArray[np.float64],
    starts: npt.NDArray[np.int64],
    *,
    gpus: npt.NDArray[np.float64],
    wanted: npt.NDArray[np.float64],
    movable: npt.NDArray[np.float64],
    value: npt.NDArray[np.float64],
    served: int,
) -> float:
    """Polyak's subgradient steps towards `served`, which end where the whole number below is that one: at once when the
    plan is optimal. Towards what cannot be served they would go on for ever, so they end also when nothing comes of it.
    """
    prices = value.copy()
    best, in_vain = float("inf"), 0
    block = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(rows)))  # of each row, its GPUs
    for _ in range(max(1, min(_MOST_STEPS, _MOST_WORK // len(rows)))):
        worth = rows @ prices
        best_of_each = np.maximum.reduceat(worth, starts)
        dual = float(wanted @ np.maximum(value - prices, 0) - movable @ prices + gpus @ best_of_each)
        in_vain = in_vain + 1 if dual > best - _ROUNDING else 0
        best = min(best, dual)
        if best < served + 1 - _ROUNDING or in_vain == _MOST_IN_VAIN:
            break
        hits = (worth >= best_of_each[block]).nonzero()[0]
        chosen = hits[hits.searchsorted(starts)]  # the first of each
        slope = gpus @ rows[chosen] - movable - wanted * (value > prices)
        steepness = float(slope @ slope)
        if steepness == 0:
            break
        prices = np.maximum(prices - (dual - served) / steepness * slope, 0)
    return max(best, float(served))


def _static_packing(reusable: Iterable[ProfileName], names: list[ProfileName]) -> tuple[Packing, ...]:
    have = Counter(reusable)
    return (tuple(have[name] for name in names),)


def _packings_of(model: GpuModel, taken: int, names: list[ProfileName]) -> tuple[Packing, ...]:
    """The maximal packings beside `taken`, as counts in the order of `names`."""
    present = tuple(name for name in names if model.has(name))
    if not present:
        return ()
    shape = tuple(
        tuple((place.start, place.mask) for place in model.places_of(model.profile(name))) for name in present
    )
    column = [names.index(name) for name in present]
    packings = _packings(shape, model.memory_mask, taken)
    return tuple(_spread(packing, column, len(names)) for packing in packings if any(packing))


def _spread(packing: Packing, column: list[int], width: int) -> Packing:
    counts = [0] * width
    for at, count in zip(column, packing, strict=True):
        counts[at] = count
    return tuple(counts)


Shape = tuple[tuple[tuple[int, int], ...], ...]


@lru_cache(maxsize=65_536)  # a few geometries times the masks that occur: one entry is a handful of small tuples
def _packings(shape: Shape, units: int, taken: int) -> tuple[Packing, ...]:
    """Fill from the lowest free unit: leave it, or start there any slice that fits. Dominated packings are dropped."""
    free = ~taken & units
    if not free:
        return ((0,) * len(shape),)
    lowest = free & -free
    found = set(_packings(shape, units, taken | lowest))
    for number, places in enumerate(shape):
        for start, mask in places:
            if 1 << start == lowest and not mask & taken:
                for rest in _packings(shape, units, taken | mask):
                    found.add((*rest[:number], rest[number] + 1, *rest[number + 1 :]))
    return tuple(
        one for one in sorted(found, reverse=True) if not any(_dominates(other, one) for other in found if other != one)
    )


def _dominates(one: Packing, other: Packing) -> bool:
    return all(a >= b for a, b in zip(one, other, strict=True))
