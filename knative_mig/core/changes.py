"""What came and what went between one snapshot of a mirror and the next.

Kept by whoever has to know it in each round, among tens of thousands of pods and Revisions. It is found by identity
alone, since a mirror keeps the object of what did not change; an object that is equal and another goes and comes. The
subtle thing is that the objects are kept as long as they are told from others by their ids.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, count
from operator import is_not
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")
_RUN: Final = 64  # objects that are compared at once
_AHEAD: Final = 8  # neighbours that went together, as far as one looks for the next that stayed


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(Generic[T]):
    """Each in its snapshot's order. What goes is to be taken away first: of one thing the old object is among what has
    gone and the new one among what has come.
    """

    gone: Sequence[T] = ()
    come: Sequence[T] = ()


class Changes(Generic[T]):
    def __init__(self) -> None:
        self._snapshot: Mapping[Any, T] | None = None
        self._objects: list[T] = []

    def take(self, snapshot: Mapping[Any, T]) -> Change[T]:
        """A snapshot is never written to: the same one again is no change."""
        if snapshot is self._snapshot:
            return Change()
        before, now = self._objects, [*snapshot.values()]
        self._snapshot, self._objects = snapshot, now
        return _differ(before, now)


def _differ(before: list[T], now: list[T]) -> Change[T]:
    """Both are mostly in one order, so that long runs of them are the same and passed over. What is left is compared
    whatever its order: passing over nothing would cost time and find the same.
    """
    old, new = _without_runs(before, now)
    left, right = {*map(id, old)}, {*map(id, new)}
    return Change(
        gone=[each for each in old if id(each) not in right], come=[each for each in new if id(each) not in left]
    )


def _without_runs(before: list[T], now: list[T]) -> tuple[list[T], list[T]]:
    old: list[T] = []
    new: list[T] = []
    at, to = 0, 0
    while at < len(before) and to < len(now):
        run, beside = before[at : at + _RUN], now[to : to + _RUN]
        alike = next(compress(count(), map(is_not, run, beside)), min(len(run), len(beside)))
        at, to = at + alike, to + alike
        if alike == min(len(run), len(beside)):
            continue
        ahead = [each is now[to] for each in before[at : at + _AHEAD]]
        if True in ahead:  # those before it have gone
            old += before[at : at + ahead.index(True)]
            at += ahead.index(True)
        else:  # one stands in another's place
            old.append(before[at])
            new.append(now[to])
            at, to = at + 1, to + 1
    return old + before[at:], new + now[to:]
