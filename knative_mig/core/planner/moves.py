"""Who makes room when no idle or free place is left: at most two movable functions, each to a home that exists first.

Three shapes are searched, cheapest first, and they are all there are with two moves: one function holds the place and
finds a home; two functions hold it and both find one; one holds it and its only home is held by another, which goes
first. Slices nest or are apart, so no other order of two moves frees more (but for the media engines: that `+me` might
hand its place on to another `+me` is not looked for).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Final

from knative_mig.core.geometry import Place
from knative_mig.core.inventory import Busy, Function, NodeName
from knative_mig.core.planner.decisions import How
from knative_mig.core.planner.fits import fits_together
from knative_mig.core.planner.fleet import Fleet, Offer, Wish
from knative_mig.core.planner.offers import RANK, Clearing, Fit
from knative_mig.core.planner.startup import StartTimes, StartupEstimate
from knative_mig.core.profile import ProfileName

# Places looked at before the best found so far is taken. A count and not a time, so that the plan is always the same;
# 256 take about 5 ms, and a fleet that has a move at all shows one within the first few.
BUDGET: Final = 256

# How many more slices of a profile a namespace may hold: a move makes its function one pod bigger for a while.
QuotaLeft = Callable[[str, ProfileName], float]

# What every new home has in common: it is there now, and no whole GPU is broken for it.
_HOME: Final = Wish(name=ProfileName(1, 1), spares_whole=True)


@dataclass(frozen=True, slots=True)
class Removal:
    """A function leaves `source` on the GPU at `position` for what `home` offers."""

    position: int
    source: Place
    busy: Busy
    home: Offer


@dataclass(frozen=True, slots=True)
class Rearrangement:
    """`cost`: (functions moved, seconds, flexibility lost, - start), as of `Clearing` but with the new homes in it."""

    cost: tuple[float, ...]
    position: int
    clearing: Clearing
    removals: tuple[Removal, ...]  # in this order


class MoveSearch:
    """One search for one slice; made anew for each, because the budget and what is known to be homeless are its own."""

    def __init__(self, fleet: Fleet, startup: StartupEstimate, quota_left: QuotaLeft) -> None:
        self._fleet = fleet
        self._startup = startup
        self._quota_left = quota_left
        self._left = BUDGET
        self._homeless: set[tuple[ProfileName, frozenset[NodeName] | None]] = set()
        self.hindrances: dict[Function, str] = {}  # why a function that holds a place did not go

    @property
    def cut_short(self) -> bool:
        return self._left <= 0

    def cheapest(self, wish: Wish, max_moves: int) -> Rearrangement | None:
        best: Rearrangement | None = None
        for position, clearing in self._clearings(wish, max_moves):
            if best and clearing.cost >= best.cost:
                break
            found = self._direct(wish, position, clearing)
            if found and (best is None or found.cost < best.cost):
                best = found
        if max_moves >= 2 and (best is None or best.cost[0] == 2):
            best = self._by_chain(wish, best)
        return best

    def _clearings(self, wish: Wish, max_moves: int) -> Iterator[tuple[int, Clearing]]:
        for state, clearing in self._fleet.clearings(wish.name):
            if clearing.cost[0] > max_moves:
                return
            for position in self._fleet.members(state):
                if not self._fleet.eligible(wish, position):
                    continue
                if self._left <= 0:
                    return
                self._left -= 1
                yield position, clearing

    def _direct(self, wish: Wish, position: int, clearing: Clearing) -> Rearrangement | None:
        ways = [self._homes(position, clearing.place, order) for order in permutations(clearing.movers)]
        if len(clearing.movers) == 2 and any(way and self._destroys_for_both(way) for way in ways):
            ways.extend(self._homes_together(position, clearing))
        found = [self._priced(wish, position, clearing, way) for way in ways if way]
        return min(found, key=lambda each: each.cost, default=None)

    def _homes(self, position: int, place: Place, movers: tuple[Place, ...]) -> tuple[Removal, ...] | None:
        closed = {position: place.mask}
        removals: list[Removal] = []
        for source in movers:
            busy = self._fleet.busy_on(position, source)
            home = self._home(source, busy, closed)
            if home is None or not self._may_surge(busy.function, source, removals):
                return None
            closed[home.position] = closed.get(home.position, 0) | home.fit.place.mask
            removals.append(Removal(position, source, busy, home))
        return tuple(removals)

    @staticmethod
    def _destroys_for_both(way: tuple[Removal, ...]) -> bool:
        return all(removal.home.fit.destroys for removal in way)

    def _homes_together(self, position: int, clearing: Clearing) -> Iterator[tuple[Removal, ...]]:
        """Both on one GPU: homes that each destroy something may destroy the same idle slice, and pay for it once."""
        one, two = clearing.movers
        busy_one, busy_two = self._fleet.busy_on(position, one), self._fleet.busy_on(position, two)
        for state in self._fleet.states():
            pair = fits_together(state, one.profile.name, two.profile.name)
            if pair is None or self._fleet.spared(_HOME, state):
                continue
            for home in self._fleet.members(state):
                if self._left <= 0:
                    return
                self._left -= 1
                node = self._fleet.gpu(home).node
                if home == position or not (_may_run(busy_one, node) and _may_run(busy_two, node)):
                    continue
                first, second = (Offer(fit.cost, home, fit) for fit in pair)
                yield (Removal(position, one, busy_one, first), Removal(position, two, busy_two, second))

    def _may_surge(self, function: Function, source: Place, before: Sequence[Removal] = ()) -> bool:
        same = (
            each
            for each in before
            if each.busy.function.namespace == function.namespace and each.source.profile.name == source.profile.name
        )
        if self._quota_left(function.namespace, source.profile.name) > sum(1 for _ in same):
            return True
        self.hindrances.setdefault(function, "a move would take its namespace over its quota")
        return False

    def _home(self, source: Place, busy: Busy, closed: Mapping[int, int]) -> Offer | None:
        name = source.profile.name
        if (name, busy.nodes) in self._homeless:
            self.hindrances.setdefault(busy.function, f"there is no other place for its {name}")
            return None
        wish = replace(_HOME, name=name, nodes=busy.nodes, starts=self._extra_start(busy))
        home = self._fleet.best(replace(wish, closed=closed))
        if home is None and self._fleet.best(wish) is None:
            self._homeless.add((name, busy.nodes))
            self.hindrances.setdefault(busy.function, f"there is no other place for its {name}")
        return home

    def _extra_start(self, busy: Busy) -> StartTimes:
        """`move_s` is what a move costs usually; on some nodes the function starts later than that."""
        starts = self._startup(busy.function)
        return StartTimes(0.0, {node: max(0.0, s - starts.usual_s) for node, s in starts.on_node.items()})

    def _by_chain(self, wish: Wish, best: Rearrangement | None) -> Rearrangement | None:
        """The one that holds the place takes a home that a second function leaves first."""
        for position, clearing in self._clearings(wish, 1):
            if best and (2, *clearing.cost[1:2]) > best.cost[:2]:
                break
            (source,) = clearing.movers
            busy = self._fleet.busy_on(position, source)
            second = replace(_HOME, name=source.profile.name, nodes=busy.nodes, starts=self._extra_start(busy))
            for inner_position, inner in self._clearings(second, 1):
                (leaver,) = inner.movers
                if inner_position == position and (inner.place.mask & clearing.place.mask or leaver == source):
                    continue
                inner_busy = self._fleet.busy_on(inner_position, leaver)
                if best and _moving_two(busy, inner_busy) > best.cost[:2]:
                    continue
                closed = {position: clearing.place.mask}
                closed[inner_position] = closed.get(inner_position, 0) | inner.place.mask
                home = self._home(leaver, inner_busy, closed)
                if home is None:
                    continue
                left = Removal(inner_position, leaver, inner_busy, home)
                if not (
                    self._may_surge(inner_busy.function, leaver) and self._may_surge(busy.function, source, [left])
                ):
                    continue
                taken = Removal(position, source, busy, _left_by(inner_position, inner))
                found = self._priced(wish, position, clearing, (left, taken))
                if best is None or found.cost < best.cost:
                    best = found
        return best

    def _priced(self, wish: Wish, position: int, clearing: Clearing, removals: tuple[Removal, ...]) -> Rearrangement:
        destroyed = {(position, place) for place in clearing.destroys}
        destroyed |= {(each.home.position, place) for each in removals for place in each.home.fit.destroys}
        seconds = float(wish.starts.whole_seconds(self._fleet.gpu(position).node))
        seconds += sum(each.busy.move_s + self._extra_s(each) for each in removals)
        seconds += sum(self._fleet.worth_of(where, place) for where, place in destroyed)
        lost = clearing.cost[2] + sum(each.home.cost[2] for each in removals)
        cost = (len(removals), round(seconds, 3), round(lost, 6), -clearing.place.start)
        return Rearrangement(cost, position, clearing, removals)

    def _extra_s(self, removal: Removal) -> int:
        return self._extra_start(removal.busy).whole_seconds(self._fleet.gpu(removal.home.position).node)


def _left_by(position: int, clearing: Clearing) -> Offer:
    """The home that another function leaves: not there yet, so no fit of any state."""
    place = clearing.place
    cost = (RANK[How.MOVE], *clearing.cost[1:3], len(clearing.destroys), place.profile.memory_units, -place.start)
    return Offer(cost, position, Fit(cost, How.MOVE, place, clearing.destroys, clearing.cost[2]))


def _may_run(busy: Busy, node: NodeName) -> bool:
    return busy.nodes is None or node in busy.nodes


def _moving_two(outer: Busy, inner: Busy) -> tuple[float, ...]:
    """The least that it costs to move these two."""
    return (2, round(outer.move_s + inner.move_s, 3))
