"""How long to wait after the API server did not answer: longer each time, and never all agents at once.

Used by the agent's loops that write to the API server, one object a loop.
"""

from collections.abc import Callable


class Retry:
    """`chance` draws from 0 to 1: a wait is between half of its length and all of it."""

    def __init__(self, chance: Callable[[], float], *, first_s: float = 0.1, most_s: float = 3.0) -> None:
        self._chance = chance
        self._first_s = first_s
        self._most_s = most_s
        self._failures = 0

    @property
    def failing(self) -> bool:
        return self._failures > 0

    def next_wait_s(self) -> float:
        length = min(self._first_s * 2.0 ** min(self._failures, 16), self._most_s)
        self._failures += 1
        return length * (0.5 + 0.5 * self._chance())

    def worked(self) -> None:
        self._failures = 0
