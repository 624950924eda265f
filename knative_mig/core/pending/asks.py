"""Which events are due: one as soon as a revision wants more, and the same again, ever more rarely, until that changes.

Called by `activator_hooks.source.desk`, under its lock. A revision has one state at a time, and of it one event at most
is on its way. That a slice came, so that less is wanted, is no news to who was told and made it: the rest is asked for
again only after the first pause. What no sink has taken is news whatever became of it since.

Two things can go wrong with an event, and each has its own patience. Nobody acts on it: it is sent again after
`again_s`, doubled each time, under a new id. The sink does not take it: the same event is tried again; when nothing
gets through, all pause. What is sent or tried again waits behind all news, so that thousands who wait in vain, or one
that a sink chokes on, keep nobody back whose function has just been called.

The subtle thing is the number in an id. Whoever takes events drops what it has heard under the same id, for a quarter
of an hour; so a state that comes back before the API server has noted anything new (a pod is on a node, is evicted, its
successor waits) goes on counting where that revision's last one ended.
"""

import heapq
from collections import deque
from dataclasses import dataclass
from itertools import count
from typing import Final

from knative_mig.core.errors import BadInput
from knative_mig.core.events import Delivered, Delivery
from knative_mig.core.inventory import Function
from knative_mig.core.pending.demand import Demand

