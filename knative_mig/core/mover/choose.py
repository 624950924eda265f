"""Which functions may be moved now, and which planned moves are begun.

Called by the planner's leader: `fixed` before it plans, so that no plan is made with a function that cannot go, and
`begin` on what was planned. A function is moved for one pod at a time, and a pod has functions moved for it once.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from knative_mig.core.cluster.decide import Granted
from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.errors import BadInput
from knative_mig.core.floor.rule import room
from knative_mig.core.floor.values import Record, Revision
from knative_mig.core.geometry import Place
from knative_mig.core.gpu_node import SliceId, SliceStatus
from knative_mig.core.inventory import Function, GpuUuid
from knative_mig.core.mover.seen import Seen
from knative_mig.core.mover.values import Leg, Move, Phase, PodRef, Spot
from knative_mig.core.planner.decisions import How, Recreation, Target

_NOTHING: Final[Record] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """By the beneficiary's UID. `resting`: who was moved in vain, and until when it is left alone."""

    moves: Mapping[str, Move] = field(default_factory=dict)
    resting: Mapping[Function, float] = field(default_factory=dict)

    @property
    def movers(self) -> frozenset[Function]:
        return frozenset(each for move in self.moves.values() for each in move.movers)

    @property
    def beneficiaries(self) -> frozenset[Function]:
        return frozenset(move.function for move in self.moves.values())


def fixed(seen: Seen, journal: Journal, now: float) -> dict[Function, str]:
    """Of the functions whose pods say that they may be moved, those that cannot be now, each with the reason."""
    moved = journal.movers
    found = {}
    for function in seen.pods.movable:
        revision = seen.revisions.get(function)
        record = seen.records.get(revision.uid, _NOTHING) if revision else _NOTHING
        why = _why_not(function, seen.pods.of(function), revision, record)
        if function in moved:
            why = "it is being moved"
        elif journal.resting.get(function, now) > now:
            why = "it was moved in vain a short while ago"
        if why:
            found[function] = why
    return found


def _why_not(function: Function, pods: Iterable[PodFacts], revision: Revision | None, record: Record) -> str:
    if revision is None:
        return "it is no Knative Revision that is seen here"
    if revision.ending or not revision.ready:
        return f"revision {function} is not Ready"
    live = [pod for pod in pods if pod.ends_at is None and not pod.over]
    if not all(pod.ready for pod in live):
        return "its own pods are not all Ready"
    if revision.desired is None:
        return "its autoscaler does not know yet how many pods it wants"
    try:
        if len(live) >= room(revision, record):
            return f"it has as many pods as its max-scale allows ({len(live)}): there is no room for the new one"
    except BadInput as bad:
        return str(bad)
    return ""


def begin(
    planned: Iterable[Granted], seen: Seen, journal: Journal, now: float, *, unfit: Collection[Function], at_once: int
) -> list[Move]:
    """New ones, in the order of the plan. `at_once`: of those that take a second slice while they last."""
    busy = {*journal.movers, *unfit}
    served = {*journal.beneficiaries}
    ending = {*journal.movers}
    begun = sum(not move.recreates for move in journal.moves.values())
    found: list[Move] = []
    for granted in planned:
        step = granted.step
        if step.recreation and step.function not in served and step.recreation.function not in ending:
            if move := _recreation(granted, step.recreation, seen, now):
                served.add(step.function)
                ending.add(step.recreation.function)
                busy.add(step.recreation.function)
                found.append(move)
            continue
        if step.how is not How.MOVE or begun >= at_once:
            continue
        movers = {each.function for each in step.relocations}
        if step.function in served or movers & busy or len(movers) < len(step.relocations):
            continue
        legs = [
            _leg(each.function, each.source_gpu, each.source, _spot(each.target), seen) for each in step.relocations
        ]
        if not legs or not all(legs):
            continue
        busy |= movers
        ending |= movers
        begun += 1
        served.add(step.function)
        found.append(
            Move(
                beneficiary=PodRef(name=granted.pod.name, uid=granted.pod.uid),
                function=step.function,
                place=_spot(step.target),
                legs=tuple(leg for leg in legs if leg),
                began=now,
                since=now,
            )
        )
    return found


def _recreation(granted: Granted, recreation: Recreation, seen: Seen, now: float) -> Move | None:
    target = granted.step.target
    place = _spot(target)
    legs = [_leg(recreation.function, target.gpu, each, place, seen) for each in recreation.slices]
    if not legs or not all(legs):
        return None
    return Move(
        beneficiary=PodRef(name=granted.pod.name, uid=granted.pod.uid),
        function=granted.step.function,
        place=place,
        legs=tuple(leg for leg in legs if leg),
        began=now,
        phase=Phase.SWITCHING,
        since=now,
        known=frozenset(pod.uid for pod in seen.pods.of(granted.step.function) if pod.node is not None),
        recreates=True,
    )


def _leg(function: Function, gpu: GpuUuid, place: Place, target: Spot, seen: Seen) -> Leg | None:
    """None: what is seen by now is not what was planned on."""
    revision = seen.revisions.get(function)
    source = SliceId(gpu=gpu, profile=place.profile.name, start=place.start)
    for node in seen.gpu_nodes.values():
        for there in node.status.gpus if node.status else ():
            for each in there.slices if there.uuid == source.gpu else ():
                old = _only_holder(each, seen.pods.of(function)) if each.key == source.key else None
                if old and revision:
                    return Leg(
                        function=function,
                        revision_uid=revision.uid,
                        old=PodRef(name=old.name, uid=old.uid),
                        source=Spot(node=node.name, slice=source),
                        target=target,
                    )
    return None


def _only_holder(held: SliceStatus, pods: Iterable[PodFacts]) -> PodFacts | None:
    if len({(each.namespace, each.pod) for each in held.holders}) != 1:
        return None
    holder = held.holders[0]
    return next((pod for pod in pods if (pod.namespace, pod.name) == (holder.namespace, holder.pod)), None)


def _spot(target: Target) -> Spot:
    place = target.place
    return Spot(node=target.node, slice=SliceId(gpu=target.gpu, profile=place.profile.name, start=place.start))
