"""How to get a slice on one GPU without moving anybody: exactly, because there is nothing to search.

A legal start fixes the slices that it overlaps, and there are at most seven starts. Called tier by tier for `Fleet`'s
rankings (reuse beats create beats all else, so most questions end at the first tier) and, by `moves`, for new homes.
"""

from collections.abc import Iterable, Iterator
from enum import IntEnum
from itertools import product
from typing import Final

from knative_mig.core.geometry import Place
from knative_mig.core.planner.decisions import How
from knative_mig.core.planner.gpu_state import ENDING, IDLE, GpuState
from knative_mig.core.planner.offers import RANK, Fit
from knative_mig.core.profile import ProfileName


class Tier(IntEnum):
    REUSE = 0
    CREATE = 1
    MERGE_OR_WAIT = 2


_TIERS: Final = tuple(Tier)  # to go through an enum's members takes long, and this is asked thousands of times a plan


def fits(state: GpuState, name: ProfileName) -> tuple[Fit, ...]:
    """Of the best tier that has any: the best, or all places that wait for a pod: each is good up to its own time."""
    return next((found for tier in _TIERS if (found := fits_of(tier, state, name))), ())


def fits_of(tier: Tier, state: GpuState, name: ProfileName) -> tuple[Fit, ...]:
    known = state.known_fits[tier].get(name)
    if known is None:
        known = state.known_fits[tier][name] = _SEARCHES[tier](state, state.model.places_named(name))
    return known


def _reuse(state: GpuState, places: tuple[Place, ...]) -> tuple[Fit, ...]:
    there = {index for _, (index, kind, _) in state.standing if kind == IDLE}
    return _best(state, How.REUSE, ((place, 0.0, 0) for place in places if place.index in there)) if there else ()


def _create(state: GpuState, places: tuple[Place, ...]) -> tuple[Fit, ...]:
    if state.static:
        return ()  # an administrator's layout is used as it is
    shut = state.covered | state.lasting
    return _best(state, How.CREATE, ((place, 0.0, 0) for place in places if not place.mask & shut))


def _merge_or_wait(state: GpuState, places: tuple[Place, ...]) -> tuple[Fit, ...]:
    merges: list[tuple[Place, float, int]] = []
    waits: list[Fit] = []
    for place in places:
        if place.mask & state.lasting or (state.static and not state.stands(place)):
            continue
        worth, destroyed, until = 0.0, 0, None
        for other, (index, kind, value) in state.standing:
            if other.mask & place.mask:
                if kind == IDLE:
                    destroyed += index != place.index
                    worth += value
                else:
                    until = value if until is None else max(until, value)
        if until is None:
            merges.append((place, worth, destroyed))
        else:
            waits.append(_fit(state, How.WAIT, place, seconds=until + worth, destroyed=destroyed, until=until))
    return _best(state, How.MERGE, merges) or tuple(sorted(waits, key=lambda fit: fit.cost))


def _best(state: GpuState, how: How, ways: Iterable[tuple[Place, float, int]]) -> tuple[Fit, ...]:
    losses = state.flexibility.losses(state.lasting)
    open_ways = [
        (seconds, lost, destroyed, -place.start, place)
        for place, seconds, destroyed in ways
        if (lost := losses[place.index]) is not None
    ]
    if not open_ways:
        return ()
    seconds, _, destroyed, _, place = min(open_ways, key=lambda way: way[:4])
    return (_fit(state, how, place, seconds=seconds, destroyed=destroyed),)


def _fit(state: GpuState, how: How, place: Place, *, seconds: float, destroyed: int, until: float | None = None) -> Fit:
    lost = 0.0 if state.static else state.flexibility.losses(state.lasting)[place.index] or 0.0
    cost = (
        RANK[how],
        round(seconds, 3),
        round(lost + state.packing, 6),
        destroyed,
        place.profile.memory_units,
        -place.start,
    )
    there = state.stands(place)
    if until is None:
        return Fit(cost, how, place, state.on(place, IDLE) if destroyed else (), lost, there)
    awaited = (place,) if there else state.on(place, ENDING)
    return Fit(cost, how, place, state.on(place, IDLE), lost, there, awaited, until)


_SEARCHES = {Tier.REUSE: _reuse, Tier.CREATE: _create, Tier.MERGE_OR_WAIT: _merge_or_wait}


def fits_together(state: GpuState, first: ProfileName, second: ProfileName) -> tuple[Fit, Fit] | None:
    """The cheapest way to get both at once: an idle slice that both destroy is paid for once, by the first."""
    if (first, second) not in state.known_pairs:
        pairs = _pairs(state, first, second)
        state.known_pairs[first, second] = min(pairs, key=lambda pair: (pair[0].cost, pair[1].cost), default=None)
    return state.known_pairs[first, second]


def _pairs(state: GpuState, first: ProfileName, second: ProfileName) -> Iterator[tuple[Fit, Fit]]:
    for one, two in product(_open_places(state, first), _open_places(state, second)):
        if one.mask & two.mask:
            continue
        worth = sum(
            value
            for other, (index, _, value) in state.standing
            if other.mask & (one.mask | two.mask) and index not in (one.index, two.index)
        )
        lost = state.flexibility.loss(state.lasting, state.lasting | one.mask | two.mask)
        yield _over_idle(state, one, worth, lost + state.packing), _over_idle(state, two, 0.0, 0.0)


def _open_places(state: GpuState, name: ProfileName) -> list[Place]:
    """Where there is nothing, or only what is idle."""
    if state.static:
        return []
    shut = state.lasting
    for other, (_, kind, _) in state.standing:
        shut |= other.mask if kind == ENDING else 0
    return [place for place in state.model.places_named(name) if not place.mask & shut]


def _over_idle(state: GpuState, place: Place, worth: float, lost: float) -> Fit:
    destroys, there = state.on(place, IDLE), state.stands(place)
    how = How.REUSE if there else How.MERGE if destroys else How.CREATE
    cost = (RANK[how], round(worth, 3), round(lost, 6), len(destroys), place.profile.memory_units, -place.start)
    return Fit(cost, how, place, destroys, round(lost, 6), there)
