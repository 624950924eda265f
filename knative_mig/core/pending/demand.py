"""How many slices a revision wants beyond those it has, from its PodAutoscaler, its pods and its own status.

    demand = max(desired scale, live pods) - pods that a slice would not help: those on a node, and those held by
             something else

Called by `known`, for one revision at a time. The PodAutoscaler knows first, before there is a pod; each pod that then
appears takes the place of one that was only asked for, so that the number stays. What the PodAutoscaler's condition
`Active` says does not matter: when one replica becomes three it is True all the while.

The subtle thing is `since`. It is the API server's time of the write that brought the demand about, not ours: two
copies of the source that saw the same write tell of it under the same id, and the next cold start of the same revision,
alike in all else, gets another one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from knative_mig.core.inventory import Function
from knative_mig.core.profile import ProfileName


class Stand(StrEnum):
    """A pod's, as to slices."""

    WAITING = "waiting"  # our gate holds it, no node has a slice to give, or nobody has looked at it yet
    HELD = "held"  # it has no node, and a slice would not change that
    BOUND = "bound"  # to a node, and so to a slice
    GONE = "gone"  # over, or being deleted: another takes its place


@dataclass(frozen=True, slots=True)
class Replica:
    """A pod of a revision."""

    function: Function
    stand: Stand
    created: float


@dataclass(frozen=True, slots=True)
class Scale:
    """What a PodAutoscaler says."""

    generation: int
    desired: int  # -1: its autoscaler does not know yet, as after a restart
    told_at: float  # when it was last written that; 0 where the API server does not say


@dataclass(frozen=True, slots=True)
class RevisionFacts:
    uid: str
    profile: ProfileName | None  # None: it wants no slice, or more than one a pod, which nobody plans
    told_at: float = 0.0  # when its resources were last said to be there, or not
    over_quota: str = ""  # why none of its missing pods can be made, where a quota says so
    leaving: bool = False


class Cause(StrEnum):
    NO_SLICE = "NoSlice"
    QUOTA_EXCEEDED = "QuotaExceeded"  # its pods are not even made: no slice helps before the quota does


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    function: Function
    uid: str
    generation: int  # of the PodAutoscaler; 0 while there is none
    profile: ProfileName
    count: int  # 1 or more
    cause: Cause
    why: str  # what the API server said to it, if anything
    since: float

    def is_still(self, other: "Demand") -> bool:
        """The same state: nothing in it is news to who knows the other."""
        mine = (self.uid, self.generation, self.profile, self.count, self.cause)
        return mine == (other.uid, other.generation, other.profile, other.count, other.cause)

    def is_covered_by(self, earlier: "Demand") -> bool:
        """Who was told of the earlier one and acted on it need not hear of this one at once."""
        mine, its = (self.uid, self.profile, self.cause), (earlier.uid, earlier.profile, earlier.cause)
        return mine == its and self.count <= earlier.count


def demand_of(
    function: Function, revision: RevisionFacts | None, scale: Scale | None, replicas: Iterable[Replica]
) -> Demand | None:
    """None: it wants nothing, or it is not known yet what."""
    if revision is None or revision.leaving or revision.profile is None:
        return None
    live = [each for each in replicas if each.stand is not Stand.GONE]
    waiting = [each for each in live if each.stand is Stand.WAITING]
    to_come = max(0, scale.desired - len(live)) if scale else 0
    count = len(waiting) + to_come
    if not count:
        return None
    refused = revision.over_quota if to_come else ""
    told_at = scale.told_at if scale and scale.desired >= 0 else max(each.created for each in waiting)
    return Demand(
        function=function,
        uid=revision.uid,
        generation=scale.generation if scale else 0,
        profile=revision.profile,
        count=count,
        cause=Cause.QUOTA_EXCEEDED if refused else Cause.NO_SLICE,
        why=refused,
        since=max(told_at, revision.told_at),
    )
