"""Where a process is killed: before and after each call of an uninterrupted run.

Called by `campaign`. A call is named by the step of the play in which it was made, by what was called, and by how often
that had been called in this step before. The subtle thing is that agents and planners have many threads, so no two runs
make the same calls in the same order, and some (a status written once or twice) not equally often: a point that a run
went past is looked for again, at the last such call that there was.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

MOST_TRIES: Final = 4
DRIVER_CALLS: Final = "gpu "


class When(StrEnum):
    BEFORE = "before"  # nothing was done
    AFTER = "after"  # it was done, and whoever called does not know


class Victim(StrEnum):
    PROCESS = "process"  # and its workers with it
    WORKER = "worker"  # of an agent, which speaks with the GPU: the agent sees its call break off, and goes on


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Point:
    step: str
    call: str  # like `gpu create_compute_instance 3g.20gb@4`, `journal done`, `api PATCH nodes/n1/status`
    number: int  # of such calls in this step, from 1
    when: When
    victim: Victim = Victim.PROCESS

    def __str__(self) -> str:
        return f"{self.victim:<7} {self.when:<6} {self.call} #{self.number}"


def worker_points_of(log: Iterable[tuple[str, str]]) -> tuple[Point, ...]:
    """Two more for each call of the driver."""
    return tuple(
        replace(point, victim=Victim.WORKER) for point in points_of(log) if point.call.startswith(DRIVER_CALLS)
    )


def points_of(log: Iterable[tuple[str, str]]) -> tuple[Point, ...]:
    """Two for each call; `log` holds each call's step and name, in their order."""
    seen: Counter[tuple[str, str]] = Counter()
    found: list[Point] = []
    for step, call in log:
        seen[step, call] += 1
        number = seen[step, call]
        found += [Point(step=step, call=call, number=number, when=when) for when in When]
    return tuple(found)


def drawn(points: Sequence[Point], count: int, chance: random.Random) -> tuple[Point, ...]:
    """So many of them, of as many kinds of calls as can be: each kind has its turn before any has its second."""
    kinds: defaultdict[tuple[str, str, When, Victim], list[Point]] = defaultdict(list)
    for point in chance.sample(points, len(points)):
        kinds[point.step, point.call, point.when, point.victim].append(point)
    ordered = sorted(kinds.items())
    chance.shuffle(ordered)
    rounds = range(max((len(each) for _, each in ordered), default=0))
    return tuple(each[at] for at in rounds for _, each in ordered if at < len(each))[:count]


@dataclass(slots=True)
class Aim:
    """At one point, during one step. `strikes` is asked at each call, before it and after it."""

    point: Point
    seen: int = 0
    last_try: bool = False

    @property
    def heard_at(self) -> When:
        """A worker dies by what was done to its GPU before the call."""
        return When.BEFORE if self.point.victim is Victim.WORKER else self.point.when

    def strikes(self, call: str, when: When) -> bool:
        if call != self.point.call or when is not self.heard_at:
            return False
        self.seen += 1
        return self.seen == self.point.number


@dataclass(slots=True)
class Left:
    """What is still to be done, a queue for each step: one run of the scenario takes one point of each."""

    queues: dict[str, list[Point]]
    missed: list[Point] = field(default_factory=list)
    _tries: Counter[Point] = field(default_factory=Counter)
    _first: dict[Point, Point] = field(default_factory=dict)  # what a lowered point was at first

    @classmethod
    def of(cls, points: Iterable[Point]) -> "Left":
        queues: defaultdict[str, list[Point]] = defaultdict(list)
        for point in points:
            queues[point.step].append(point)
        return cls(dict(queues))

    def __bool__(self) -> bool:
        return any(self.queues.values())

    def take(self, step: str) -> Point | None:
        queue = self.queues.get(step)
        return queue.pop(0) if queue else None

    def aim(self, point: Point) -> Aim:
        return Aim(point, last_try=self._tries[self._first.get(point, point)] >= MOST_TRIES - 1)

    def not_reached(self, aim: Aim) -> None:
        """To be tried again at the last such call there was; given up when it was tried often enough."""
        point = aim.point
        first = self._first.pop(point, point)
        self._tries[first] += 1
        if self._tries[first] >= MOST_TRIES:
            self.missed.append(first)
            return
        again = replace(point, number=min(point.number, max(aim.seen, 1)))
        self._first[again] = first
        self.queues[point.step].append(again)
