"""The places of a GPU that one or two movable functions hold: where `moves` begins to search."""

from knative_mig.core.geometry import Place
from knative_mig.core.planner.gpu_state import IDLE, MOVABLE, GpuState
from knative_mig.core.planner.offers import Clearing
from knative_mig.core.profile import ProfileName


def clearings(state: GpuState, name: ProfileName) -> tuple[Clearing, ...]:
    """Cheapest first; none on a static GPU, whose layout nobody changes."""
    known = state.known_clearings.get(name)
    if known is None:
        places = () if state.static else state.model.places_named(name)
        found = [clearing for place in places if (clearing := _clearing(state, place))]
        known = state.known_clearings[name] = tuple(sorted(found, key=lambda clearing: clearing.cost))
    return known


def _clearing(state: GpuState, place: Place) -> Clearing | None:
    if place.mask & state.held:
        return None
    movers, destroys, seconds, gone = [], [], 0.0, 0
    for other, (_, kind, value) in state.standing:
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
    lost = state.flexibility.loss(state.lasting, state.lasting & ~gone | place.mask) + state.packing
    cost = (len(movers), round(seconds, 3), round(lost, 6), -place.start)
    return Clearing(cost, place, tuple(movers), tuple(sorted(destroys, key=lambda other: other.start)))
