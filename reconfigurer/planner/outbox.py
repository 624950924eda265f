"""Sends outcomes as CloudEvents, in order, on a thread of its own: a sink that is away delays no round.

Filled by the planner's loop, emptied by `run`, a thread of the process. What a sink does not take is tried again, ever
more rarely, until it is too old to be news; what it refuses is left. The subtle thing is that nothing is kept for ever
or beyond a bound: an event is for whoever wants to know at once, and what it tells stands in the cluster's objects.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from knative_mig.core.events import Delivered, Event, shown
from knative_mig.ports.event_sink import EventSink

_log = logging.getLogger(__name__)
_LOOKS_AGAIN_S: Final = 0.5  # whether it is to end
LOST: Final = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxSettings:
    waiting: int = 1_000  # a cluster's worth of cold starts, some hundred bytes each
    retry_s: float = 0.1
    retry_most_s: float = 5.0
    keep_s: float = 300.0  # a Broker that is made anew is there by then


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    event: Event
    since: float


class Outbox:
    def __init__(
        self,
        sink: EventSink,
        *,
        count: Callable[[str], None],
        clock: Callable[[], float],
        settings: OutboxSettings | None = None,
    ) -> None:
        """`count` is told what became of each try, and of each event that was given up: `lost`."""
        self._sink = sink
        self._count = count
        self._clock = clock
        self._settings = settings or OutboxSettings()
        self._some = threading.Condition()
        self._waiting: deque[_Waiting] = deque()
        self._failures = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, event: Event) -> None:
        """At once, from any thread."""
        with self._some:
            if len(self._waiting) < self._settings.waiting:
                self._waiting.append(_Waiting(event=event, since=self._clock()))
                self._some.notify()
                return
        self._lose(event, "too many wait")

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            with self._some:
                if not self._waiting:
                    self._some.wait(_LOOKS_AGAIN_S)  # `stop` does not wake it
            if pause_s := self.send_next():
                stop.wait(pause_s)

    def send_next(self) -> float:
        """Sends the one that waits longest, if any; how long to pause then."""
        with self._some:
            if not self._waiting:
                return 0.0
            waiting = self._waiting[0]
        delivery = self._sink.send(waiting.event)
        self._count(str(delivery.outcome))
        if delivery.outcome is Delivered.FAILED:
            if not self._failures:
                _log.warning("Outcomes are not taken and are sent again: %s", delivery.reason)
            self._failures += 1
            if self._clock() - waiting.since <= self._settings.keep_s:
                pause_s = self._settings.retry_s * 2.0 ** min(self._failures - 1, 16)
                return max(min(pause_s, self._settings.retry_most_s), delivery.retry_after_s)
            self._lose(waiting.event, delivery.reason)
        elif delivery.outcome is Delivered.REFUSED:
            _log.warning("%s is refused and not sent again: %s", shown(waiting.event.id), delivery.reason)
        if delivery.outcome is not Delivered.FAILED and self._failures:
            self._failures = 0
            _log.info("Outcomes are taken again")
        with self._some:
            self._waiting.popleft()
        return 0.0

    def _lose(self, event: Event, why: str) -> None:
        self._count(LOST)
        _log.warning("%s is given up: %s", shown(event.id), why)
