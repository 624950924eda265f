"""Which pending events were heard lately: what a pod's slice was asked for by, and whether its coming is waited for.

Kept by the planner's loop, under its lock. Nothing is planned from it; it names a reason, and it says whose pods wake
the planner. The subtle thing is that an event mostly comes before its pod: the autoscaler wants a pod, is heard, and
only then makes it. So for a while after an event the pods of its revision wake the planner, and for no longer: an old
event is no reason for what a resync has found since.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from knative_mig.core.cluster.decide import Decision, Granted
from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.cluster.waiting import is_waiting
from knative_mig.core.events import LONGEST_ID, PendingRevision, shown
from knative_mig.core.inventory import Function
from knative_mig.core.planner.decisions import Because, Reason
from knative_mig.core.profile import ProfileName

BEFORE_POD_S: Final = 15.0  # a pod follows its PodAutoscaler's wish within seconds; later ones are told of again
KEPT_S: Final = 900.0
MOST: Final = 10_000  # revisions


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heard:
    pending: PendingRevision
    at: float


class Causes:
    """By the wall clock: what is heard here is compared with when a pod was made."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._heard: OrderedDict[Function, _Heard] = OrderedDict()

    def __len__(self) -> int:
        return len(self._heard)

    def hear(self, pending: PendingRevision, now: float) -> None:
        function = Function(pending.namespace, pending.revision)
        self._heard[function] = _Heard(pending=pending, at=now)
        self._heard.move_to_end(function)
        while len(self._heard) > self._most or next(iter(self._heard.values())).at < now - KEPT_S:
            self._heard.popitem(last=False)

    def wakes(self, pod: PodFacts, now: float) -> bool:
        """Whether that pod is looked at before the next resync. Nobody sends events for one without a revision."""
        if not is_waiting(pod):
            return False
        heard = self._heard.get(pod.function)
        return pod.revision is None or (heard is not None and now - heard.at <= BEFORE_POD_S)

    def of(self, pod: PodFacts) -> PendingRevision | None:
        """The newest event that this pod's slice was asked for by."""
        found = (self.asked_by(pod.function, profile, pod.created) for profile in pod.wants)
        return next(filter(None, found), None)

    def asked_by(self, function: Function, profile: ProfileName, since: float) -> PendingRevision | None:
        """The newest event for what is wanted since then."""
        heard = self._heard.get(function)
        if heard is None or heard.at < since - BEFORE_POD_S or heard.pending.profile != profile:
            return None
        return heard.pending


def named(decision: Decision, cause_of: Callable[[PodFacts], PendingRevision | None]) -> Decision:
    """The same, each step with the event that asked for it among its reasons."""

    def with_its_own(granted: Granted) -> Granted:
        cause = cause_of(granted.pod)
        if cause is None:
            return granted
        reason = Reason(Because.ASKED_BY_EVENT, f"event {shown(cause.told_by, LONGEST_ID)} asked for it")
        return replace(granted, step=replace(granted.step, reasons=(*granted.step.reasons, reason)))

    return replace(
        decision,
        granted=tuple(map(with_its_own, decision.granted)),
        waiting=tuple(map(with_its_own, decision.waiting)),
    )
