"""Joins the mirrors to the sink: judges a revision as soon as something of it changes, and has what is due sent.

Made by `process`. The mirrors' threads come in by `on_change`, each for some microseconds; `run_sender` is the life of
a sender's thread, and nothing waits for one. One lock is held over all that is known and due, and never while sending.

The subtle thing is the start: judged from PodAutoscalers alone, a function whose pods all run would seem to want as
many slices as it has. So nothing is judged before all three mirrors have been listed once.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from activator_hooks.source.metrics import SourceMetrics
from knative_mig.adapters.kube.fields import time_text
from knative_mig.core.events import LONGEST_ID, Delivered, Delivery, shown
from knative_mig.core.inventory import Function
from knative_mig.core.pending.asks import Ask, Asks, Rhythm
from knative_mig.core.pending.demand import Replica, RevisionFacts, Scale
from knative_mig.core.pending.event import event_of
from knative_mig.core.pending.known import Known
from knative_mig.ports.event_sink import EventSink
from knative_mig.ports.kube import Key, KeyedMirror, Mirror

_log = logging.getLogger(__name__)
_LONGEST_TOLD = 2 * 64 + LONGEST_ID  # namespace, revision, id
_LOOKS_AGAIN_S = 0.5  # whether it is to end


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    revisions: KeyedMirror[RevisionFacts]
    scales: KeyedMirror[Scale]
    pods: KeyedMirror[Replica]

    def each(self) -> dict[str, Mirror[object]]:
        return {"revisions": self.revisions, "podautoscalers": self.scales, "pods": self.pods}

    @property
    def unsynced(self) -> list[str]:
        return [name for name, mirror in self.each().items() if not mirror.synced]


class Desk:
    def __init__(
        self,
        watched: Watched,
        sink: EventSink,
        metrics: SourceMetrics,
        *,
        clock: Callable[[], float],
        rhythm: Rhythm | None = None,
    ) -> None:
        self._watched = watched
        self._sink = sink
        self._metrics = metrics
        self._clock = clock
        self._changed = threading.Condition()
        self._known = Known()
        self._asks = Asks(rhythm)
        self._began = False
        self._complained = ""  # of the sink, so that one that is away is told of once
        watched.revisions.on_change(self._revision)
        watched.scales.on_change(self._scale)
        watched.pods.on_change(self._pod)

    def begin(self) -> None:
        """Once all mirrors have been listed."""
        with self._changed:
            self._began = True
            for function in list(self._known):
                self._judge(function)

    # -- the mirrors' threads ------------------------------------------------------------------------------------------

    def _revision(self, key: Key) -> None:
        with self._changed:
            function = _function(key)
            facts = self._watched.revisions.get(key)
            self._known.put_revision(function, facts)
            if facts is None:
                self._asks.forget(function)
            self._judge(function)

    def _scale(self, key: Key) -> None:
        with self._changed:
            function = _function(key)
            self._known.put_scale(function, self._watched.scales.get(key))
            self._judge(function)

    def _pod(self, key: Key) -> None:
        with self._changed:
            for function in self._known.put_pod((key.namespace, key.name), self._watched.pods.get(key)):
                self._judge(function)

    def _judge(self, function: Function) -> None:
        if self._began:
            self._asks.see(function, self._known.demand(function), self._clock())
            self._metrics.pending.set(len(self._asks))
            self._changed.notify()

    # -- the senders' threads ------------------------------------------------------------------------------------------

    def run_sender(self, stop: threading.Event) -> None:
        while not stop.is_set():
            with self._changed:
                ask = self._asks.next(self._clock())
                if ask is None:
                    wait_s = self._asks.wait_s(self._clock())
                    self._changed.wait(_LOOKS_AGAIN_S if wait_s is None else min(wait_s, _LOOKS_AGAIN_S))
            if ask is not None:
                self.send(ask)

    def send_next(self) -> bool:
        """Whether there was something to send."""
        with self._changed:
            ask = self._asks.next(self._clock())
        if ask is not None:
            self.send(ask)
        return ask is not None

    def send(self, ask: Ask) -> None:
        since = ask.demand.since
        event = event_of(ask, time_text(since) if since else "")
        delivery = self._sink.send(event)
        now = self._clock()
        with self._changed:
            self._asks.answered(ask, delivery, now)
            self._changed.notify()
        self._metrics.events.labels(str(delivery.outcome)).inc()
        if delivery.outcome is Delivered.TAKEN and not ask.again:
            self._metrics.told.observe(max(0.0, now - ask.seen_at))
        self._tell(f"{event.subject} {event.id}", delivery)

    def _tell(self, told: str, delivery: Delivery) -> None:
        event = shown(told, _LONGEST_TOLD)
        if delivery.outcome is Delivered.FAILED:
            level = logging.DEBUG if self._complained == delivery.reason else logging.WARNING
            self._complained = delivery.reason
            _log.log(level, "%s was not taken and is sent again: %s", event, delivery.reason)
        elif delivery.outcome is Delivered.REFUSED:
            _log.warning("%s is refused and not sent again: %s", event, delivery.reason)
        else:
            if self._complained:
                _log.info("The sink takes events again")
                self._complained = ""
            _log.debug("Sent: %s", event)


def _function(key: Key) -> Function:
    """A PodAutoscaler has its revision's name."""
    return Function(key.namespace, key.name)
