"""What goes wrong, when a test wants it to."""

import threading
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Planned:
    code: int
    times: int
    method: str
    path: str


@dataclass(slots=True)
class Faults:
    delay_s: float = 0.0  # before each answer
    silent_watches: bool = False  # a watch is accepted, and nothing comes: a half-open connection
    _planned: list[_Planned] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(self, code: int, *, times: int = 1, method: str = "", path: str = "") -> None:
        """The next requests of that method, whose path holds that text, are answered so. Code 0: the connection is
        closed without an answer.
        """
        with self._lock:
            self._planned.append(_Planned(code, times, method, path))

    def mend(self) -> None:
        """What is still planned does not happen."""
        with self._lock:
            self._planned.clear()

    def next(self, method: str, path: str) -> int | None:
        with self._lock:
            for each in self._planned:
                if each.times and each.method in ("", method) and each.path in path:
                    each.times -= 1
                    return each.code
        return None
