"""From what the mirrors show to what one move has to know. Called by the planner's leader each round, for each move."""

from collections.abc import Collection, Iterable, Mapping

from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.gpu_node import GpuNode, SliceState
from knative_mig.core.inventory import Function
from knative_mig.core.mover.seen import Seen
from knative_mig.core.mover.values import Move, Sight, SliceSight, Spot, Waits


def sights(
    moves: Iterable[Move],
    seen: Seen,
    asked: Mapping[Function, float],
    room_for: frozenset[Function],
    handed_over: Collection[str] = (),
) -> dict[str, Sight]:
    """By the beneficiary's UID. `asked`: what the floor is asked for in our name; `room_for`: functions for which
    another slice would be found; `handed_over`: pods whose relays have been asked for it, by UID.
    """
    return {
        move.beneficiary.uid: Sight(
            pods=_by_uid(seen, move.leg.function),
            successors=_by_uid(seen, move.function) if move.recreates else {},
            revision=seen.revisions.get(move.leg.function),
            successor=seen.revisions.get(move.function) if move.recreates else None,
            target=_at(move.leg.target, seen.gpu_nodes.get(move.leg.target.node)),
            beneficiary=_waits(_by_uid(seen, move.function).get(move.beneficiary.uid)),
            asked=move.leg.function in asked,
            has_room=move.leg.function in room_for,
            released=_is_released(move.leg.source, seen.gpu_nodes.get(move.leg.source.node)),
            handed_over=move.leg.old.uid in handed_over,
        )
        for move in moves
    }


def _by_uid(seen: Seen, function: Function) -> dict[str, PodFacts]:
    return {pod.uid: pod for pod in seen.pods.of(function)}


def _waits(pod: PodFacts | None) -> Waits:
    if pod is None or pod.ends_at is not None or pod.over:
        return Waits.GONE
    return Waits.YES if pod.node is None else Waits.SERVED


def _is_released(spot: Spot, node: GpuNode | None) -> bool:
    gpus = node.status.gpus if node and node.status else ()
    slices = (each for gpu in gpus if gpu.uuid == spot.slice.gpu for each in gpu.slices)
    return any(each.key == spot.slice.key and each.state is SliceState.RELEASED for each in slices)


def _at(spot: Spot, node: GpuNode | None) -> SliceSight:
    if node is None or node.status is None:
        return SliceSight.ABSENT
    for gpu in node.status.gpus:
        for each in gpu.slices if gpu.uuid == spot.slice.gpu else ():
            if each.key == spot.slice.key and each.state in (SliceState.BUSY, SliceState.BROKEN):
                return SliceSight.TAKEN
            if each.key == spot.slice.key and each.state is SliceState.IDLE:
                return SliceSight.IDLE
    wanted = node.spec.wanted(spot.slice.gpu)
    if wanted and any(each.key == spot.slice.key for each in wanted.slices):
        return SliceSight.COMING
    return SliceSight.ABSENT
