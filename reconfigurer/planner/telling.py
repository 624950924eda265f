"""Tells pods why they have no slice, counts and logs what was decided: once, however many rounds say the same.

Called by the loop after each decision. A Kubernetes Event on the pod carries the reason and what would help; it comes
again when the reason is another, or when a long time has passed and the pod still waits.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from knative_mig.core.cluster.decide import Decision, Granted
from knative_mig.core.cluster.objects import PodFacts
from knative_mig.ports.kube import EventRecorder, EventType, Subject
from reconfigurer.planner.metrics import PlannerMetrics

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    reason: str
    at: float


class Teller:
    def __init__(self, events: EventRecorder, metrics: PlannerMetrics, again_s: float) -> None:
        self._events = events
        self._metrics = metrics
        self._again_s = again_s
        self._told: dict[str, _Told] = {}
        self._counted: dict[str, str] = {}

    def tell(self, decision: Decision, now: float) -> None:
        waiting = {pod.uid for pod in decision.without_slice} | {each.pod.uid for each in decision.granted}
        self._told = {uid: told for uid, told in self._told.items() if uid in waiting}
        self._counted = {uid: what for uid, what in self._counted.items() if uid in waiting}
        for refused in decision.refused:
            code = str(refused.reason.code)
            if self._is_new(refused.pod, f"refused {code}"):
                self._metrics.rejections.labels(code).inc()
            helps = f"; what would help: {', or '.join(refused.helps)}" if refused.helps else ""
            self._say(refused.pod, EventType.WARNING, code, f"{refused.reason.text}{helps}", now)
        for waits in decision.waiting:
            how = str(waits.step.how)
            if self._is_new(waits.pod, how):
                self._metrics.steps.labels(how).inc()
            for reason in waits.step.reasons[:1]:
                self._say(waits.pod, EventType.NORMAL, str(reason.code), reason.text, now)
        for granted in decision.granted:
            # What was made for a pod is there to be reused a moment later: that is the same grant.
            if granted.pod.uid not in self._counted or not self._counted[granted.pod.uid].startswith("granted"):
                self._counted[granted.pod.uid] = "granted"
                self._metrics.steps.labels(str(granted.step.how)).inc()
                _log.info("%s", _said(granted))

    def _is_new(self, pod: PodFacts, what: str) -> bool:
        if self._counted.get(pod.uid) == what:
            return False
        self._counted[pod.uid] = what
        return True

    def _say(self, pod: PodFacts, kind: EventType, reason: str, message: str, now: float) -> None:
        told = self._told.get(pod.uid)
        if told and told.reason == reason and now - told.at < self._again_s:
            return
        self._told[pod.uid] = _Told(reason=reason, at=now)
        self._events.record(subject_of(pod), kind, reason, message)


def subject_of(pod: PodFacts) -> Subject:
    return Subject(api_version="v1", kind="Pod", namespace=pod.namespace, name=pod.name, uid=pod.uid)


def _said(granted: Granted) -> str:
    step = granted.step
    reasons = "; ".join(reason.text for reason in step.reasons)
    where = f"{granted.key} of {step.target.gpu} on {step.target.node}"
    return f"{granted.pod.namespace}/{granted.pod.name} is given {where}, {step.how}: {reasons or 'no reason is named'}"


def reasons_of(codes: Iterable[str]) -> dict[str, int]:
    counted: dict[str, int] = {}
    for code in codes:
        counted[code] = counted.get(code, 0) + 1
    return counted
