"""Why a slice cannot be had, and what would help: the words of a rejection.

Called by `batch` for what it could not serve. What is free is summed over every eligible GPU; the place that is nearest
to being free is looked for on the first `_LOOKED_AT` of them, for the sentence is for a person and not for a search.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Final

from knative_mig.core.inventory import Busy, Ending, Function, Slice
from knative_mig.core.planner.decisions import Because, How, Reason, Step
from knative_mig.core.planner.fits import fits
from knative_mig.core.planner.fleet import Fleet, Wish
from knative_mig.core.planner.gpu_state import GpuState
from knative_mig.core.planner.moves import BUDGET
from knative_mig.core.planner.obstacles import nearest
from knative_mig.core.planner.offers import Obstacle
from knative_mig.core.planner.times import WhenTold
from knative_mig.core.profile import ProfileName

_LOOKED_AT: Final = 64
_A_NODE: Final = "one of them that the pod selects and tolerates, not cordoned, with room for its CPU and memory"


@dataclass(frozen=True, slots=True)
class Shortage:
    reason: Reason
    helps: tuple[str, ...]


def explain_shortage(
    fleet: Fleet,
    wish: Wish,
    now: float,
    when: WhenTold,
    *,
    hindrances: Mapping[Function, str] | None,
    search_cut_short: bool = False,
    steps: Iterable[Step] = (),
) -> Shortage:
    """`hindrances`: why movable functions did not move, by function; None where moves are switched off. `steps`: of
    this plan so far, what was given away before.
    """
    models = fleet.models_of(wish.name)
    if not models:
        offered = ", ".join(str(name) for name in fleet.profiles()) or "none at all"
        reason = Reason(Because.NO_SUCH_PROFILE, f"no GPU can be cut into {wish.name}; the GPUs here have {offered}")
        return Shortage(reason, ("ask for one of the profiles named", "add a GPU that has this profile"))
    eligible = fleet.eligible_positions(wish)
    looked_at = list(islice(eligible, _LOOKED_AT))
    if not looked_at:
        return _no_node(fleet, wish)
    units = models[0].profile(wish.name).memory_units
    if wish.nodes is None:
        unused, where = sum(fleet.unused_units(model) for model in models), "all GPUs that have it"
    else:
        unused = sum(fleet.state(each).unused_units for each in chain(looked_at, eligible))
        where = "the GPUs where the pod can run"
    figures = [f"{unused} memory unit is" if unused == 1 else f"{unused} memory units are"]
    text = f"no place for {wish.name}: {figures[0]} free or idle on {where}"
    fixed = [fleet.gpu(each).static for each in looked_at]
    if all(fixed):
        text += ", and none is made there now: the layout is an administrator's, or the agent has yet to answer"
    elif unused >= units:
        few = "not" if unused == 1 else "none" if units == 1 else f"no {units} together"
        text += f", but {few} at a legal start{' where one may be made' if any(fixed) else ''}"
    if search_cut_short:
        text += f"; moves were sought at the {BUDGET} cheapest places only"
    closest = _closest(fleet, wish.name, looked_at)
    helps = []
    if closest:
        position, obstacle = closest
        in_the_way = sorted(fleet.slices(position), key=lambda each: each.place.start)
        blocking = [each for each in in_the_way if each.place in obstacle.blockers]
        blockers = [_told(each, now, when) for each in blocking]
        figures += [when(each.use.free_at) for each in blocking if isinstance(each.use, Ending)]
        text += f"; nearest is {obstacle.place} of {fleet.gpu(position).uuid}, held by {' and '.join(blockers)}"
        text += _why_unmoved(fleet.slices(position), obstacle, hindrances)
        helps.extend(_what_frees(fleet.slices(position), obstacle, now, when))
    elif first := _first_that_waits(fleet, steps, looked_at):
        text += f"; {first.target.place} of {first.target.gpu} comes free for {first.function}, which comes first"
    smaller = _smaller(fleet, wish.name, looked_at)
    if smaller:
        helps.append(f"{smaller}, which had a place when {wish.name} was refused")
    helps.append(f"another GPU that has {wish.name}")
    return Shortage(Reason(Because.NO_FREE_PLACE, text, figures=tuple(figures)), tuple(helps))


def _no_node(fleet: Fleet, wish: Wish) -> Shortage:
    anywhere = fleet.eligible_positions(replace(wish, nodes=None))
    having = sorted({fleet.gpu(each).node for each in anywhere})
    text = (
        f"the pod can run on none of the {len(having)} nodes whose GPUs have {wish.name} ({', '.join(having[:5])}"
        f"{', …' if len(having) > 5 else ''}): cordon, taint, affinity, CPU or memory"
    )
    return Shortage(Reason(Because.NO_ELIGIBLE_NODE, text), (_A_NODE,))


def _closest(fleet: Fleet, name: ProfileName, positions: list[int]) -> tuple[int, Obstacle] | None:
    found = [
        (obstacle.cost, position, obstacle)
        for position in positions
        if (obstacle := nearest(fleet.state(position), name)) and not _is_nobodys(fleet.slices(position), obstacle)
    ]
    if not found:
        return None
    _, position, obstacle = min(found, key=lambda each: each[:2])
    return (position, obstacle) if obstacle.blockers else None


def _first_that_waits(fleet: Fleet, steps: Iterable[Step], positions: list[int]) -> Step | None:
    here = {*positions}
    return next((each for each in steps if each.how is How.WAIT and fleet.where(each.target.gpu) in here), None)


def _is_nobodys(slices: tuple[Slice, ...], obstacle: Obstacle) -> bool:
    """Of a GPU that is not to be used, or of a process without a pod: there is nobody who could leave it."""
    holders = [each.use for each in slices if each.place in obstacle.blockers]
    return any(isinstance(use, Busy) and not use.function.namespace for use in holders)


def _told(each: Slice, now: float, when: WhenTold) -> str:
    match each.use:
        case Busy(function=function, movable=movable):
            return f"{function} ({each.place}, {'movable' if movable else 'not movable'})"
        case Ending(function=function, free_at=free_at):
            return f"{function} ({each.place}, {f'ends {when(free_at)}' if free_at > now else 'should have ended'})"
        case _:
            raise AssertionError(f"{each.place} is idle and holds nothing")


def _why_unmoved(slices: tuple[Slice, ...], obstacle: Obstacle, hindrances: Mapping[Function, str] | None) -> str:
    """Of the movable functions on the nearest place."""
    uses = [each.use for each in slices if each.place in obstacle.blockers]
    movable = sorted({use.function for use in uses if isinstance(use, Busy) and use.movable})
    if movable and hindrances is None:
        return "; moves are switched off (max_moves: 0)"
    told = [f"{each} stays: {hindrances[each]}" for each in movable if hindrances and each in hindrances]
    return "".join(f"; {each}" for each in told)


def _what_frees(slices: tuple[Slice, ...], obstacle: Obstacle, now: float, when: WhenTold) -> list[str]:
    uses = [each.use for each in slices if each.place in obstacle.blockers]
    ending = [use for use in uses if isinstance(use, Ending)]
    busy = [use for use in uses if isinstance(use, Busy)]
    helps = []
    if busy:
        helps.append(f"{_named(busy)} scaling to zero")
    fixed = [use for use in busy if not use.movable]
    if fixed and len(busy) <= 2:
        helps.append(f"knative-mig.dev/movable on {_named(fixed)}")
    if ending and not busy:
        last = max(use.free_at for use in ending)
        helps.append(
            f"waiting: it comes free {when(last)}" if last > now else "a look at the pod that should have ended by now"
        )
    return helps


def _named(uses: list[Busy]) -> str:
    return " and ".join(sorted({str(use.function) for use in uses}))


def _smaller(fleet: Fleet, name: ProfileName, positions: list[int]) -> ProfileName | None:
    """The biggest smaller profile with a place now, on the models that have the one asked for."""
    models = {fleet.gpu(each).model for each in positions}
    names = {profile.name for model in models for profile in model.profiles}
    smaller = sorted((each for each in names if each.attribute is name.attribute and each < name), reverse=True)
    states = {id(state): state for state in map(fleet.state, positions)}.values()
    return next((each for each in smaller if any(_has_place_now(state, each) for state in states)), None)


def _has_place_now(state: GpuState, name: ProfileName) -> bool:
    offered = fits(state, name)
    return bool(offered) and offered[0].until is None
