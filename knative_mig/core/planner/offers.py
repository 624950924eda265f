"""What one GPU can offer for a profile, as values: a fit, a clearing (functions must go first), an obstacle (nothing).

Costs are tuples that are compared in order. Flexibility is priced with the GPU's emptiness (`flexibility.PACKING`), so
that of nearly equal places the fuller GPU is taken.
"""

from dataclasses import dataclass
from typing import Final

from knative_mig.core.geometry import Place
from knative_mig.core.planner.decisions import How

HOWS: Final = tuple(How)
RANK: Final = {how: rank for rank, how in enumerate(HOWS)}

# (rank of how, seconds lost, flexibility lost, slices destroyed, memory units, - start). The units differ where models
# do: of an empty A100-40GB and an empty A100-80GB a 1g.10gb takes the same flexibility, and two units or one of the 8.
FitCost = tuple[int, float, float, int, int, int]


@dataclass(frozen=True, slots=True)
class Fit:
    cost: FitCost
    how: How
    place: Place
    destroys: tuple[Place, ...]
    flexibility_lost: float
    reuses: bool = False
    awaits: tuple[Place, ...] = ()
    until: float | None = None

    @property
    def seconds(self) -> float:
        return self.cost[1]


@dataclass(frozen=True, slots=True)
class Clearing:
    """A place that movable functions hold: what it costs here to have them go, before any of them has a new home."""

    cost: tuple[int, float, float, int]  # functions moved, seconds, flexibility lost, - start
    place: Place
    movers: tuple[Place, ...]
    destroys: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A place that cannot be had now, by how little is in the way: (memory units with pods, when they end, - start)."""

    cost: tuple[int, float, int]
    place: Place
    blockers: tuple[Place, ...]
