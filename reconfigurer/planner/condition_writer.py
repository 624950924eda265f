"""Writes pods' conditions on a thread of its own: an API server that is slow, or says no, delays no round.

Filled by `conditions`, emptied by `run`, a thread of the process. For each pod only the newest waits, in the place of
the one before it, so that a reason that comes and goes within a moment is never written. What the API server does not
take is tried a few times more and then left: a later round finds it missing and puts it here again. Who leads no more
writes nothing.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.gpu_node import Condition
from knative_mig.ports.kube import (
    ApiUnreachable,
    ClusterError,
    Conflict,
    Key,
    ObjectNotFound,
    PodConditions,
    TooManyRequests,
)

_log = logging.getLogger(__name__)
PAUSE_S: Final = 0.05  # between two writes: they must not press the API server when a thousand pods begin to wait
RETRY_S: Final = 0.5  # doubled with each failure in a row
MOST_TRIES: Final = 4
_LOOKS_AGAIN_S: Final = 0.5  # whether it is to end
WRITTEN: Final = "written"
_PASSES: Final = (ApiUnreachable, Conflict, TooManyRequests)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    key: Key
    condition: Condition
    tries: int = 0


class ConditionWriter:
    def __init__(
        self, pods: PodConditions, *, leads: Callable[[], bool], count: Callable[[str], None], pause_s: float = PAUSE_S
    ) -> None:
        """`count` is told what became of each try: `written`, or why not."""
        self._pods = pods
        self._leads = leads
        self._count = count
        self._pause_s = pause_s
        self._some = threading.Condition()
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()  # by the pod's UID
        self._failures = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, pod: PodFacts, condition: Condition) -> None:
        """At once, from any thread."""
        with self._some:
            self._waiting[pod.uid] = _Waiting(key=Key(pod.namespace, pod.name), condition=condition)
            self._some.notify()

    def run(self, stop: threading.Event) -> None:
        """Until `stop`. What waits then is the next leader's to find missing."""
        while not stop.is_set():
            with self._some:
                if not self._waiting:
                    self._some.wait(_LOOKS_AGAIN_S)  # `stop` does not wake it
            if pause_s := self.write_next():
                stop.wait(pause_s)

    def write_next(self) -> float:
        """Writes the one that waits longest, if any; how long to pause then."""
        with self._some:
            if not self._leads():
                self._waiting.clear()
            if not self._waiting:
                return 0.0
            uid, waiting = self._waiting.popitem(last=False)
        try:
            self._pods.write_condition(waiting.key, uid=uid, condition=waiting.condition)
        except ObjectNotFound:
            pass  # nobody is left to say it
        except ClusterError as error:
            self._count(error.reason)
            return self._failed(uid, waiting, error)
        else:
            self._count(WRITTEN)
        self._failures = 0
        return self._pause_s

    def _failed(self, uid: str, waiting: _Waiting, error: ClusterError) -> float:
        if not self._failures:
            pod = f"{waiting.key.namespace}/{waiting.key.name}"
            _log.warning("The condition %s of pod %s is not written: %s", waiting.condition.reason, pod, error)
        self._failures += 1
        if isinstance(error, _PASSES) and waiting.tries + 1 < MOST_TRIES:
            with self._some:
                self._waiting.setdefault(uid, replace(waiting, tries=waiting.tries + 1))  # a newer one stays
        asked_s = error.retry_after_s if isinstance(error, TooManyRequests) else None
        return max(RETRY_S * 2.0 ** min(self._failures - 1, MOST_TRIES), asked_s or 0.0)
