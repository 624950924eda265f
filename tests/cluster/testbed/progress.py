"""Progress lines with the seconds since the start; what took over a second is also kept for the closing table.

Called from several threads: a line is written with one call.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Progress:
    quiet: bool = False
    started: float = field(default_factory=time.monotonic)
    steps: list[tuple[str, float]] = field(default_factory=list)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started

    def say(self, line: str) -> None:
        if not self.quiet:
            sys.stdout.write(f"{self.elapsed:6.1f} s  {line}\n")
            sys.stdout.flush()

    @contextmanager
    def step(self, what: str, *, announce: bool = False) -> Iterator[None]:
        """Times a step. `announce` also prints a line before, for what may take minutes."""
        if announce:
            self.say(f"{what} …")
        begun = time.monotonic()
        yield
        took = time.monotonic() - begun
        if took >= 1 or announce:
            self.steps.append((what, took))
            self.say(f"{what}: {took:.1f} s")
