"""How long a request may take: as a whole, until its answer begins, and between two pieces of it.

Asked by `connection`, and through `asked` by `exchange` and `pump`, before each wait; the limits are the revision's.
The subtle thing is what counts. Time in the queue does; what the client sends does not; a connection that changes its
protocol (a websocket) never writes an answer in this sense, so that the limit on the beginning ends it too. All as in
Knative.
"""

from dataclasses import dataclass
from math import inf
from typing import Final

DEFAULT_S: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    whole_s: float = DEFAULT_S
    answer_begins_s: float = 0.0  # 0: no limit of its own
    idle_s: float = 0.0


class Deadlines:
    """Of one request."""

    __slots__ = ("_began", "_limits", "_wrote")

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._began = now
        self._wrote: float | None = None

    def wrote(self, now: float) -> None:
        """Something of the answer, be it an informational head."""
        self._wrote = now

    @property
    def next_at(self) -> float:
        """When it is over unless something is written before."""
        limits, wrote = self._limits, self._wrote
        begins = self._began + limits.answer_begins_s if limits.answer_begins_s and wrote is None else inf
        idle = (self._began if wrote is None else wrote) + limits.idle_s if limits.idle_s else inf
        return min(self._began + limits.whole_s, begins, idle)

    def left_s(self, now: float) -> float:
        return self.next_at - now
