"""Tells pods why they have no slice, counts and logs what was decided: once, however many rounds say the same.

Called by the loop after each decision. A Kubernetes Event on the pod carries the reason and what would help; it comes
again when the reason is another, when it says something else by now, or when a long time has passed and the pod still
waits. Events expire: for as long as the pod waits, a condition in its status says the same. The subtle thing is a spec
that was written for somebody else: until the agent has answered it, its node has nothing for those who wait. Whoever
was told something before is not told of that.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from knative_mig.core.cluster.decide import Decision
from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.outcomes.wording import EVENT, worded
from knative_mig.ports.kube import EventRecorder, EventType, Subject
from reconfigurer.planner.conditions import Conditions, Word, where_and_why
from reconfigurer.planner.metrics import PlannerMetrics

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    reason: str
    gist: str
    at: float


class Teller:
    def __init__(self, events: EventRecorder, conditions: Conditions, metrics: PlannerMetrics, again_s: float) -> None:
        self._events = events
        self._conditions = conditions
        self._metrics = metrics
        self._again_s = again_s
        self._told: dict[str, _Told] = {}
        self._counted: dict[str, str] = {}

    def begin(self) -> None:
        """Called when this replica begins to lead, and when it leads no more."""
        self._conditions.begin()

    def is_echo(self, pod: PodFacts) -> bool:
        """Whether that pod has changed by what it was told here, and by nothing else. From any thread."""
        return self._conditions.is_echo(pod)

    def tell(
        self,
        decision: Decision,
        pods: Mapping[Any, PodFacts],
        now: float,
        *,
        let_go: Collection[str] = (),
        awaits_an_agent: Callable[[PodFacts], bool] = lambda _: False,
    ) -> None:
        """`let_go`: UIDs of pods whose gate was lifted and which are not seen without it yet."""
        waiting = {pod.uid for pod in decision.without_slice} | {each.pod.uid for each in decision.granted}
        self._told = {uid: told for uid, told in self._told.items() if uid in waiting}
        self._counted = {uid: what for uid, what in self._counted.items() if uid in waiting}
        words: list[Word] = []
        kinds: list[EventType] = []
        for refused in decision.refused:
            code = str(refused.reason.code)
            told = self._told.get(refused.pod.uid)
            if told and told.reason != code and awaits_an_agent(refused.pod):
                continue
            if self._is_new(refused.pod, f"refused {code}"):
                self._metrics.rejections.labels(code).inc()
            words.append(Word(pod=refused.pod, reason=code, wording=worded(refused.reason, refused.helps)))
            kinds.append(EventType.WARNING)
        for waits in decision.waiting:
            how = str(waits.step.how)
            if self._is_new(waits.pod, how):
                self._metrics.steps.labels(how).inc()
            for reason in waits.step.reasons[:1]:
                words.append(Word(pod=waits.pod, reason=str(reason.code), wording=worded(reason)))
                kinds.append(EventType.NORMAL)
        for granted in decision.granted:
            # What was made for a pod is there to be reused a moment later: that is the same grant.
            if granted.pod.uid not in self._counted or not self._counted[granted.pod.uid].startswith("granted"):
                self._counted[granted.pod.uid] = "granted"
                self._metrics.steps.labels(str(granted.step.how)).inc()
                _log.info("%s/%s is given %s", granted.pod.namespace, granted.pod.name, where_and_why(granted))
        for word, kind in zip(words, kinds, strict=True):
            self._say(word, kind, now, len(words))
        self._conditions.say(words, decision.granted, pods, now, let_go=let_go)

    def _is_new(self, pod: PodFacts, what: str) -> bool:
        if self._counted.get(pod.uid) == what:
            return False
        self._counted[pod.uid] = what
        return True

    def _say(self, word: Word, kind: EventType, now: float, waiting: int) -> None:
        told, wording = self._told.get(word.pod.uid), word.wording
        if told and told.reason == word.reason:
            news = told.gist != wording.gist
            if not EVENT.is_due(now - told.at, news=news, waiting=waiting, again_s=self._again_s):
                return
        self._told[word.pod.uid] = _Told(reason=word.reason, gist=wording.gist, at=now)
        self._events.record(subject_of(word.pod), kind, word.reason, wording.message)


def subject_of(pod: PodFacts) -> Subject:
    return Subject(api_version="v1", kind="Pod", namespace=pod.namespace, name=pod.name, uid=pod.uid)


def reasons_of(codes: Iterable[str]) -> dict[str, int]:
    counted: dict[str, int] = {}
    for code in codes:
        counted[code] = counted.get(code, 0) + 1
    return counted
