"""What can be done for a profile on one GPU: the best way to get a slice, exactly, and the ways that need moves.

GPUs in the same state share one `GpuState`, so each answer is worked out once however many GPUs there are. On one GPU
nothing is searched for: a legal start fixes the slices that it overlaps, and there are at most seven starts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Final

from knative_mig.core.geometry import GpuModel, Place
from knative_mig.core.inventory import Busy, Ending, Slice, Use
from knative_mig.core.planner.decisions import How
from knative_mig.core.planner.flexibility import Flexibility
from knative_mig.core.profile import ProfileName

# What stands on a place, as the state tells GPUs apart: (place index, kind, value). The value is seconds of a move,
# the time at which the slice comes free, or the worth of an idle slice; functions' names do not matter here.
Item = tuple[int, int, float]
FIXED: Final = 0
MOVABLE: Final = 1
ENDING: Final = 2
IDLE: Final = 3

_HOW: Final = tuple(How)
RANK: Final = {how: rank for rank, how in enumerate(How)}

# (rank of how, seconds lost, flexibility lost, slices destroyed, - start): compared in this order.
FitCost = tuple[int, float, float, int, int]


@dataclass(frozen=True, slots=True)
class Fit:
    cost: FitCost
    how: How
    place: Place
    destroys: tuple[Place, ...]
    until: float | None = None

    @property
    def seconds(self) -> float:
        return self.cost[1]

    @property
    def flexibility_lost(self) -> float:
        return self.cost[2]


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


# (number of the model in its fleet, static, held mask, what stands where)
Key = tuple[int, bool, int, tuple[Item, ...]]


def items_of(slices: tuple[Slice, ...]) -> tuple[Item, ...]:
    return tuple(sorted(_item(each.place, each.use) for each in slices))


def _item(place: Place, use: Use) -> Item:
    if isinstance(use, Busy):
        return (place.index, MOVABLE, use.move_s) if use.movable else (place.index, FIXED, 0.0)
    if isinstance(use, Ending):
        return (place.index, ENDING, use.free_at)
    return (place.index, IDLE, use.worth_s)


class GpuState:
    """`held` is a mask that nothing may be placed on: places given away or kept for others in this plan."""

    __slots__ = (
        "_clearings",
        "_covered",
        "_fits",
        "_flexibility",
        "_items",
        "_lasting",
        "_nearest",
        "_pairs",
        "_standing",
        "held",
        "is_whole",
        "key",
        "model",
        "static",
        "unused_units",
    )

    def __init__(self, key: Key, model: GpuModel, flexibility: Flexibility) -> None:
        self.key = key
        self.model = model
        _, self.static, self.held, self._items = key
        self._flexibility = flexibility
        self._standing = tuple((model.places[item[0]], item) for item in self._items)
        self._covered = 0
        self._lasting = self.held  # what is still there when the terminating pods are gone
        used = self.held
        for place, (_, kind, _) in self._standing:
            self._covered |= place.mask
            if kind != IDLE:
                used |= place.mask
                if kind != ENDING:
                    self._lasting |= place.mask
        self.unused_units = (~used & model.memory_mask).bit_count()
        self.is_whole = not self._lasting and not self.static
        self._fits: dict[ProfileName, Fit | None] = {}
        self._clearings: dict[ProfileName, tuple[Clearing, ...]] = {}
        self._pairs: dict[tuple[ProfileName, ProfileName], tuple[Fit, Fit] | None] = {}
        self._nearest: dict[ProfileName, Obstacle | None] = {}

    def fit(self, name: ProfileName) -> Fit | None:
        """The best way to get a slice of that name here without moving anybody."""
        try:
            return self._fits[name]
        except KeyError:
            found = self._fits[name] = self._best_fit(name)
            return found

    def fit_together(self, first: ProfileName, second: ProfileName) -> tuple[Fit, Fit] | None:
        """The cheapest way to get both by destroying idle slices, each of which is paid for once."""
        known = self._pairs.get((first, second))
        if known is None and (first, second) not in self._pairs:
            pairs = self._all_pairs(first, second)
            known = self._pairs[first, second] = min(pairs, key=lambda pair: (pair[0].cost, pair[1].cost), default=None)
        return known

    def _all_pairs(self, first: ProfileName, second: ProfileName) -> Iterator[tuple[Fit, Fit]]:
        for one, two in product(self._open_places(first), self._open_places(second)):
            if one.mask & two.mask:
                continue
            both = {other: value for other, (_, _, value) in self._standing if other.mask & (one.mask | two.mask)}
            worth = round(sum(value for other, value in both.items() if other not in (one, two)), 3)
            lost = round(self._flexibility.loss(self._lasting, self._lasting | one.mask | two.mask), 6)
            yield (
                self._fit_over(one, worth, lost),
                self._fit_over(two, 0.0, 0.0),
            )

    def _open_places(self, name: ProfileName) -> list[Place]:
        """Where there is nothing, or only what is idle."""
        if self.static:
            return []
        shut = self.held
        for other, (_, kind, _) in self._standing:
            shut |= 0 if kind == IDLE else other.mask
        return [place for place in self.model.places_named(name) if not place.mask & shut]

    def _fit_over(self, place: Place, worth: float, lost: float) -> Fit:
        destroys = self._others_on(place)
        there = any(index == place.index for _, (index, _, _) in self._standing)
        how = How.REUSE if there else How.MERGE if destroys else How.CREATE
        return Fit((RANK[how], worth, lost, len(destroys), -place.start), how, place, destroys)

    def clearings(self, name: ProfileName) -> tuple[Clearing, ...]:
        """The places of that profile that one or two movable functions hold, cheapest first."""
        try:
            return self._clearings[name]
        except KeyError:
            found = self._clearings[name] = self._all_clearings(name)
            return found

    def nearest(self, name: ProfileName) -> Obstacle | None:
        """The place of that profile that will most likely come free first, if nobody gives anything else away."""
        try:
            return self._nearest[name]
        except KeyError:
            obstacles = [
                self._obstacle(place)
                for place in self.model.places_named(name)
                if not place.mask & self.held and self._may_be_cut(place)
            ]
            found = self._nearest[name] = min(obstacles, key=lambda obstacle: obstacle.cost, default=None)
            return found

    def fixed(self, *, moving: bool, wait_until: float) -> tuple[int, tuple[ProfileName, ...]]:
        """The mask that no plan can use, and the profiles that a plan with moves could take elsewhere."""
        mask, goes = self.held, []
        for place, (_, kind, value) in self._standing:
            if kind == MOVABLE and moving and not self.static:
                goes.append(place.profile.name)
            elif kind in (FIXED, MOVABLE) or (kind == ENDING and value > wait_until):
                mask |= place.mask
        return mask, tuple(goes)

    def reusable(self) -> tuple[ProfileName, ...]:
        """The profiles of the slices without a lasting pod: all that a static layout has to offer."""
        return tuple(place.profile.name for place, (_, kind, _) in self._standing if kind in (ENDING, IDLE))

    def _obstacle(self, place: Place) -> Obstacle:
        blockers, units, until = [], 0, 0.0
        for other, (_, kind, value) in self._standing:
            if kind == IDLE or not other.mask & place.mask:
                continue
            blockers.append(other)
            if kind == ENDING:
                until = max(until, value)
            else:
                units += other.profile.memory_units
        return Obstacle((units, until, -place.start), place, tuple(blockers))

    def _may_be_cut(self, place: Place) -> bool:
        return not self.static or any(index == place.index for index, _, _ in self._items)

    def _best_fit(self, name: ProfileName) -> Fit | None:
        losses = self._flexibility.losses(self._lasting)
        best: tuple[FitCost, Place, float | None] | None = None
        for place in self.model.places_named(name):
            lost = losses[place.index]
            if lost is None:
                continue
            how, seconds, destroyed, until = self._way(place)
            if how is None:
                continue
            cost = (RANK[how], seconds, lost, destroyed, -place.start)
            if best is None or cost < best[0]:
                best = (cost, place, until)
        if best is None:
            return None
        cost, place, until = best
        return Fit(cost, _HOW[cost[0]], place, self._others_on(place), until)

    def _way(self, place: Place) -> tuple[How | None, float, int, float | None]:
        """How a slice comes to a place without a lasting pod, in what time, destroying how many, not before when."""
        if not place.mask & self._covered:
            return (None if self.static else How.CREATE), 0.0, 0, None
        worth, destroyed, until, there = 0.0, 0, None, False
        for other, (index, kind, value) in self._standing:
            if other.mask & place.mask:
                if kind == ENDING:
                    until = value if until is None else max(until, value)
                else:
                    worth += value
                if index == place.index:
                    there = True
                else:
                    destroyed += 1
        if self.static and not there:
            return None, 0.0, 0, None  # an administrator's layout is used as it is
        if until is not None:
            return How.WAIT, round(until + worth, 3), destroyed, until
        if there:
            return How.REUSE, 0.0, 0, None
        return How.MERGE, round(worth, 3), destroyed, None

    def _others_on(self, place: Place) -> tuple[Place, ...]:
        on_it = (other for other, _ in self._standing if other.mask & place.mask and other.index != place.index)
        return tuple(sorted(on_it, key=lambda other: other.start))

    def _all_clearings(self, name: ProfileName) -> tuple[Clearing, ...]:
        if self.static:
            return ()
        found = [
            clearing
            for place in self.model.places_named(name)
            if not place.mask & self.held and (clearing := self._clearing(place))
        ]
        return tuple(sorted(found, key=lambda clearing: clearing.cost))

    def _clearing(self, place: Place) -> Clearing | None:
        movers, destroys, seconds, gone = [], [], 0.0, 0
        for other, (_, kind, value) in self._standing:
            if not other.mask & place.mask:
                continue
            if kind == IDLE:
                destroys.append(other)
            elif kind == MOVABLE:
                movers.append(other)
                gone |= other.mask
            else:
                return None
            seconds += value
        if not 1 <= len(movers) <= 2:
            return None
        lost = self._flexibility.loss(self._lasting, self._lasting & ~gone | place.mask)
        return Clearing(
            (len(movers), round(seconds, 3), round(lost, 6), -place.start), place, tuple(movers), tuple(destroys)
        )
