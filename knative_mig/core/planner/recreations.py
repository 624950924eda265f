"""Which slices of an older Revision a new one of the same Service gets, where its user has chosen that it may.

Called by `batch` for what neither an idle nor a free place, nor a move, could serve. Only slices of one older Revision
end for it, two at the most, with idle ones beside them: nobody else loses anything. A place that is held for somebody
who comes first is no obstacle as far as the older Revision has it: that one comes no nearer by its pod staying.
"""

from collections.abc import Iterator
from typing import Final

from knative_mig.core.geometry import Place
from knative_mig.core.inventory import Busy, Function, Idle, Slice, Succession
from knative_mig.core.planner.decisions import Because, How, Reason, Recreation, Step, Target
from knative_mig.core.planner.fleet import Fleet, Wish

_MOST: Final = 2  # pods that end for one

_Cost = tuple[int, int, float, int, int]  # pods that end, units taken beside theirs, worth destroyed, position, start


def recreate(fleet: Fleet, function: Function, wish: Wish, succession: Succession) -> Step | None:
    best = min(_ways(fleet, wish, succession), key=lambda each: each[0], default=None)
    if best is None:
        return None
    (_, _, _, position, _), place, older, ends, destroys = best
    gpu = fleet.gpu(position)
    slices = " and ".join(str(each) for each in ends)
    text = f"no spare slice: {older} ends on {slices} of {gpu.uuid} for it, and requests wait until it is Ready"
    # As if it were there already: what is given up once is given up no second time, and nobody is moved out of it.
    kept = tuple(
        Slice(each.place, Busy(function)) if each.place in ends else each
        for each in fleet.slices(position)
        if each.place not in destroys
    )
    fleet.assign(position, kept, held=place.mask)
    return Step(
        how=How.RECREATE,
        function=function,
        profile=wish.name,
        target=Target(gpu=gpu.uuid, node=gpu.node, place=place, destroys=destroys),
        recreation=Recreation(function=older, slices=ends),
        reasons=(Reason(Because.REPLACES_REVISION, text),),
    )


_Way = tuple[_Cost, Place, Function, tuple[Place, ...], tuple[Place, ...]]


def _ways(fleet: Fleet, wish: Wish, succession: Succession) -> Iterator[_Way]:
    for position in fleet.eligible_positions(wish):
        slices = fleet.slices(position)
        if any(isinstance(each.use, Busy) and each.use.function in succession.older for each in slices):
            state = fleet.state(position)
            for place in state.model.places_named(wish.name):
                if way := _way(fleet, position, place, succession):
                    yield way


def _way(fleet: Fleet, position: int, place: Place, succession: Succession) -> _Way | None:
    state = fleet.state(position)
    there = [each for each in fleet.slices(position) if each.place.mask & place.mask]
    ends = [each for each in there if isinstance(each.use, Busy) and each.use.function in succession.older]
    older = {each.use.function for each in ends if isinstance(each.use, Busy)}
    idle = [each for each in there if isinstance(each.use, Idle)]
    if len(older) != 1 or len(ends) > _MOST or len(ends) + len(idle) < len(there):
        return None
    gone = 0
    for each in ends:
        gone |= each.place.mask
    beside = place.mask & ~gone
    if beside & state.held or (state.static and [each.place for each in there] != [place]):
        return None
    worth = sum(each.use.worth_s for each in idle if isinstance(each.use, Idle))
    cost = (len(ends), beside.bit_count(), round(worth, 3), position, place.start)
    return cost, place, older.pop(), tuple(each.place for each in ends), tuple(each.place for each in idle)
