"""Writes Events about objects: the port `ports.kube.EventRecorder`.

Called from any thread of planner and agent; `run` writes on a thread of its own. What is recorded again while it waits,
or while its Event is remembered, is the same Event with a higher count: a fault that comes every second is one line of
`kubectl describe`. Events are for people to look at: where they cannot be written they are counted as lost, no more.
"""

import logging
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.fields import time_text
from knative_mig.adapters.kube.kinds import EVENT
from knative_mig.ports.kube import ClusterError, EventType, Key, ObjectNotFound, Subject

MOST_WAITING: Final = 500  # different ones
MOST_REMEMBERED: Final = 500
PAUSE_S: Final = 0.1  # between two writes: Events must not press the API server when it is pressed
_MESSAGE: Final = 1024  # characters, the API's limit
_REASON: Final = 128

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _What:
    subject: Subject
    type: EventType
    reason: str
    message: str


@dataclass(slots=True)
class _Written:
    key: Key
    count: int


class KubeEvents:
    def __init__(
        self,
        client: KubeClient,
        *,
        component: str,
        instance: str = "",
        pause_s: float = PAUSE_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.lost = 0
        self._client = client
        self._component = component
        self._instance = instance
        self._pause_s = pause_s
        self._clock = clock
        self._some = threading.Condition()
        self._waiting: OrderedDict[_What, tuple[int, float]] = OrderedDict()  # how often, and when last
        self._written: OrderedDict[_What, _Written] = OrderedDict()

    def record(self, subject: Subject, kind: EventType, reason: str, message: str) -> None:
        what = _What(subject, kind, reason[:_REASON], message[:_MESSAGE])
        with self._some:
            if what not in self._waiting and len(self._waiting) >= MOST_WAITING:
                self.lost += 1
                return
            count, _ = self._waiting.get(what, (0, 0.0))
            self._waiting[what] = (count + 1, self._clock())
            self._some.notify()

    def run(self, stop: threading.Event) -> None:
        """Until `stop`; what waits then is written if the API server takes it at the first try."""
        while not stop.is_set():
            with self._some:
                if not self._waiting:
                    self._some.wait(0.5)  # `stop` does not wake it
            if self.write_next():
                stop.wait(self._pause_s)
        while self.write_next(last=True):
            pass

    def write_next(self, *, last: bool = False) -> bool:
        """Writes the one that waits longest. False where none does, or where the `last` could not be written."""
        with self._some:
            if not self._waiting:
                return False
            what, (count, when) = self._waiting.popitem(last=False)
        try:
            self._write(what, count, when)
        except ClusterError as error:
            with self._some:
                self.lost += count
            log.warning("An Event about %s %s is lost: %s.", what.subject.kind, what.subject.name, error)
            return not last
        return True

    def _write(self, what: _What, count: int, when: float) -> None:
        known = self._written.get(what)
        if known is not None:
            try:
                self._client.merge(
                    EVENT, known.key, {"count": known.count + count, "lastTimestamp": time_text(int(when))}
                )
            except ObjectNotFound:
                del self._written[what]  # the API server keeps Events for an hour
            else:
                known.count += count
                self._written.move_to_end(what)
                return
        namespace = what.subject.namespace or "default"  # where the API has Events about what has no namespace
        name = f"{what.subject.name[:200]}.{uuid.uuid4().hex[:16]}"
        self._client.create(EVENT, namespace, self._body(what, Key(namespace, name), count, when))
        self._written[what] = _Written(Key(namespace, name), count)
        while len(self._written) > MOST_REMEMBERED:
            self._written.popitem(last=False)

    def _body(self, what: _What, key: Key, count: int, when: float) -> dict[str, Any]:
        subject, second = what.subject, time_text(int(when))
        about = {
            "apiVersion": subject.api_version,
            "kind": subject.kind,
            "namespace": subject.namespace,
            "name": subject.name,
            "uid": subject.uid,
        }
        return {
            "apiVersion": EVENT.group,
            "kind": EVENT.kind,
            "metadata": {"namespace": key.namespace, "name": key.name},
            "involvedObject": {name: value for name, value in about.items() if value},
            "type": what.type.value,
            "reason": what.reason,
            "message": what.message,
            "count": count,
            "firstTimestamp": second,
            "lastTimestamp": second,
            "source": {"component": self._component, "host": self._instance},
            "reportingComponent": self._component,
            "reportingInstance": self._instance,
        }
