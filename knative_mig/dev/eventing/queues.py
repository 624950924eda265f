"""Which event is sent now, for which Trigger; and when there is no room for another.

Made by `post`, which keeps one thread at a time in it. A Trigger's events wait by themselves, so that a subscriber that
is slow or away holds up its own alone; Triggers take turns. An event keeps its place in the count until its course is
at its end, also while it is being sent. The subtle thing is that room is asked for by all Triggers that want an event
together: a sender that is told to come again has been heard by none of them.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from knative_mig.dev.eventing.courses import Course
from knative_mig.ports.kube import Key

MOST_WAITING: Final = 1000  # of one Trigger; of at most 64 KiB each
MOST_AT_ONCE: Final = 100  # of one Trigger, a thread each while they are sent


@dataclass(frozen=True, slots=True, order=True)
class _Place:
    at: float
    turn: int
    course: Course = field(compare=False)


@dataclass(slots=True)
class _Line:
    waiting: list[_Place] = field(default_factory=list)  # a heap
    sent: int = 0  # just now

    @property
    def length(self) -> int:
        return len(self.waiting) + self.sent


class Queues:
    def __init__(self, *, most_waiting: int = MOST_WAITING, most_at_once: int = MOST_AT_ONCE) -> None:
        self._most_waiting = most_waiting
        self._most_at_once = most_at_once
        self._lines: dict[Key, _Line] = {}  # by Trigger; the one whose turn it is first
        self._turns = 0

    def full(self, triggers: Sequence[Key]) -> Key | None:
        """The first of them that has no room for one more."""
        return next((each for each in triggers if self._length(each) >= self._most_waiting), None)

    def put(self, course: Course, at: float) -> None:
        """New, and there was room."""
        self._turns += 1
        place = _Place(at, self._turns, course)
        heapq.heappush(self._lines.setdefault(course.trigger, _Line()).waiting, place)

    def take(self, now: float) -> Course | None:
        """One that is due, to be sent; `again` or `ended` says what came of it."""
        for trigger, line in self._lines.items():
            if line.waiting and line.waiting[0].at <= now and line.sent < self._most_at_once:
                line.sent += 1
                self._lines[trigger] = self._lines.pop(trigger)
                return heapq.heappop(line.waiting).course
        return None

    def again(self, course: Course, at: float) -> None:
        """It was taken, and goes on."""
        self._lines[course.trigger].sent -= 1
        self.put(course, at)

    def ended(self, course: Course) -> None:
        line = self._lines[course.trigger]
        line.sent -= 1
        if not line.length:
            del self._lines[course.trigger]

    def due(self) -> float | None:
        """When there is one to be taken; None: not before something is put or ends."""
        found = [line.waiting[0].at for line in self._lines.values() if line.waiting and line.sent < self._most_at_once]
        return min(found, default=None)

    def emptied(self) -> Iterator[Course]:
        """All that wait; what is being sent has yet to end."""
        for trigger in list(self._lines):
            line = self._lines[trigger]
            places, line.waiting = sorted(line.waiting), []
            yield from (each.course for each in places)
            if not line.sent:
                del self._lines[trigger]

    @property
    def sent(self) -> int:
        return sum(line.sent for line in self._lines.values())

    def _length(self, trigger: Key) -> int:
        return self._lines[trigger].length if trigger in self._lines else 0
