"""How long something took, by a clock that stands while this process may not run.

For tests of what promises to be over in so many seconds: a machine that has no core for us, or stops us, says nothing
about that. A thread looks at the time each hundredth of a second; where it comes late by more than a moment, nobody
here could run meanwhile. Of another process it knows nothing.
"""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

_LOOKS_EACH_S: Final = 0.01
_MOMENT_S: Final = 0.05


class Stopwatch:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._began = self._seen = clock()
        self._late_s = 0.0
        self.seconds = 0.0  # once it is over

    def __enter__(self) -> Self:
        self._began = self._seen = self._clock()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        now = self._clock()
        self._over.set()
        self._thread.join()
        self.look(now)
        self.seconds = now - self._began - self._late_s

    def look(self, now: float) -> None:
        late_s = now - self._seen - _LOOKS_EACH_S
        self._late_s += late_s if late_s > _MOMENT_S else 0.0
        self._seen = max(now, self._seen)

    def _look(self) -> None:
        while not self._over.wait(_LOOKS_EACH_S):
            self.look(self._clock())
