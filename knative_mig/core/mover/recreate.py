"""The one move that breaks before it makes: an older Revision's pods end for a new one's, by their user's choice.

Called by `machine` for moves that recreate (`knative-mig.dev/rollout: recreate`). The traffic goes first: the new
Revision is Ready without a pod, Knative routes to it, and from then on the activator holds requests for it. What had
come to the older one is answered there; its autoscaler takes its pods away when nothing is left to answer. The place is
held for the new one's waiting pod meanwhile.

The subtle thing is who ends the older pod. The activator holds requests per Revision and gives them to no other, and
the autoscaler alone knows of all of them: were the pod evicted, those that are held for it would time out.
"""

from dataclasses import replace

from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.mover.values import Move, Over, Patience, Phase, Sight, lives


def advance(move: Move, sight: Sight, now: float, patience: Patience) -> Move | Over:
    old = sight.pods.get(move.leg.old.uid)
    match move.phase:
        case Phase.SWITCHING:
            return _switching(move, sight, now, patience)
        case Phase.ENDING:
            return _ending(move, sight, old, now, patience)
        case Phase.CLEARING:
            return _clearing(move, sight, old, now, patience)
        case Phase.HOLDING:
            return _holding(move, sight, now, patience)
        case _:
            raise AssertionError(f"a recreation is never {move.phase}")


def _switching(move: Move, sight: Sight, now: float, patience: Patience) -> Move | Over:
    """The new one's pod may be gone meanwhile: at zero it is not wanted until a request comes."""
    new, older = sight.successor, sight.revision
    if new is None or new.ending:
        return Over(moved=False, why=f"{move.function} is going")
    if any(pod.node is not None for pod in _new(move, sight)):
        return Over(moved=False, why=f"{move.function} has a slice elsewhere")
    if new.ready and (older is None or not older.routed):
        return _enter(move, Phase.ENDING, now)
    if now - move.since >= patience.switch_s:
        if new.ready:
            return Over(moved=False, why=f"the traffic does not leave {move.leg.function}: its Service names it")
        why = "Knative does not take it for Ready without a pod: config-autoscaler needs allow-zero-initial-scale"
        return Over(moved=False, why=f"{move.function} gets no traffic; {why}")
    return move


def _ending(move: Move, sight: Sight, old: PodFacts | None, now: float, patience: Patience) -> Move | Over:
    if old is None or not lives(old):
        return _enter(move, Phase.CLEARING, now)
    if not _waiting(move, sight):
        return _needless(move)
    if sight.revision is not None and sight.revision.routed:
        return Over(moved=False, why=f"the traffic has come back to {move.leg.function}")
    if now - move.since >= patience.clear_s:
        return Over(moved=False, why=f"{move.leg.function} is not at zero after {now - move.since:.0f} s")
    return move


def _clearing(move: Move, sight: Sight, old: PodFacts | None, now: float, patience: Patience) -> Move | Over:
    if old is None or old.over:
        if move.at + 1 < len(move.legs):
            return replace(_enter(move, Phase.ENDING, now), at=move.at + 1)
        return _enter(move, Phase.HOLDING, now)
    if not _waiting(move, sight):
        return _needless(move)
    if now - move.since >= patience.clear_s:
        return Over(moved=False, why=f"{old.name} does not end")
    return move


def _holding(move: Move, sight: Sight, now: float, patience: Patience) -> Move | Over:
    if any(pod.node is not None for pod in _new(move, sight)):
        return Over(moved=True)
    if not _waiting(move, sight):
        return _needless(move)
    if now - move.since >= patience.hold_s:
        return Over(moved=False, why=f"{move.function} did not take its place in {now - move.since:.0f} s")
    return move


def _new(move: Move, sight: Sight) -> list[PodFacts]:
    """Those that the place may be for: not the new Revision's pods that had a slice before."""
    return [pod for uid, pod in sight.successors.items() if uid not in move.known and lives(pod)]


def _waiting(move: Move, sight: Sight) -> list[PodFacts]:
    return [pod for pod in _new(move, sight) if pod.node is None]


def _needless(move: Move) -> Over:
    return Over(moved=True, why=f"{move.function} has the traffic, and needs the place no more")


def _enter(move: Move, phase: Phase, now: float) -> Move:
    return replace(move, phase=phase, since=now)
