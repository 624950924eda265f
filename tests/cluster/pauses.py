"""How long the machine let a process stand that had something to do: beside a failure it says whether what came late
was anybody's fault.

One thread of each process of the suite, from its beginning. It sleeps a moment and looks at how much later it is.
"""

import threading
import time
from collections import deque
from pathlib import Path
from typing import Final

_SLEEPS_S: Final = 0.1
_LATE_S: Final = 0.5  # a busy machine has shorter ones all the time
_KEPT: Final = 1000
_PRESSURE: Final = Path("/proc/pressure/cpu")


class Pauses:
    def __init__(self) -> None:
        self._found: deque[tuple[float, float]] = deque(maxlen=_KEPT)  # when it ended, and its seconds

    def watch(self) -> None:
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        before = time.monotonic()
        while True:
            time.sleep(_SLEEPS_S)
            now = time.monotonic()
            self.seen(before, now)
            before = now

    def seen(self, before: float, now: float) -> None:
        """Awake at the one moment and next at the other."""
        late = now - before - _SLEEPS_S
        if late >= _LATE_S:
            self._found.append((now, late))

    def told(self, since: float, now: float) -> str:
        """Of the test that began then, in a line."""
        found = [late for at, late in self._found if at >= since]
        stood = f"{len(found)} times, {sum(found):.1f} s in all, {max(found):.1f} s at most" if found else "never"
        return f"in the {now - since:.0f} s of this test its process stood still: {stood}; {_waiting()}"


def _waiting() -> str:
    """Of Linux: in which part of the last five minutes something waited for a processor."""
    load = Path("/proc/loadavg").read_text().split()[:3]
    share = _PRESSURE.read_text().split("avg300=")[1].split()[0] if _PRESSURE.exists() else "?"
    return f"load {' '.join(load)}, something waited for a processor in {share} % of the last 300 s"
