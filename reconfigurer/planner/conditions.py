"""Decides which pods are to say in their status why they have no slice, or that they were given it: only what is new.

Called by `telling` in each of the leader's rounds; what is due is put down for `condition_writer`. A pod's own status,
as its mirror shows it, is what a new leader goes by: what stands there rightly is not written again. Which wording of
the same reason is news, and how often, is for `core.outcomes.wording` to say. The subtle thing is what comes back. A
pod whose condition changes has changed, and would have the loop woken by its own word; so the change that shows just
what was written is told apart, once.
"""

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from knative_mig.core.cluster.decide import Granted
from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.cluster.slice_condition import GIVEN, condition, says
from knative_mig.core.gpu_node import Condition
from knative_mig.core.outcomes.wording import CONDITION, Wording


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What a pod is to say: that it gets no slice now, in the words of the Event on it, or that it was given one."""

    pod: PodFacts
    reason: str
    wording: Wording


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    condition: Condition
    gist: str
    at: float


class Conditions:
    def __init__(self, put: Callable[[PodFacts, Condition], None], again_s: float) -> None:
        """`put`: at once, from any thread. What is not shown, or has other figures, is put again after `again_s`."""
        self._put = put
        self._again_s = again_s
        self._said: dict[str, _Said] = {}
        self._lock = threading.Lock()
        self._expected: dict[str, Condition] = {}  # by UID, not yet seen; the mirror's thread takes them
        self._snapshot: Mapping[Any, PodFacts] = {}
        self._waited: tuple[PodFacts, ...] = ()

    def begin(self) -> None:
        """Called when this replica begins to lead, and when it leads no more: what others write meanwhile counts."""
        self._said = {}
        with self._lock:
            self._expected = {}

    def say(
        self,
        waiting: Iterable[Word],
        granted: Collection[Granted],
        pods: Mapping[Any, PodFacts],
        now: float,
        *,
        let_go: Collection[str],
    ) -> None:
        """`granted`: who is not in `let_go`, by its UID, waits until its slice is made. `pods`: all of them; one that
        runs, and says that it waits, was served while nobody looked.
        """
        words = {each.pod.uid: each for each in waiting}
        wait = len(words)
        for grant in granted:
            if grant.pod.uid in let_go and (grant.pod.uid in self._said or _says_that_it_waits(grant.pod)):
                words[grant.pod.uid] = _given(grant.pod, where_and_why(grant))
        waited = self._that_say_that_they_wait(pods)
        for pod in waited:
            if pod.node is not None and not pod.over and pod.ends_at is None:
                words.setdefault(pod.uid, _given(pod, f"it was given one on {pod.node}"))
        kept = words.keys() | {pod.uid for pod in waited} | {each.pod.uid for each in granted}
        self._said = {uid: said for uid, said in self._said.items() if uid in kept}
        with self._lock:
            self._expected = {uid: each for uid, each in self._expected.items() if uid in self._said}
        for word in words.values():
            self._say(word, now, wait)

    def is_echo(self, pod: PodFacts) -> bool:
        """Whether that pod, which has changed, shows what was written here and nothing else that is new. From any
        thread.
        """
        with self._lock:
            expected = self._expected.get(pod.uid)
            if expected is None or not says(pod.told, expected):
                return False
            del self._expected[pod.uid]
            return True

    def _that_say_that_they_wait(self, pods: Mapping[Any, PodFacts]) -> tuple[PodFacts, ...]:
        if pods is not self._snapshot:
            self._snapshot = pods
            self._waited = tuple(pod for pod in pods.values() if _says_that_it_waits(pod))
        return self._waited

    def _say(self, word: Word, now: float, waiting: int) -> None:
        pod, gist = word.pod, word.wording.gist
        said = self._said.get(pod.uid)
        new = condition(said.condition if said else pod.told, word.reason, word.wording.message, now)
        if said is None and _is_as_good(pod.told, new):
            # Its wording is as old as may be; it is looked at again in its time.
            if pod.told is not None:
                known = gist if says(pod.told, new) else ""
                self._said[pod.uid] = _Said(condition=pod.told, gist=known, at=now)
            return
        if said is not None and _is_as_good(said.condition, new):
            stands = _is_as_good(pod.told, new) if new.status else says(pod.told, new)
            news = not new.status and said.gist != gist
            if stands or not CONDITION.is_due(now - said.at, news=news, waiting=waiting, again_s=self._again_s):
                return
        self._said[pod.uid] = _Said(condition=new, gist=gist, at=now)
        with self._lock:
            self._expected[pod.uid] = new
        self._put(pod, new)


def _given(pod: PodFacts, message: str) -> Word:
    return Word(pod=pod, reason=GIVEN, wording=Wording(message, gist=""))


def _says_that_it_waits(pod: PodFacts) -> bool:
    return pod.told is not None and pod.told.status is False


def _is_as_good(there: Condition | None, new: Condition) -> bool:
    """Whatever the wording. Who has not said that it waits need not say that it does so no more."""
    if there is None:
        return bool(new.status)
    return (there.status, there.reason) == (new.status, new.reason)


def where_and_why(granted: Granted) -> str:
    step = granted.step
    reasons = "; ".join(reason.text for reason in step.reasons)
    return f"{granted.key} of {step.target.gpu} on {step.target.node}, {step.how}: {reasons or 'no reason is named'}"
