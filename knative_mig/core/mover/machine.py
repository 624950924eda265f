"""Decides the next step of a move from what is seen, and what each phase wants of the world.

Called by the planner's leader in every round: `advance` until nothing changes, the result journalled, then whatever
`wants` says is done. All of what is wanted is level-triggered, so that doing it twice is doing it once and a new leader
simply goes on.

The subtle thing is the last replica. A move takes nothing away itself but by an eviction, and evicts only while another
pod of the function is seen Ready; all else is the autoscaler's own doing, which is told which pod it may spare. A move
that recreates evicts nobody; its steps are `recreate`'s.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from knative_mig.core.cluster.objects import HOSTNAME, PodFacts
from knative_mig.core.mover import recreate
from knative_mig.core.mover.values import (
    GOES_FIRST,
    Move,
    Over,
    Patience,
    Phase,
    PodRef,
    Sight,
    SliceSight,
    Spot,
    Waits,
    lives,
)

_BEFORE_BREAK = frozenset({Phase.RESERVING, Phase.STARTING, Phase.MARKING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wants:
    """What is not named is not to be: no slice kept, no request, the old pod's deletion cost as it was. `switch`: the
    new Revision needs no pod to be Ready; `hasten`: the older one goes to zero as soon as it may.
    """

    reserve: Spot | None = None
    floor: int = 0
    switch: bool = False
    hasten: bool = False
    mark: PodRef | None = None
    unmark: PodRef | None = None
    evict: PodRef | None = None
    hand_over: PodRef | None = None


def wants(move: Move) -> Wants:
    leg = move.leg
    match move.phase:
        case Phase.RESERVING:
            return Wants(reserve=leg.target)
        case Phase.STARTING:
            return Wants(reserve=leg.target, floor=move.floor)
        case Phase.MARKING:
            return Wants(floor=move.floor, mark=leg.old)
        case Phase.LEAVING:
            return Wants(mark=leg.old)
        case Phase.EVICTING:
            return Wants(mark=leg.old, evict=leg.old)
        case Phase.HANDING_OVER:
            return Wants(hand_over=leg.old)
        case Phase.SWITCHING:
            return Wants(switch=True)
        case Phase.ENDING:
            return Wants(hasten=True)
        case Phase.CLEARING | Phase.HOLDING:
            return Wants()
        case Phase.ABANDONING:
            return Wants(unmark=leg.old)


def holds(move: Move) -> Iterator[Spot]:
    """Places that nobody else may have: the beneficiary's, and where later legs go."""
    yield move.place
    if move.recreates:
        return
    first = move.at if move.phase is Phase.RESERVING else move.at + 1
    for leg in move.legs[first:]:
        yield leg.target


def wants_room(move: Move, sight: Sight, now: float, patience: Patience) -> bool:
    """Whether `Sight.has_room` decides this round."""
    return move.phase is Phase.LEAVING and not sight.asked and now - move.since >= patience.leave_s


def newcomers(move: Move, sight: Sight) -> list[PodFacts]:
    """The pods that came since the floor was asked: the Ready ones first, then by age."""
    found = [pod for uid, pod in sight.pods.items() if uid not in move.known and lives(pod)]
    return sorted(found, key=lambda pod: (not pod.ready, pod.created, pod.name))


def successor(move: Move, sight: Sight) -> PodFacts | None:
    """Where the old pod's generations can go on: the pod that came for it, else any other that is Ready."""
    others = (pod for uid, pod in sight.pods.items() if uid != move.leg.old.uid and pod.ready and lives(pod))
    return min(others, key=lambda pod: (pod.uid in move.known, pod.created, pod.name), default=None)


def advance(move: Move, sight: Sight, now: float, patience: Patience) -> Move | Over:
    """One step, or the same move. `now` is the wall clock's: a journal outlives processes."""
    if move.recreates:
        return recreate.advance(move, sight, now, patience)
    old = sight.pods.get(move.leg.old.uid)
    if move.phase in _BEFORE_BREAK and (found := _overtaken(move, sight, old, now)):
        return found
    match move.phase:
        case Phase.RESERVING:
            return _reserving(move, sight, now, patience)
        case Phase.STARTING:
            return _starting(move, sight, now, patience)
        case Phase.MARKING:
            return _marking(move, sight, old, now, patience)
        case Phase.LEAVING | Phase.EVICTING:
            return _breaking(move, sight, old, now, patience)
        case Phase.HANDING_OVER:
            return _handing_over(move, sight, old, now, patience)
        case Phase.CLEARING:
            return _clearing(move, sight, old, now, patience)
        case Phase.HOLDING:
            return _holding(move, sight, now, patience)
        case Phase.ABANDONING:
            taken_back = old is None or not lives(old) or old.deletion_cost != GOES_FIRST
            return Over(moved=False, why=move.why) if taken_back and not sight.asked else move
        case Phase.SWITCHING | Phase.ENDING:
            raise AssertionError(f"{move.phase} is a recreation's")


def _overtaken(move: Move, sight: Sight, old: PodFacts | None, now: float) -> Move | None:
    """What ends a move before anything is broken."""
    if old is None or not lives(old):  # it left by itself, for whatever reason
        return _left(move, sight, old, now)
    if sight.beneficiary is not Waits.YES:
        return _abandon(move, f"{move.function} needs the place no more: {sight.beneficiary}", now)
    revision = sight.revision
    if revision is None or revision.uid != move.leg.revision_uid or revision.ending:
        return _abandon(move, f"{move.leg.function} is going", now)
    return None


