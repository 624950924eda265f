"""Who may use the cluster now: tests side by side, or one alone that breaks it or measures on it.

Test workers are processes, so the turn is a pair of locked files. Who waits to be alone holds the first, which keeps
newcomers out; the second is shared by those inside.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(slots=True)
class Turn:
    """One test's. Who is inside does not ask again: who then waits keeps all others out for as long."""

    door: int
    room: int
    waited: float = 0.0  # seconds, which are not the test's own

    @classmethod
    @contextmanager
    def at(cls, folder: Path) -> Iterator["Turn"]:
        folder.mkdir(parents=True, exist_ok=True)
        files = [os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o644) for name in ("door", "room")]
        try:
            yield cls(*files)
        finally:
            for file in files:
                os.close(file)

    def side_by_side(self) -> None:
        self._enter(fcntl.LOCK_SH)

    def alone(self) -> None:
        self._enter(fcntl.LOCK_EX)

    def _enter(self, how: int) -> None:
        came = time.monotonic()
        fcntl.flock(self.door, fcntl.LOCK_EX)
        try:
            fcntl.flock(self.room, how)
        finally:
            fcntl.flock(self.door, fcntl.LOCK_UN)
            self.waited += time.monotonic() - came
