"""Keeps one process of ours running: started anew when it ends, and said so; ended when `dev` ends.

Made by `process`, one for each of `parts`; `run` is a thread's body, for that thread is whom the process outlives by
nothing (`child`). The subtle thing is what a process leaves when it is killed: its group is killed after it, so that
the workers of a dead agent touch no GPU any more.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

SHORTEST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 10.0
_LASTS_S: Final = 30.0  # who has run so long did not fail in starting


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    name: str
    module: str
    arguments: tuple[str, ...]
    log: Path
    ready_at: tuple[str, int]  # who says at /readyz whether it is
    variables: Mapping[str, str] = field(default_factory=dict)


class Kept:
    def __init__(self, part: Part, tell: Callable[[str], None]) -> None:
        self.part = part
        self.starts = 0
        self._tell = tell
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """None: it does not run now."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    def run(self, stop: threading.Event) -> None:
        pause_s = SHORTEST_PAUSE_S
        while True:
            began = time.monotonic()
            with self._lock:
                if stop.is_set():
                    return
                try:
                    process = self._process = self._started()
                except OSError as error:  # no more processes, no room for its log
                    process, why = None, f"cannot be started: {error.strerror}"
            if process is not None:
                why = ended(process.wait())
                _kill_group(process.pid)
            if stop.is_set():
                return
            if time.monotonic() - began > _LASTS_S:
                pause_s = SHORTEST_PAUSE_S
            self._tell(f"{self.part.name} {why} and is started again; its log: {self.part.log}")
            if stop.wait(pause_s):
                return
            pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)

    def ask_to_end(self) -> None:
        """After `stop` was set."""
        with self._lock:
            if self._process is not None and self._process.returncode is None:
                self._process.terminate()

    def kill(self) -> None:
        """It and what it started; what was told to end may not have."""
        if (pid := self.pid) is not None:
            _kill_group(pid)

    def _started(self) -> subprocess.Popen[bytes]:
        part = self.part
        self.starts += 1
        command = [sys.executable, "-m", "knative_mig.dev.whole.child", str(os.getpid()), part.module, *part.arguments]
        with part.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603  our own
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **part.variables},
                start_new_session=True,
            )


def ended(code: int) -> str:
    """As a person reads it."""
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