def _reserving(move: Move, sight: Sight, now: float, patience: Patience) -> Move:
    if sight.target is SliceSight.TAKEN:
        return _abandon(move, f"{move.leg.target} was taken by somebody else", now)
    live = [pod for pod in sight.pods.values() if lives(pod)]
    cost = sight.pods[move.leg.old.uid].deletion_cost
    revision = sight.revision
    settled = all(pod.ready for pod in live) and revision is not None and revision.desired is not None
    if sight.target is SliceSight.IDLE and settled:
        return replace(
            _enter(move, Phase.STARTING, now),
            floor=len(live) + 1,
            until=now + patience.asks_s,
            known=frozenset(sight.pods),
            cost=None if cost == GOES_FIRST else cost,
        )
    if now - move.since >= patience.reserve_s:
        if sight.target is not SliceSight.IDLE:
            return _abandon(move, f"{move.leg.target} was not made in {patience.reserve_s:.0f} s", now)
        return _abandon(move, f"{move.leg.function} does not stand still: its pods or its scale are changing", now)
    return move


def _starting(move: Move, sight: Sight, now: float, patience: Patience) -> Move:
    new = newcomers(move, sight)
    if new and new[0].ready:
        return _enter(move, Phase.MARKING, now)
    if new and (where := _bound_elsewhere(new[0], move)):
        return _abandon(move, f"its new pod {new[0].name} may run on {where} alone", now)
    if now >= move.until - patience.mark_s:
        what = f"its new pod {new[0].name} did not become Ready" if new else "the autoscaler made no new pod"
        return _abandon(move, f"{what} in {now - move.since:.0f} s", now)
    return move


def _bound_elsewhere(pod: PodFacts, move: Move) -> str:
    """The node that its user's own selector names: who makes pods may have chosen it since the old one was made."""
    where = "" if pod.pinned else pod.node_selector.get(HOSTNAME, "")
    return where if where != move.leg.target.node else ""


def _marking(move: Move, sight: Sight, old: PodFacts | None, now: float, patience: Patience) -> Move:
    assert old is not None  # `_overtaken` has looked
    new = newcomers(move, sight)
    if not new or not new[0].ready:
        return _enter(move, Phase.STARTING, now)
    if old.deletion_cost == GOES_FIRST:
        return _enter(move, Phase.LEAVING, now)
    if now - move.since >= patience.mark_s:
        return _abandon(move, f"{old.name} could not be marked", now)
    return move


def _breaking(move: Move, sight: Sight, old: PodFacts | None, now: float, patience: Patience) -> Move:
    if old is None or not lives(old):
        return _left(move, sight, old, now)
    if not _another_is_ready(move, sight):
        return _abandon(move, f"{old.name} is the last that is Ready", now)
    if sight.beneficiary is not Waits.YES:
        return _abandon(move, f"{move.function} needs the place no more: {sight.beneficiary}", now)
    if move.phase is Phase.EVICTING:
        if now - move.since >= patience.evict_s:
            return _abandon(move, f"{old.name} could not be evicted", now)
        return move
    if wants_room(move, sight, now, patience):
        if sight.has_room:
            return _enter(move, Phase.EVICTING, now)
        return _abandon(move, "its own demand keeps all pods, and no slice is left for another", now)
    return move


def _left(move: Move, sight: Sight, old: PodFacts | None, now: float) -> Move:
    """Nothing is asked of its relay before it is told to end: a replica that has handed over serves nobody any more."""
    hands_over = old is not None and not old.over and successor(move, sight) is not None
    return _enter(move, Phase.HANDING_OVER if hands_over else Phase.CLEARING, now)


def _handing_over(move: Move, sight: Sight, old: PodFacts | None, now: float, patience: Patience) -> Move:
    nothing_left = old is None or old.over or sight.released or sight.handed_over or successor(move, sight) is None
    return _enter(move, Phase.CLEARING, now) if nothing_left or now - move.since >= patience.hand_over_s else move


def _clearing(move: Move, sight: Sight, old: PodFacts | None, now: float, patience: Patience) -> Move | Over:
    if sight.beneficiary is Waits.GONE:
        return Over(moved=True, why=f"{move.function} needs the place no more: {sight.beneficiary}")
    # Its relay may go on without a slice. The same slice is not made again while it does (decision record 0011).
    is_free = sight.released and move.leg.source.slice != move.place.slice
    if old is not None and not old.over and not is_free:
        if now - move.since >= patience.clear_s:
            return Over(moved=False, why=f"{old.name} does not end")
        return move
    if move.at + 1 < len(move.legs):
        return replace(
            _enter(move, Phase.RESERVING, now), at=move.at + 1, floor=0, until=0.0, known=frozenset(), cost=None
        )
    return _enter(move, Phase.HOLDING, now)


def _holding(move: Move, sight: Sight, now: float, patience: Patience) -> Move | Over:
    if sight.beneficiary is not Waits.YES:
        return Over(moved=True)
    if now - move.since >= patience.hold_s:
        return Over(moved=True, why=f"{move.function} did not take its place in {patience.hold_s:.0f} s")
    return move


def _another_is_ready(move: Move, sight: Sight) -> bool:
    return any(uid != move.leg.old.uid and pod.ready and lives(pod) for uid, pod in sight.pods.items())


def may_evict(move: Move, sight: Sight) -> bool:
    """Asked once more with the newest sight, right before the eviction."""
    return move.phase is Phase.EVICTING and _another_is_ready(move, sight)


def _enter(move: Move, phase: Phase, now: float) -> Move:
    return replace(move, phase=phase, since=now)


def _abandon(move: Move, why: str, now: float) -> Move:
    return replace(_enter(move, Phase.ABANDONING, now), why=why)
