"""Keeps one process of ours running: started anew when it ends, and said so; ended when `dev` ends.

Made by `process`, one for each of `parts`; `run` is a thread's body, for that thread is whom the process outlives by
nothing (`child`). `check` is for who waits for the first start: a part that ends again and again is not waited for. The
subtle thing is what a process leaves when it is killed: its group is killed after it, so that the workers of a dead
agent touch no GPU any more.
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

from knative_mig.core.errors import KnativeMigError
from knative_mig.core.events import shown

SHORTEST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 10.0
MOST_ENDS: Final = 3  # in succession, of which none had run for long
_LASTS_S: Final = 30.0  # who has run so long did not fail in starting
_LAST_WORDS_BYTES: Final = 4096  # of a log: a line that is longer begins in its middle
_LAST_WORDS: Final = 300


class PartFailed(KnativeMigError):
    reason = "PartFailed"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    name: str
    module: str
    arguments: tuple[str, ...]
    log: Path
    ready_at: tuple[str, int]  # who says at /readyz whether it is
    manifest: str  # that runs it on a cluster, under config/
    variables: Mapping[str, str] = field(default_factory=dict)


class Kept:
    def __init__(self, part: Part, tell: Callable[[str], None]) -> None:
        self.part = part
        self._tell = tell
        self._ends = 0  # in succession, of which none had run for long
        self._last_end = ""
        self._hung = ""  # why its process that was started last is not let be
        self._began = 0.0  # its process that was started last
        self._pause_s = SHORTEST_PAUSE_S  # before the next one is
        self._begins_at = 0  # in its log, of what the process that was started last says
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """None: it does not run now."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    def may_be_killed(self) -> int | None:
        """Its pid, where the next one would follow at once; None too: it would be put off."""
        with self._lock:
            return self.pid if self._pause_s == SHORTEST_PAUSE_S or self._has_lasted() else None

    def run(self, stop: threading.Event) -> None:
        while True:
            with self._lock:
                if stop.is_set():
                    return
                self._began, self._hung = time.monotonic(), ""
                try:
                    process = self._process = self._started()
                except OSError as error:  # no more processes, no room for its log
                    process, why = None, f"cannot be started: {error.strerror}"
            said = ""
            if process is not None:
                code = process.wait()
                why = ended(code)
                if self._hung and code == -signal.SIGKILL:
                    why = f"{self._hung}, {why}"
                _kill_group(process.pid)
                words = self._last_words(why)
                said = words if code != -signal.SIGKILL else ""  # of its end it knew nothing
            if stop.is_set():
                return
            if self._has_lasted():
                self._pause_s, self._ends = SHORTEST_PAUSE_S, 0
            self._last_end = f"{why}{said}; its log: {self.part.log}"
            self._ends += 1
            self._tell(
                f"{self.part.name} {why} and is started again{_in(self._pause_s)}{said}; its log: {self.part.log}"
            )
            if stop.wait(self._pause_s):
                return
            self._pause_s = min(LONGEST_PAUSE_S, 2 * self._pause_s)

    def check(self) -> None:
        """PartFailed: it ends whenever it is started."""
        if self._ends >= MOST_ENDS:
            raise PartFailed(f"{self.part.name} ends each time that it is started: it {self._last_end}")

    def ask_to_end(self) -> None:
        """After `stop` was set."""
        with self._lock:
            if self._process is not None and self._process.returncode is None:
                self._process.terminate()

    def end_hung(self, pid: int, why: str) -> None:
        """By SIGKILL: who does not answer hears nothing else, and each part survives that. `pid`: if it is still it."""
        with self._lock:
            if self.pid == pid:
                self._hung = why
                _kill_group(pid)

    def kill(self) -> None:
        """It and what it started; what was told to end may not have."""
        if (pid := self.pid) is not None:
            _kill_group(pid)

    def _has_lasted(self) -> bool:
        return time.monotonic() - self._began > _LASTS_S

    def _last_words(self, why: str) -> str:
        """The last line that it said, if any; where it could say nothing, for its disk is full, that."""
        try:
            with self.part.log.open("r+b", buffering=0) as log:
                end = log.seek(0, os.SEEK_END)
                log.seek(max(self._begins_at, end - _LAST_WORDS_BYTES))
                lines = log.read(_LAST_WORDS_BYTES).decode(errors="replace").split("\n")
                log.write(f"-- it {why}\n".encode())
        except OSError as error:
            return f"; its log cannot be written: {error.strerror}"
        last = next((each.strip() for each in reversed(lines) if each.strip()), "")
        return f"; it said last: {shown(last, _LAST_WORDS)}" if last else ""

    def _started(self) -> subprocess.Popen[bytes]:
        part = self.part
        command = [sys.executable, "-m", "knative_mig.dev.whole.child", str(os.getpid()), part.module, *part.arguments]
        with part.log.open("ab") as log:
            self._begins_at = log.tell()
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


def _in(pause_s: float) -> str:
    return f" in {pause_s:.0f} s" if pause_s >= 1.0 else ""


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
