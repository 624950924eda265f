"""Who is refused a slice now, function by function: pods that the plan has none for, and pods that are not even made.

Called by `reconfigurer.planner.announcing` in each round, told by `watch` once they have stood for a while. A
ResourceQuota on slices stands before the scheduler: the API server refuses the pod, so that the planner, which plans
pods, sees nobody wait. Knative writes what it said into the Revision, and there it is found. No slice helps before the
quota does, so none is kept or made for it.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from knative_mig.core.cluster.decide import Decision
from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.cluster.waiting import Unplanned, wanted_profile
from knative_mig.core.events import PendingRevision
from knative_mig.core.floor.values import Denied, Revision
from knative_mig.core.inventory import Function
from knative_mig.core.planner.decisions import Because, Reason
from knative_mig.core.profile import ProfileName

CauseOf = Callable[[PodFacts], PendingRevision | None]
AskedBy = Callable[[Function, ProfileName, float], PendingRevision | None]  # as `Causes.asked_by`

RefusalKey = tuple[Function, ProfileName, Because]
_NOT_FOR_LONG: Final = frozenset(
    {Because.MOVE_UNDER_WAY, Because.REPLACES_REVISION}
)  # its slice is being made room for


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    function: Function
    profile: ProfileName
    reason: Reason
    helps: tuple[str, ...]
    pods: int  # that are refused
    told_from: str  # the oldest pod's UID; of pods that are not made, since when: another time is another refusal
    cause: PendingRevision | None

    @property
    def key(self) -> RefusalKey:
        return self.function, self.profile, self.reason.code


def unplanned(decision: Decision, cause_of: CauseOf) -> list[Refusal]:
    """One for all pods of a function that are refused for the same reason."""
    found: dict[RefusalKey, list[Unplanned]] = {}
    for each in decision.refused:
        if each.pod.revision is not None and each.reason.code not in _NOT_FOR_LONG:
            key = (each.pod.function, wanted_profile(each.pod), each.reason.code)
            found.setdefault(key, []).append(each)
    return [_of_pods(refused, cause_of) for refused in found.values()]


def _of_pods(refused: list[Unplanned], cause_of: CauseOf) -> Refusal:
    first = min(refused, key=lambda each: (each.pod.created, each.pod.name))
    return Refusal(
        function=first.pod.function,
        profile=wanted_profile(first.pod),
        reason=first.reason,
        helps=first.helps,
        pods=len(refused),
        told_from=first.pod.uid,
        cause=cause_of(first.pod),
    )


def denied(revisions: Iterable[Revision], pods: Iterable[PodFacts], asked_by: AskedBy) -> list[Refusal]:
    """Of Revisions that want more pods than there are, those to which a quota says no."""
    refused = [(each, each.denied) for each in revisions if each.denied is not None and not each.ending]
    if not refused:
        return []
    names = {revision.name for revision, _ in refused}  # of thousands of pods a few are theirs
    live = Counter(pod.function for pod in pods if pod.revision in names and not pod.over and pod.ends_at is None)
    return [
        _of_quota(revision, said, missing, asked_by)
        for revision, said in refused
        if (missing := _missing(revision, live[revision.function]))
    ]


def _missing(revision: Revision, live: int) -> int:
    """Where its autoscaler does not know yet what it wants, its first pod was refused."""
    wants = revision.desired if revision.desired is not None else live + 1
    return max(0, wants - live)


def _of_quota(revision: Revision, said: Denied, missing: int, asked_by: AskedBy) -> Refusal:
    more = f"a higher quota of {said.profile.resource}" if said.profile.resource in said.why else "a higher quota"
    return Refusal(
        function=revision.function,
        profile=said.profile,
        reason=Reason(Because.QUOTA_EXCEEDED, f"its pods are not made: {said.why}"),
        helps=(more, "another function of the namespace scaling to zero"),
        pods=missing,
        told_from=f"{said.since:.0f}",
        cause=asked_by(revision.function, said.profile, said.since),
    )
