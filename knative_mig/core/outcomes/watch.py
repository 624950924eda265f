"""Decides which outcomes are due: who holds a slice now, who holds it no more, and who is refused one.

Called by `reconfigurer.planner.announcing` in each of the leader's rounds. A slice is provisioned when its node's
status, which is what the agent read from kubelet and NVML, names the pod that holds it; that it was planned, made or
allowed is not enough. It is released when the same GPU is read again and names that pod no more, or says that its
engine has given the slice back. Of a GPU that could not be read, and of a slice in use of which nobody says by whom,
nothing is claimed.

Each is told once. What stands when a leader looks at a node for the first time was the former one's to tell: it is
known and not told, and only what it leads to later is. A refusal is told when it has stood for a while, since many a
one is over as soon as an agent has answered. Refusals are nowhere but in the leader's decision, so that a new one tells
of those that last again, under the ids that they had.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from knative_mig.core.cluster.decide import Decision, Granted
from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.events import MIGRATED, PROVISIONED, RELEASED, UNSATISFIABLE, PendingRevision
from knative_mig.core.gpu_node import GpuHealth, GpuNode, SliceId, SliceKey, SliceState, SliceStatus
from knative_mig.core.inventory import Function, GpuUuid, NodeName
from knative_mig.core.mover.values import Move, Spot
from knative_mig.core.outcomes.nameless import Nameless, Sign
from knative_mig.core.outcomes.outcome import Outcome
from knative_mig.core.outcomes.refusals import CauseOf, Refusal, RefusalKey, unplanned
from knative_mig.core.outcomes.wording import worded

MOST: Final = 10_000  # grants whose pods have not started, and ids of refusals that were told
STANDS_S: Final = 5.0  # an agent makes a slice in less: until then nothing more is asked of its node
_READ: Final = frozenset({GpuHealth.HEALTHY, GpuHealth.MODE_PENDING})

PodOf = Callable[[str, str], PodFacts | None]  # by namespace and name
UidOf = Callable[[Function], str]  # a Revision's, empty while it is not known


@dataclass(frozen=True, slots=True)
class _Whose:
    function: Function
    revision_uid: str
    pod_uid: str


@dataclass(slots=True, kw_only=True)
class _Hold:
    spot: Spot
    namespace: str
    pod: str
    is_news: bool  # and to be told
    whose: _Whose | None = None
    cause: PendingRevision | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grant:
    slice: SliceId
    how: str
    reasons: tuple[str, ...]
    cause: PendingRevision | None


# A slice, and the pod that holds it by namespace and name.
_HoldKey = tuple[SliceId, str, str]


class Watch:
    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self.begin()

    def begin(self) -> None:
        """Another leader's time ends, and nothing is known of what it has told."""
        self._nodes: dict[NodeName, GpuNode] = {}
        self._holds: dict[NodeName, dict[_HoldKey, _Hold]] = {}
        self._nameless = Nameless()  # holds whose pod or Revision is not known yet
        self._grants: OrderedDict[str, _Grant] = OrderedDict()  # by the pod's UID
        self._standing: dict[RefusalKey, float] = {}  # since when
        self._said: set[RefusalKey] = set()
        self._refused: OrderedDict[str, None] = OrderedDict()  # ids

    # -- slices -------------------------------------------------------------------------------------------------------

    @property
    def awaits_names(self) -> bool:
        """Whether it matters which pods and Revisions come."""
        return bool(self._nameless)

    def see(
        self, nodes: Mapping[NodeName, GpuNode], come: Iterable[Sign], pod_of: PodOf, uid_of: UidOf
    ) -> list[Outcome]:
        """Nodes that did not change are the same objects as before, and are passed over. `come`: the pods and Revisions
        that are new or another object since this was last called.
        """
        for name in self._nodes.keys() - nodes.keys():
            del self._nodes[name], self._holds[name]
            self._nameless.put(name)
        left: list[_Hold] = []
        touched = self._nameless.nodes_of(come)
        for name, node in nodes.items():
            if node.status is not None and self._nodes.get(name) is not node:
                left += self._look(node)
                touched.add(name)
        released = [outcome for hold in left for outcome in self._released(hold, pod_of, uid_of)]
        provisioned = [outcome for name in sorted(touched) for outcome in self._provisioned(name, pod_of, uid_of)]
        return [*released, *provisioned]

    def _look(self, node: GpuNode) -> list[_Hold]:
        """Takes up who holds what; the answer is who does no more."""
        first = node.name not in self._nodes
        self._nodes[node.name] = node
        known = self._holds.setdefault(node.name, {})
        read: dict[GpuUuid, dict[SliceKey, SliceStatus]] = {}
        for gpu in node.status.gpus if node.status else ():
            if gpu.health in _READ:
                read[gpu.uuid] = {each.key: each for each in gpu.slices}
        left = []
        for key, hold in [*known.items()]:
            slices = read.get(hold.spot.slice.gpu)
            if slices is not None and not _still_holds(hold, slices.get(hold.spot.slice.key)):
                left.append(known.pop(key))
        for uuid, slices in read.items():
            for each in slices.values():
                for holder in each.holders if each.state is SliceState.BUSY else ():
                    place = SliceId(gpu=uuid, profile=each.key.profile, start=each.key.start)
                    key = (place, holder.namespace, holder.pod)
                    if key not in known:
                        spot = Spot(node=node.name, slice=place)
                        known[key] = _Hold(spot=spot, namespace=holder.namespace, pod=holder.pod, is_news=not first)
        return left

    def _provisioned(self, name: NodeName, pod_of: PodOf, uid_of: UidOf) -> Iterator[Outcome]:
        awaited: set[Sign] = set()
        for hold in self._holds[name].values():
            if hold.whose is None:
                awaited |= self._name(hold, pod_of, uid_of)
            if hold.whose is None or not hold.is_news:
                continue
            hold.is_news = False
            grant = self._grants.pop(hold.whose.pod_uid, None)
            planned = grant is not None and grant.slice == hold.spot.slice
            hold.cause = _of_revision(grant.cause if grant else None, hold.whose.revision_uid)
            why = f": {'; '.join(grant.reasons)}" if grant and planned and grant.reasons else ""
            yield self._of(
                hold,
                hold.whose,
                PROVISIONED,
                "SliceProvisioned",
                f"pod {hold.pod} has {hold.spot}{why}",
                {"how": grant.how, "reasons": [*grant.reasons]} if grant and planned else {},
            )
        self._nameless.put(name, awaited)

    def _released(self, hold: _Hold, pod_of: PodOf, uid_of: UidOf) -> Iterator[Outcome]:
        if hold.whose is None:
            self._name(hold, pod_of, uid_of)
        if hold.whose is not None and not hold.is_news:
            yield self._of(hold, hold.whose, RELEASED, "SliceReleased", f"pod {hold.pod} has left {hold.spot}", {})

    def _name(self, hold: _Hold, pod_of: PodOf, uid_of: UidOf) -> set[Sign]:
        """Finds out whose it is; the answer is by whose coming that may still come to be known."""
        pod = pod_of(hold.namespace, hold.pod)
        if pod is None or pod.node not in (None, hold.spot.node):
            return {(hold.namespace, hold.pod)}
        if pod.revision is None:
            return set()
        uid = uid_of(pod.function)
        if not uid:
            return {(hold.namespace, hold.pod), pod.function}
        hold.whose = _Whose(pod.function, uid, pod.uid)
        return set()

    @staticmethod
    def _of(  # noqa: PLR0917 - what an outcome is made of
        hold: _Hold, whose: _Whose, type_: str, reason: str, text: str, data: Mapping[str, object]
    ) -> Outcome:
        word = type_.split(".")[-2]
        return Outcome(
            type=type_,
            id=f"{whose.revision_uid}/{whose.pod_uid}/{hold.spot.slice}/{word}",
            function=whose.function,
            revision_uid=whose.revision_uid,
            profile=hold.spot.slice.profile,
            reason=reason,
            text=text,
            spot=hold.spot,
            cause=hold.cause,
            data={"pod": hold.pod, **data},
        )

    # -- decisions ----------------------------------------------------------------------------------------------------

    def take(
        self, decision: Decision, uid_of: UidOf, cause_of: CauseOf, now: float, denied: Iterable[Refusal] = ()
    ) -> list[Outcome]:
        """Keeps why each pod is given its slice, and tells of those who are given none. `denied`: beside those of the
        decision. `now`: by any clock.
        """
        for granted in decision.granted:
            self._keep(granted, cause_of)
        refused = {each.key: each for each in (*denied, *unplanned(decision, cause_of))}
        self._standing = {key: self._standing.get(key, now) for key in refused}
        self._said &= refused.keys()
        found: list[Outcome] = []
        for key, since in self._standing.items():
            if key not in self._said and now - since >= STANDS_S and (uid := uid_of(key[0])):
                self._said.add(key)
                found += self._unsatisfiable(refused[key], uid)
        return sorted(found, key=lambda each: each.id)

    def due_in_s(self, now: float) -> float | None:
        """Until the next refusal will have stood long enough; None: there is none."""
        due = (since + STANDS_S - now for key, since in self._standing.items() if key not in self._said)
        return min((each for each in due if each > 0), default=None)

    def _keep(self, granted: Granted, cause_of: CauseOf) -> None:
        pod = granted.pod
        place = SliceId(gpu=granted.step.target.gpu, profile=granted.key.profile, start=granted.key.start)
        known = self._grants.get(pod.uid)
        if pod.revision is None or (known is not None and known.slice == place):
            return  # what was made for it is there to be reused a moment later: that is the same grant
        self._grants[pod.uid] = _Grant(
            slice=place,
            how=str(granted.step.how),
            reasons=tuple(reason.text for reason in granted.step.reasons),
            cause=cause_of(pod),
        )
        if len(self._grants) > self._most:
            self._grants.popitem(last=False)

    def _unsatisfiable(self, refused: Refusal, uid: str) -> Iterator[Outcome]:
        code = str(refused.reason.code)
        id_ = f"{uid}/{refused.told_from}/{refused.profile}/{code}/unsatisfiable"
        if id_ in self._refused:  # it was given hope in between
            return
        self._refused[id_] = None
        if len(self._refused) > self._most:
            self._refused.popitem(last=False)
        yield Outcome(
            type=UNSATISFIABLE,
            id=id_,
            function=refused.function,
            revision_uid=uid,
            profile=refused.profile,
            reason=code,
            text=worded(refused.reason, refused.helps).message,
            cause=_of_revision(refused.cause, uid),
            data={"reason": code, "helps": [*refused.helps], "pods": refused.pods},
        )

    def migrated(self, move: Move) -> list[Outcome]:
        """Of a move that has cleared its place: those of its functions that are seen to hold the slice they moved to.
        One may have cleared it by going for good.
        """
        return [
            Outcome(
                type=MIGRATED,
                id=f"{leg.revision_uid}/{leg.old.uid}/{leg.target.slice}/migrated",
                function=leg.function,
                revision_uid=leg.revision_uid,
                profile=leg.target.slice.profile,
                reason="Moved",
                text=f"moved from {leg.source} to {leg.target}, to make room for {move.function}",
                spot=leg.target,
                data={
                    "pod": hold.pod,
                    "oldPod": leg.old.name,
                    "from": {"node": str(leg.source.node), "slice": str(leg.source.slice)},
                    "madeRoomFor": str(move.function),
                },
            )
            for leg in move.legs[: move.at + 1]
            for hold in self._holds.get(leg.target.node, {}).values()
            if hold.spot == leg.target and hold.whose is not None and hold.whose.function == leg.function
        ]


def _still_holds(hold: _Hold, now: SliceStatus | None) -> bool:
    if now is None or now.state is SliceState.RELEASED:
        return False
    if any((each.namespace, each.pod) == (hold.namespace, hold.pod) for each in now.holders):
        return True
    return now.state is SliceState.BUSY and not now.holders


def _of_revision(cause: PendingRevision | None, uid: str) -> PendingRevision | None:
    """An event may have told of a Revision of the same name that was deleted since, or be from anybody."""
    return cause if cause is not None and cause.revision_uid == uid else None
