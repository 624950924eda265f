"""The planner's door for CloudEvents: decides of each what it is good for, and answers before anything is done.

Called by `adapters.event_server`'s threads; `run` is a thread of the process and sends on what a standby was told. An
event can wake the leader and nothing else: what is planned comes from the mirrors, and what an event would have told is
found at the next resync. The subtle thing is therefore what is never done: no event that could be read is sent back,
though nobody leads, the leader cannot be reached or the queue is full. A 5xx would have Knative repeat it for minutes.
"""

import hashlib
import logging
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from knative_mig.core.errors import BadInput
from knative_mig.core.events import PENDING, Event, PendingRevision, RawEvent, Rejected, Why

_log = logging.getLogger(__name__)
_LOOKS_AGAIN_S: Final = 0.5  # whether it is to end


class Outcome(StrEnum):
    """What became of an event; each that came in has one."""

    WOKE = "woke"
    FORWARDED = "forwarded"
    NOT_FORWARDED = "not-forwarded"  # the leader did not take it, or too many waited: the resync finds it
    NO_LEADER = "no-leader"  # known here, or the other replica took this one for it
    DUPLICATE = "duplicate"
    IGNORED = "ignored"  # of a type that is nothing to us
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorSettings:
    remember_s: float = 900.0  # a Broker repeats an event for 205 s, a dead-letter sink's reader for longer
    remembered: int = 20_000  # some 3 MiB; of those forgotten early a repetition wakes once more
    waiting: int = 256
    forward_within_s: float = 1.0
    late_after_s: float = 5.0  # half a resync: after that it comes too late to make anything faster


class Recent:
    """Which events have been here, by (source, id). From any thread."""

    def __init__(self, keep_s: float, most: int) -> None:
        self._keep_s = keep_s
        self._most = most
        self._lock = threading.Lock()
        self._at: OrderedDict[bytes, float] = OrderedDict()

    def is_new(self, event: Event, now: float) -> bool:
        key = _key(event)
        with self._lock:
            while self._at and next(iter(self._at.values())) <= now - self._keep_s:
                self._at.popitem(last=False)
            if key in self._at:
                return False
            if len(self._at) >= self._most:
                self._at.popitem(last=False)
            self._at[key] = now
            return True

    def forget(self, event: Event) -> None:
        with self._lock:
            self._at.pop(_key(event), None)

    def __len__(self) -> int:
        return len(self._at)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    event: Event
    pending: PendingRevision
    raw: RawEvent
    since: float


class Door:
    def __init__(
        self,
        *,
        leads: Callable[[], bool],
        leader: Callable[[], str],
        wake: Callable[[PendingRevision], None],
        send_on: Callable[[str, RawEvent, float], str],
        count: Callable[[Outcome], None],
        clock: Callable[[], float],
        settings: DoorSettings | None = None,
    ) -> None:
        """`leader`: where the other replica takes events, empty while that is not known. `send_on` says why not."""
        self._leads = leads
        self._leader = leader
        self._wake = wake
        self._send_on = send_on
        self._count = count
        self._clock = clock
        self._settings = settings or DoorSettings()
        self._recent = Recent(self._settings.remember_s, self._settings.remembered)
        self._queue: queue.Queue[_Waiting] = queue.Queue(self._settings.waiting)

    def take(self, event: Event | Rejected, raw: RawEvent) -> Rejected | None:
        """At once, from any thread."""
        if isinstance(event, Rejected):
            self._count(Outcome.REJECTED)
            return event
        if event.type != PENDING:
            # A Trigger without a filter sends all there is, our own outcomes among it: nothing is wrong with them.
            self._count(Outcome.IGNORED)
            return None
        try:
            pending = PendingRevision.of(event)
        except BadInput as error:
            self._count(Outcome.REJECTED)
            return Rejected(status=Why.MALFORMED, reason=str(error))
        now = self._clock()
        if not self._recent.is_new(event, now):
            self._count(Outcome.DUPLICATE)
        elif self._leads():
            self._wake(pending)
            self._count(Outcome.WOKE)
        elif raw.forwarded:
            self._gave_up(event, Outcome.NO_LEADER)
        else:
            try:
                self._queue.put_nowait(_Waiting(event=event, pending=pending, raw=raw, since=now))
            except queue.Full:
                self._gave_up(event, Outcome.NOT_FORWARDED)
        return None

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self.send_next(_LOOKS_AGAIN_S)

    def send_next(self, wait_s: float = 0.0) -> bool:
        """One of those that wait; False: none came."""
        try:
            waiting = self._queue.get(timeout=wait_s) if wait_s else self._queue.get_nowait()
        except queue.Empty:
            return False
        address = self._leader()
        if self._leads():
            self._wake(waiting.pending)
            self._count(Outcome.WOKE)
        elif self._clock() - waiting.since > self._settings.late_after_s:
            self._gave_up(waiting.event, Outcome.NOT_FORWARDED)
        elif not address:
            self._gave_up(waiting.event, Outcome.NO_LEADER)
        elif why := self._send_on(address, waiting.raw, self._settings.forward_within_s):
            _log.warning("The leader was not told of %s: %s", waiting.event.subject, why)
            self._gave_up(waiting.event, Outcome.NOT_FORWARDED)
        else:
            self._count(Outcome.FORWARDED)
        return True

    def _gave_up(self, event: Event, outcome: Outcome) -> None:
        """Nobody acts on it, so that it is worth hearing again."""
        self._recent.forget(event)
        self._count(outcome)


def _key(event: Event) -> bytes:
    # Attributes hold no control characters, so the two cannot run into one another; a digest has one size for all.
    return hashlib.blake2b(f"{event.source}\0{event.id}".encode(), digest_size=16).digest()
