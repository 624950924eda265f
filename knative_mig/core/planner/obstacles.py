"""The place of a GPU that is nearest to coming free: what a rejection names, and what is held for the starving."""

from knative_mig.core.geometry import Place
from knative_mig.core.planner.gpu_state import ENDING, IDLE, GpuState
from knative_mig.core.planner.offers import Obstacle
from knative_mig.core.profile import ProfileName


def nearest(state: GpuState, name: ProfileName) -> Obstacle | None:
    if name not in state.known_nearest:
        obstacles = [
            _obstacle(state, place)
            for place in state.model.places_named(name)
            if not place.mask & state.held and (state.stands(place) or not state.static)
        ]
        state.known_nearest[name] = min(obstacles, key=lambda obstacle: obstacle.cost, default=None)
    return state.known_nearest[name]


def _obstacle(state: GpuState, place: Place) -> Obstacle:
    blockers, units, until = [], 0, 0.0
    for other, (_, kind, value) in state.standing:
        if kind == IDLE or not other.mask & place.mask:
            continue
        blockers.append(other)
        if kind == ENDING:
            until = max(until, value)
        else:
            units += other.profile.memory_units
    return Obstacle((units, until, -place.start), place, tuple(blockers))
