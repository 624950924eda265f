"""Who makes room when no idle or free place is left: at most two movable functions, each to a home that exists first.

Three shapes are searched, cheapest first, and they are all there are with two moves: one function holds the place and
finds a home; two functions hold it and both find one; one holds it and its only home is held by another, which goes
first. Slices nest or are apart, so no other order of two moves can free more.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Final

from knative_mig.core.geometry import Place
from knative_mig.core.inventory import Busy, NodeName
from knative_mig.core.planner.decisions import How
from knative_mig.core.planner.fleet import Fleet, Offer, Wish
from knative_mig.core.planner.gpu_state import RANK, Clearing, Fit
from knative_mig.core.planner.startup import StartTimes, StartupEstimate
from knative_mig.core.profile import ProfileName

# Places looked at before the best found so far is taken. A count and not a time, so that the plan is always the same;
# 256 take about 5 ms, and a fleet that has a move at all shows one within the first few.
BUDGET: Final = 256


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

    def __init__(self, fleet: Fleet, startup: StartupEstimate) -> None:
        self._fleet = fleet
        self._startup = startup
        self._left = BUDGET
        self._homeless: set[tuple[ProfileName, frozenset[NodeName] | None]] = set()

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
        found = [
            Rearrangement(self._cost(wish, position, clearing, removals), position, clearing, removals)
            for order in permutations(clearing.movers)
            if (removals := self._homes(position, clearing.place, order))
        ]
        return min(found, key=lambda each: each.cost, default=None)

    def _homes(self, position: int, place: Place, movers: tuple[Place, ...]) -> tuple[Removal, ...] | None:
        closed = {position: place.mask}
        removals = []
        for source in movers:
            busy = self._fleet.busy_on(position, source)
            home = self._home(source, busy, closed)
            if home is None:
                return None
            closed[home.position] = closed.get(home.position, 0) | home.fit.place.mask
            removals.append(Removal(position, source, busy, home))
        return tuple(removals)

    def _home(self, source: Place, busy: Busy, closed: Mapping[int, int]) -> Offer | None:
        name = source.profile.name
        if (name, busy.nodes) in self._homeless:
            return None
        wish = Wish(name=name, nodes=busy.nodes, starts=self._extra_start(busy), spares_whole=True)
        home = self._fleet.best(replace(wish, closed=closed))
        if home is None and self._fleet.best(wish) is None:
            self._homeless.add((name, busy.nodes))
        return home

    def _extra_start(self, busy: Busy) -> StartTimes:
        """`move_s` is what a move costs usually; on some nodes the function starts later than that."""
        starts = self._startup(busy.function)
        return StartTimes(0.0, {node: max(0.0, s - starts.usual_s) for node, s in starts.on_node.items()})

    def _by_chain(self, wish: Wish, best: Rearrangement | None) -> Rearrangement | None:
        """The one that holds the place takes a home that a second function leaves first."""
        for position, clearing in self._clearings(wish, 1):
            if best and _two(clearing) >= best.cost:
                break
            (source,) = clearing.movers
            busy = self._fleet.busy_on(position, source)
            second = Wish(name=source.profile.name, nodes=busy.nodes, starts=self._extra_start(busy), spares_whole=True)
            for inner_position, inner in self._clearings(second, 1):
                if best and _two(clearing, inner) >= best.cost:
                    break
                if inner_position == position and (inner.place.mask & clearing.place.mask or inner.movers == (source,)):
                    continue
                found = self._chain(wish, (position, clearing, busy), (inner_position, inner))
                if found and (best is None or found.cost < best.cost):
                    best = found
        return best

    def _chain(
        self, wish: Wish, outer: tuple[int, Clearing, Busy], inner: tuple[int, Clearing]
    ) -> Rearrangement | None:
        position, clearing, busy = outer
        inner_position, freed = inner
        (first,) = freed.movers
        first_busy = self._fleet.busy_on(inner_position, first)
        closed = {position: clearing.place.mask}
        closed[inner_position] = closed.get(inner_position, 0) | freed.place.mask
        first_home = self._home(first, first_busy, closed)
        if first_home is None:
            return None
        fit = Fit(
            (RANK[How.MOVE], *freed.cost[1:3], len(freed.destroys), -freed.place.start),
            How.MOVE,
            freed.place,
            freed.destroys,
        )
        second_home = Offer(fit.cost, inner_position, fit)
        removals = (
            Removal(inner_position, first, first_busy, first_home),
            Removal(position, clearing.movers[0], busy, second_home),
        )
        return Rearrangement(self._cost(wish, position, clearing, removals), position, clearing, removals)

    def _cost(self, wish: Wish, position: int, clearing: Clearing, removals: tuple[Removal, ...]) -> tuple[float, ...]:
        _, seconds, lost, start = clearing.cost
        seconds += wish.starts.whole_seconds(self._fleet.gpu(position).node)
        seconds += sum(removal.home.cost[1] for removal in removals)
        lost += sum(removal.home.cost[2] for removal in removals)
        return (len(removals), round(seconds, 3), round(lost, 6), start)


def _two(*clearings: Clearing) -> tuple[float, ...]:
    """The least that two moves can cost that begin with these."""
    return (2, round(sum(each.cost[1] for each in clearings), 3), round(sum(each.cost[2] for each in clearings), 6))
