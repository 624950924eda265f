"""Turns what was found into a `Step` with its reasons, and has the fleet take it on for the rest of the plan.

Called by `batch`. After a move the places of both ends stay held: they are given away, but not free before the old pods
are gone, which is for a later plan to see.
"""

from dataclasses import replace

from knative_mig.core.geometry import Place
from knative_mig.core.inventory import Busy, Ending, Function, Slice
from knative_mig.core.planner.decisions import Because, How, Reason, Relocation, Step, Target
from knative_mig.core.planner.fleet import Fleet, Offer, Wish
from knative_mig.core.planner.moves import Rearrangement, Removal
from knative_mig.core.planner.offers import Fit
from knative_mig.core.planner.times import WhenTold


def grant(  # noqa: PLR0917 - what a grant is made of
    fleet: Fleet, function: Function, wish: Wish, offer: Offer, now: float, when: WhenTold
) -> Step:
    fit = offer.fit
    step = Step(
        how=fit.how,
        function=function,
        profile=wish.name,
        target=_target(fleet, offer.position, fit),
        until=fit.until,
        reasons=(_why(fleet, offer, now, when), *_where(fleet, wish, offer)),
    )
    if fit.how is How.WAIT:
        _give_away(fleet, offer.position, fit.place, fit.destroys, stands=True)
    else:
        _occupy(fleet, offer.position, fit, Busy(function))
    return step


def grant_by_moving(fleet: Fleet, function: Function, wish: Wish, found: Rearrangement) -> Step:
    relocations, gone = _relocations(fleet, found)
    destroys = tuple(place for place in found.clearing.destroys if (found.position, place) not in gone)
    gpu = fleet.gpu(found.position)
    step = Step(
        how=How.MOVE,
        function=function,
        profile=wish.name,
        target=Target(gpu=gpu.uuid, node=gpu.node, place=found.clearing.place, destroys=destroys),
        relocations=relocations,
        reasons=(_why_moved(relocations, found),),
    )
    for removal in found.removals:
        _leave(fleet, removal)
    _give_away(fleet, found.position, found.clearing.place, found.clearing.destroys)
    return step


def _occupy(fleet: Fleet, position: int, fit: Fit, busy: Busy) -> None:
    kept = tuple(each for each in fleet.slices(position) if not each.place.mask & fit.place.mask)
    fleet.assign(position, (*kept, Slice(fit.place, busy)))


def _leave(fleet: Fleet, removal: Removal) -> None:
    """The moved function takes its new home; nobody moves it again in this plan, nor takes what it leaves."""
    fixed = Busy(removal.busy.function)
    slices = tuple(
        Slice(each.place, fixed) if each.place == removal.source else each for each in fleet.slices(removal.position)
    )
    fleet.assign(removal.position, slices, held=removal.source.mask)
    home = removal.home
    if home.fit.how is How.MOVE:  # its home is what another function left: held already
        _give_away(fleet, home.position, home.fit.place, home.fit.destroys)
    else:
        _occupy(fleet, home.position, home.fit, fixed)


def _give_away(fleet: Fleet, position: int, place: Place, destroys: tuple[Place, ...], *, stands: bool = False) -> None:
    """Held, and what is destroyed for it is not offered to anybody else. Where it `stands` until a pod has ended, nor
    is what of it the place does not need, as the media extension that an idle 1g.5gb+me keeps from all others.
    """
    kept = tuple(each for each in fleet.slices(position) if each.place not in destroys)
    held = place.mask
    for each in destroys if stands else ():
        held |= each.mask
    fleet.assign(position, kept, held=held)


def _target(fleet: Fleet, position: int, fit: Fit) -> Target:
    gpu = fleet.gpu(position)
    return Target(
        gpu=gpu.uuid,
        node=gpu.node,
        place=fit.place,
        reuses=fit.reuses,
        destroys=fit.destroys,
        awaits=fit.awaits,
    )


def _relocations(fleet: Fleet, found: Rearrangement) -> tuple[tuple[Relocation, ...], set[tuple[int, Place]]]:
    """Also what they destroy: an idle slice that several places lie on is destroyed by the first to be made."""
    gone: set[tuple[int, Place]] = set()
    relocations = []
    for removal in found.removals:
        target = _target(fleet, removal.home.position, removal.home.fit)
        destroys = tuple(place for place in target.destroys if (removal.home.position, place) not in gone)
        gone.update((removal.home.position, place) for place in destroys)
        relocations.append(
            Relocation(
                function=removal.busy.function,
                source=removal.source,
                source_gpu=fleet.gpu(removal.position).uuid,
                target=replace(target, destroys=destroys),
                seconds=removal.busy.move_s,
            )
        )
    return tuple(relocations), gone


def _why(fleet: Fleet, offer: Offer, now: float, when: WhenTold) -> Reason:
    fit = offer.fit
    match fit.how:
        case How.REUSE:
            return Reason(Because.IDLE_SLICE, f"{fit.place} is idle: no change to the GPU")
        case How.CREATE:
            return Reason(Because.FREE_UNITS, f"units {_units(fit.place)} are free: nothing is destroyed")
        case How.MERGE:
            return Reason(
                Because.CHEAPEST_MERGE,
                f"destroys idle {_listed(fit.destroys)}, together worth {fit.seconds:.1f} s",
            )
        case How.WAIT:
            return _soon(fit, _who_end(fleet.slices(offer.position), fit), now, when)
        case How.MOVE | How.RECREATE:
            raise AssertionError("what others do for it explains it")


def _soon(fit: Fit, ending: list[str], now: float, when: WhenTold) -> Reason:
    who, have = " and ".join(ending), "has" if len(ending) == 1 else "have"
    if fit.until is None or fit.until <= now:
        return Reason(Because.SOON_FREE, f"{fit.place} should be free by now: {who} {have} not ended")
    at = when(fit.until)
    return Reason(Because.SOON_FREE, f"{fit.place} comes free {at}, when {who} {have} ended", figures=(at,))


def _who_end(slices: tuple[Slice, ...], fit: Fit) -> list[str]:
    uses = [each.use for each in slices if each.place in fit.awaits]
    return sorted({str(use.function) for use in uses if isinstance(use, Ending)})


def _where(fleet: Fleet, wish: Wish, offer: Offer) -> tuple[Reason, ...]:
    lost = offer.fit.flexibility_lost
    reasons = [Reason(Because.KEEPS_FLEXIBILITY, f"takes {lost:.2f} slices of future demand from this GPU")]
    if wish.starts.on_node:
        node = fleet.gpu(offer.position).node
        reasons.append(
            Reason(
                Because.STARTS_FASTEST,
                f"starts in {wish.starts.whole_seconds(node)} s on {node}, usually in {wish.starts.usual_s:.0f} s",
            )
        )
    return tuple(reasons)


def _why_moved(relocations: tuple[Relocation, ...], found: Rearrangement) -> Reason:
    moved = ", then ".join(
        f"{each.function} from {each.source} of {each.source_gpu} to {each.target.place} of {each.target.gpu}"
        for each in relocations
    )
    takes = f"{found.cost[1]:.1f} s"
    return Reason(
        Because.FEWEST_MOVES,
        f"no place without moving: moves {moved}; {takes}, each new pod Ready before the old one ends",
        figures=(takes,),
    )


def _units(place: Place) -> str:
    return f"{place.start}-{place.end - 1}" if place.end - place.start > 1 else f"{place.start}"


def _listed(places: tuple[Place, ...]) -> str:
    return " and ".join(str(place) for place in places)
