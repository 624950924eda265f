"""The one thread that takes steps, and the counter where others leave requests and fetch what comes of them.

Composed in `process`; `http_server`'s threads call `submit` and read from their ticket's queue. The engine is touched
by the loop's thread only: who hangs up says so on its ticket, and before the next step the generation is gone, and its
blocks with it. Steps are paced here, if they are.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue

from knative_mig.core.errors import KnativeMigError
from services.tiny_llm.capacity import Pace
from services.tiny_llm.engine import Engine, Step
from services.tiny_llm.generation import Asked, Delta, Finish, Generation
from services.tiny_llm.metrics import Metrics


class Crowded(KnativeMigError):
    """As many wait as may wait."""

    reason = "Crowded"


class Draining(KnativeMigError):
    """It ends as soon as what has begun is over."""

    reason = "Draining"


@dataclass(slots=True, kw_only=True, eq=False)
class Ticket:
    """Of one request. On the queue come deltas, each with the number of its generation; None, if no more will."""

    asked: tuple[Asked, ...]
    deltas: "SimpleQueue[tuple[int, Delta] | None]" = field(default_factory=SimpleQueue)
    generations: tuple[Generation, ...] = ()  # once the loop has taken it up
    is_over: bool = False


class Loop:
    def __init__(
        self,
        engine: Engine,
        metrics: Metrics,
        *,
        clock: Callable[[], float],
        most_waiting: int,
        pace: Pace | None = None,
    ) -> None:
        self._engine = engine
        self._metrics = metrics
        self._clock = clock
        self._pace = pace
        self.most = engine.scheduler.limits.generations + most_waiting
        self._changed = threading.Condition()
        self._new: list[Ticket] = []
        self._left: list[Ticket] = []
        self._open: set[Ticket] = set()
        self._tickets: dict[Generation, tuple[Ticket, int]] = {}
        self._draining = False
        self._interrupted = threading.Event()

    # -- from any thread -----------------------------------------------------------------------------------------------

    @property
    def longest(self) -> int:
        return self._engine.longest

    @property
    def is_draining(self) -> bool:
        return self._draining

    def submit(self, asked: Sequence[Asked]) -> Ticket:
        """Crowded, Draining: not now. Whoever submits also closes."""
        ticket = Ticket(asked=tuple(asked))
        with self._changed:
            if self._draining:
                raise Draining("the server is about to end")
            if sum(len(each.asked) for each in self._open) + len(ticket.asked) > self.most:
                raise Crowded(f"{self.most} generations are running or waiting already")
            self._open.add(ticket)
            self._new.append(ticket)
            self._changed.notify_all()
        return ticket

    def close(self, ticket: Ticket) -> None:
        """Its client has all that it will get. What is not finished is given up."""
        with self._changed:
            if not ticket.is_over:
                ticket.is_over = True
                self._open.discard(ticket)
                self._left.append(ticket)
                self._changed.notify_all()

    def drain(self) -> None:
        """Takes no more, and returns when no ticket is open."""
        with self._changed:
            self._draining = True
            self._changed.wait_for(lambda: not self._open)

    def interrupt(self) -> None:
        with self._changed:
            self._draining = True
            self._interrupted.set()
            self._changed.notify_all()

    # -- the loop's thread ---------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Until `interrupt`. That the process has been told to end is no reason: what has begun is finished first."""
        try:
            while self._take_in():
                began = self._clock()
                step = self._engine.step(began)
                if self._pace and self._interrupted.wait(max(0.0, began + self._pace(step) - self._clock())):
                    return
                self._hand_out(step, self._clock())
        finally:
            with self._changed:
                self._draining = True
                for ticket in self._open:
                    ticket.deltas.put(None)

    def _take_in(self) -> bool:
        """Waits for work; false: it is over."""
        with self._changed:
            self._changed.wait_for(self._has_cause)
            new, self._new, left, self._left = self._new, [], self._left, []
        for ticket in new:
            ticket.generations = tuple(self._engine.add(each, self._clock()) for each in ticket.asked)
            self._tickets |= {each: (ticket, number) for number, each in enumerate(ticket.generations)}
        for ticket in left:
            for generation in ticket.generations:
                if self._tickets.pop(generation, None):
                    self._engine.cancel(generation)
                    self._metrics.finished(generation, Finish.ABORT, self._clock())
        scheduler = self._engine.scheduler
        self._metrics.state(running=len(scheduler.running), waiting=len(scheduler.waiting), blocks=scheduler.blocks)
        return not self._interrupted.is_set()

    def _has_cause(self) -> bool:
        return bool(self._new or self._left or not self._engine.is_idle or self._interrupted.is_set())

    def _hand_out(self, step: Step, now: float) -> None:
        self._metrics.step(step, now, preemptions=self._engine.scheduler.preemptions)
        for generation, delta in step.told:
            ticket, number = self._tickets[generation]
            generation.token_came(now)
            ticket.deltas.put((number, delta))
            if delta.finish:
                del self._tickets[generation]
                self._metrics.finished(generation, delta.finish, now)
