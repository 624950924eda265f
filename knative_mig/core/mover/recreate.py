"""The one move that breaks before it makes: an older Revision's pod ends for a new one's, by their user's choice.

Called by `machine` for moves that recreate (`knative-mig.dev/rollout: recreate`). The old pod is evicted while its
place is held for the new Revision; its replacement waits. Once a new pod is Ready, Knative moves the traffic and the
old Revision goes to zero by itself. If none becomes Ready in time, what has the place is evicted and the place is held
for the old Revision's waiting pod instead.

The subtle thing is where it may still be called off: until the eviction nothing is lost, and it is not done once the
new Revision waits no more, or has been given a slice elsewhere.
"""

from dataclasses import replace

from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.mover.values import Move, Over, Patience, Phase, PodRef, Sight, lives


def advance(move: Move, sight: Sight, now: float, patience: Patience) -> Move | Over:
    old = sight.pods.get(move.leg.old.uid)
    match move.phase:
        case Phase.ENDING:
            return _ending(move, sight, old, now, patience)
        case Phase.CLEARING:
            return _clearing(move, sight, old, now, patience)
        case Phase.HOLDING:
            return _holding(move, sight, now, patience)
        case Phase.TAKING_OVER:
            return _taking_over(move, sight, now)
        case Phase.RETURNING:
            return _returning(move, sight, now, patience)
        case _:
            raise AssertionError(f"a recreation is never {move.phase}")


def may_evict(move: Move, sight: Sight) -> bool:
    """Asked with the newest sight, right before the eviction."""
    if move.phase is Phase.ENDING:
        return any(pod.recreates for pod in _waiting(move, sight))
    taker = _taker(move, sight)
    return taker is not None and lives(taker) and not taker.ready


def rest_s(move: Move, patience: Patience) -> float:
    """For how long nothing is ended for the new Revision any more."""
    return patience.again_s if move.phase is Phase.RETURNING else patience.rest_s


def _ending(move: Move, sight: Sight, old: PodFacts | None, now: float, patience: Patience) -> Move | Over:
    if old is None or not lives(old):
        return _enter(move, Phase.CLEARING, now)
    if not _waiting(move, sight):
        return Over(moved=False, why=f"{move.function} needs the place no more")
    if now - move.since >= patience.evict_s:
        return Over(moved=False, why=f"{old.name} could not be evicted")
    return move


def _clearing(move: Move, sight: Sight, old: PodFacts | None, now: float, patience: Patience) -> Move | Over:
    if not _new(move, sight):
        return _give_back(move, f"{move.function} needs the place no more", now)
    if old is not None and not old.over:
        if now - move.since >= patience.clear_s:
            return Over(moved=False, why=f"{old.name} does not end")
        return move
    if move.at + 1 < len(move.legs):
        return replace(_enter(move, Phase.ENDING, now), at=move.at + 1)
    return replace(_enter(move, Phase.HOLDING, now), until=now + patience.start_s)


def _holding(move: Move, sight: Sight, now: float, patience: Patience) -> Move | Over:
    taken = [pod for pod in _new(move, sight) if pod.node is not None]
    if taken:
        first = min(taken, key=lambda pod: (not pod.ready, pod.created, pod.name))
        return replace(_enter(move, Phase.TAKING_OVER, now), taker=PodRef(name=first.name, uid=first.uid))
    if not _waiting(move, sight):
        return _give_back(move, f"{move.function} needs the place no more", now)
    if now - move.since >= patience.hold_s or now >= move.until:
        return _give_back(move, f"{move.function} did not take its place in {now - move.since:.0f} s", now)
    return move


def _taking_over(move: Move, sight: Sight, now: float) -> Move | Over:
    taker = _taker(move, sight)
    if taker is not None and lives(taker):
        if taker.ready:
            return Over(moved=True)
        if now >= move.until:
            return _give_back(move, f"{taker.name} did not become Ready in {now - move.since:.0f} s", now)
        return move
    if _waiting(move, sight) and now < move.until:
        return replace(_enter(move, Phase.HOLDING, now), taker=None)
    return _give_back(move, f"no pod of {move.function} became Ready", now)


def _returning(move: Move, sight: Sight, now: float, patience: Patience) -> Move | Over:
    taker = _taker(move, sight)
    if taker is not None and lives(taker) and taker.ready:
        return Over(moved=True, why="it became Ready at the last moment")
    has_left = taker is None or taker.over
    if has_left and not any(pod.node is None and lives(pod) for pod in sight.pods.values()):
        return Over(moved=False, why=move.why)
    if now - move.since >= patience.clear_s:
        return Over(moved=False, why=f"{move.why}; {move.leg.function} did not take its place again")
    return move


def _new(move: Move, sight: Sight) -> list[PodFacts]:
    """Those that the place may be for: not the new Revision's pods that had a slice before."""
    return [pod for uid, pod in sight.successors.items() if uid not in move.known and lives(pod)]


def _waiting(move: Move, sight: Sight) -> list[PodFacts]:
    return [pod for pod in _new(move, sight) if pod.node is None]


def _taker(move: Move, sight: Sight) -> PodFacts | None:
    return sight.successors.get(move.taker.uid) if move.taker else None


def _give_back(move: Move, why: str, now: float) -> Move:
    return replace(_enter(move, Phase.RETURNING, now), why=why)


def _enter(move: Move, phase: Phase, now: float) -> Move:
    return replace(move, phase=phase, since=now)
