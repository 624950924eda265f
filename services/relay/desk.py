"""What the threads of all connections share: who is in flight, and whether the engine is there for them.

Made by `process`. Its lock is that of `Replica`, and nothing that waits is done under it.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from services.relay.arrival import Arrival
from services.relay.conversation import Conversation, Dial
from services.relay.engine_call import Address
from services.relay.replica import Do, Event, InFlight, Leave, Replica, Stage, Where
from services.relay.resumable import Traits


@dataclass(slots=True, kw_only=True, eq=False)
class Guest:
    """A request that came in, or a generation that came from another relay."""

    why_not: str = "it has just come"
    conversation: Conversation | None = None
    arrival: Arrival | None = None


@dataclass(slots=True, kw_only=True)
class Desk:
    engine: Address
    traits: Traits
    elsewhere: Address | None  # the function's own URL
    end_engine: Callable[[], None]  # returns at once
    dial: Dial | None = None  # how another relay is reached; None: there is no secret to show it
    clock: Callable[[], float] = time.monotonic
    id: str = field(default_factory=lambda: secrets.token_hex(8))  # by which relays tell each other apart
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _replica: Replica = field(default_factory=Replica)
    _guests: set[Guest] = field(default_factory=set)
    _needing: set[Guest] = field(default_factory=set)  # those of them who need the engine

    def where(self, guest: Guest, *, was_sent_on: bool) -> Where:
        """Here: it is counted from now on, and leaves by `leave`."""
        with self._changed:
            # Where nobody else is known, what is late is as if it had been sent here by a relay that leaves too.
            where = self._replica.where(self.clock(), was_sent_on=was_sent_on or self.elsewhere is None)
            if where is Where.HERE:
                self._guests.add(guest)
                self._need(guest, need=True)
            return where

    def arrive(self, guest: Guest) -> bool:
        """Of a generation from another relay: whether there is an engine for it, and no cause to send it on soon."""
        with self._changed:
            if self._replica.stage is not Stage.SERVES:
                return False
            self._guests.add(guest)
            self._need(guest, need=True)
            return True

    def need(self, guest: Guest, *, need: bool) -> None:
        with self._changed:
            self._need(guest, need=need)

    def leave(self, guest: Guest) -> None:
        with self._changed:
            self._guests.discard(guest)
            self._need(guest, need=False)
            self._changed.notify_all()

    @contextmanager
    def left_after(self, guest: Guest) -> Iterator[None]:
        try:
            yield
        finally:
            self.leave(guest)

    def guests(self) -> tuple[Guest, ...]:
        with self._changed:
            return tuple(self._guests)

    def start_leaving(self, *, at_once: bool = False) -> None:
        self.take(Leave(now=self.clock(), at_once=at_once))

    def take(self, event: Event) -> Do | None:
        with self._changed:
            return self._take(event)

    def wait_until_empty(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._guests)

    @property
    def stage(self) -> Stage:
        return self._replica.stage

    def _need(self, guest: Guest, *, need: bool) -> None:
        if need:
            self._needing.add(guest)
        else:
            self._needing.discard(guest)
        self._take(InFlight(count=len(self._needing)))

    def _take(self, event: Event) -> Do | None:
        do = self._replica.take(event)
        if do is Do.END_ENGINE:
            self.end_engine()
        return do