_SPARE: Final = 64  # entries of the queue that may be out of date before it is swept


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    again_s: float = 2.0  # a slice is there or under way by then, if it is to come at once
    again_most_s: float = 300.0  # whoever waits for hours is found by the planner's resync too
    retry_s: float = 0.1
    retry_most_s: float = 5.0  # a planner that comes back is told before its first resync

    def __post_init__(self) -> None:
        if not (0 < self.again_s <= self.again_most_s and 0 < self.retry_s <= self.retry_most_s):
            raise BadInput(
                f"pauses of {self.again_s} to {self.again_most_s} s and {self.retry_s} to {self.retry_most_s} s: "
                "legal are more than 0 seconds, and no most below its first"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """An event to be sent."""

    demand: Demand
    attempt: int  # of all that were sent of this revision since the demand's `since`
    again: bool = False  # not the first of its state
    seen_at: float  # when its state came up, by the caller's clock


@dataclass(slots=True, kw_only=True)
class _State:
    demand: Demand
    seen_at: float
    due: float | None  # None: the sink refused it for good
    attempt: int
    told: bool = False  # the sink has taken it, or an earlier one that covers it
    taken: int = 0
    failures: int = 0

    @property
    def is_news(self) -> bool:
        return not self.told and not self.failures and self.due == self.seen_at


# When it is due, a number of its own (first come, first served), and whose it is.
_Entry = tuple[float, int, _State]


class Asks:
    def __init__(self, rhythm: Rhythm | None = None) -> None:
        self._rhythm = rhythm or Rhythm()
        self._states: dict[Function, _State] = {}
        self._next_attempt: dict[Function, tuple[float, int]] = {}  # of this `since`
        self._news: deque[_Entry] = deque()
        self._queue: list[_Entry] = []  # a heap
        self._numbers = count()
        self._flying: dict[Function, bool] = {}  # whether what is on its way covers the state of now
        self._failures = 0  # in a row, whichever event it was
        self._paused_until = float("-inf")

    def __len__(self) -> int:
        """Revisions that want something."""
        return len(self._states)

    @property
    def queued(self) -> int:
        """Entries of the queues, those out of date among them: never more than twice the revisions, and a few."""
        return len(self._news) + len(self._queue)

    def see(self, function: Function, demand: Demand | None, now: float) -> None:
        if demand is None:
            self._states.pop(function, None)
            self._note_cover(function, covered=False)
            self._sweep()
            return
        state = self._states.get(function)
        if state is not None and demand.is_still(state.demand):
            return
        covered = state is not None and demand.is_covered_by(state.demand)
        self._note_cover(function, covered=covered)
        told, due = False, now
        if state is not None and covered and state.told:
            told, due = True, now + self._rhythm.again_s
            if state.due is not None and demand.count == state.demand.count:
                due = min(due, state.due)  # no slice came, so that nothing is put off
        since, attempt = self._next_attempt.get(function, (demand.since, 0))
        attempt = attempt if since == demand.since else 0
        self._states[function] = state = _State(demand=demand, seen_at=now, due=due, attempt=attempt, told=told)
        self._push(state)

    def forget(self, function: Function) -> None:
        """It is gone, and comes back, if at all, as another."""
        self.see(function, None, 0.0)
        self._next_attempt.pop(function, None)

    def next(self, now: float) -> Ask | None:
        """The event to send now, which counts as on its way until `answered`."""
        if now < self._paused_until:
            return None
        while (entry := self._pop(now)) is not None:
            state = entry[2]
            function = state.demand.function
            # What is on its way is put back when its answer is there.
            if self._is_current(entry) and function not in self._flying:
                self._flying[function] = True
                self._next_attempt[function] = (state.demand.since, state.attempt + 1)
                again = state.taken > 0
                return Ask(demand=state.demand, attempt=state.attempt, again=again, seen_at=state.seen_at)
        return None

    def wait_s(self, now: float) -> float | None:
        """How long until there may be one; None: until something changes."""
        while self._news and not self._is_current(self._news[0]):
            self._news.popleft()
        while self._queue and not self._is_current(self._queue[0]):
            heapq.heappop(self._queue)
        first = min((entries[0][0] for entries in (self._news, self._queue) if entries), default=None)
        return None if first is None else max(0.0, first - now, self._paused_until - now)

    def answered(self, ask: Ask, delivery: Delivery, now: float) -> None:
        function = ask.demand.function
        covers = self._flying.pop(function, False)
        self._judge_sink(delivery, now)
        state = self._states.get(function)
        if state is None:
            return
        if state.demand is ask.demand:
            rhythm = self._rhythm
            match delivery.outcome:
                case Delivered.TAKEN:
                    state.due = now + _doubled(rhythm.again_s, state.taken, rhythm.again_most_s)
                    state.attempt, state.taken, state.failures = state.attempt + 1, state.taken + 1, 0
                    state.told = True
                case Delivered.REFUSED:
                    state.due = None
                case Delivered.FAILED:
                    state.due = now + _doubled(rhythm.retry_s, state.failures, rhythm.retry_most_s)
                    state.failures += 1
        elif covers and delivery.outcome is Delivered.TAKEN:
            state.told, state.due = True, now + self._rhythm.again_s
        self._push(state)

    def _note_cover(self, function: Function, *, covered: bool) -> None:
        if function in self._flying:
            self._flying[function] = self._flying[function] and covered

    def _judge_sink(self, delivery: Delivery, now: float) -> None:
        if delivery.outcome is not Delivered.FAILED:
            self._failures, self._paused_until = 0, float("-inf")
        elif now >= self._paused_until:  # those that were on their way with the one that failed first tell nothing new
            pause_s = _doubled(self._rhythm.retry_s, self._failures, self._rhythm.retry_most_s)
            self._failures += 1
            self._paused_until = now + max(pause_s, delivery.retry_after_s)

    def _push(self, state: _State) -> None:
        if state.due is not None:
            entry = (state.due, next(self._numbers), state)
            if state.is_news:
                self._news.append(entry)
            else:
                heapq.heappush(self._queue, entry)
        self._sweep()

    def _pop(self, now: float) -> _Entry | None:
        if self._news:
            return self._news.popleft()
        return heapq.heappop(self._queue) if self._queue and self._queue[0][0] <= now else None

    def _is_current(self, entry: _Entry) -> bool:
        due, _, state = entry
        return self._states.get(state.demand.function) is state and state.due == due

    def _sweep(self) -> None:
        """A sweep costs the queues' length, and comes after as many changes: a constant for each."""
        if self.queued > 2 * len(self._states) + _SPARE:
            self._news = deque(entry for entry in self._news if self._is_current(entry))
            self._queue = [entry for entry in self._queue if self._is_current(entry)]
            heapq.heapify(self._queue)


def _doubled(first_s: float, times: int, most_s: float) -> float:
    return float(min(most_s, first_s * 2.0 ** min(times, 32)))
