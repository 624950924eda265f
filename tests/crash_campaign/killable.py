"""The process that is killed: what it announces comes in here, and it dies while it waits for the answer to one.

Made by the worlds, one for each run; told by `campaign` what to aim at. A new process is started at once, as a kubelet
would. The subtle thing is that announcements of a dead process may still be under way: they count for nothing.
"""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.crash_campaign.hosts import ForkHost
from tests.crash_campaign.points import Aim, Victim, When

LOOK_EACH_S: Final = 0.03


class Killable:
    """`order`: what each process is started with; it connects to `announcements`. `log` is the file that all write.
    `kill_worker`: has the process's own worker die at that call, which the process itself outlives.
    """

    def __init__(
        self,
        host: ForkHost,
        order: Mapping[str, object],
        *,
        announcements: Path,
        log: Path,
        stacks: Path,
        kill_worker: Callable[[str, When], None] | None = None,
    ) -> None:
        self.step = ""
        self.calls: list[tuple[str, str]] = []  # each call's step and name
        self.killed_at: float | None = None  # monotonic, of the last kill
        self.done: set[str] = set()  # the calls that the process which runs now has come back from
        self._host, self._order = host, order
        self._log, self._stacks = log, stacks
        self._kill_worker = kill_worker
        self._lock = threading.Lock()
        self._aim: Aim | None = None
        self._pid: int | None = None
        self._ending = False
        self._hearing: list[threading.Thread] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(announcements))
        self._listener.listen()
        self._listener.settimeout(10.0)

    def start(self) -> None:
        self.done = set()
        self._pid = self._host.start(self._order)
        hears = threading.Thread(target=self._hear, args=(self._pid,), name=f"hear-{self._pid}")
        self._hearing.append(hears)
        hears.start()

    def end(self) -> None:
        """For good, also while it is at a point."""
        with self._lock:
            self._ending = True
            pid, self._pid = self._pid, None
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            self._host.wait(pid)

    def close(self) -> None:
        self.end()
        self._listener.close()
        for thread in self._hearing:
            thread.join()

    def begin(self, step: str, aim: Aim | None) -> None:
        with self._lock:
            self.step, self._aim, self.killed_at = step, aim, None

    def wait_for_strike(self, within_s: float) -> bool:
        """What is called now and then comes by itself."""
        deadline = time.monotonic() + within_s
        while self.killed_at is None and time.monotonic() < deadline:
            time.sleep(LOOK_EACH_S)
        return self.killed_at is not None

    def aim_at_nothing(self) -> None:
        """What is called from now on, between two steps, is nobody's point."""
        with self._lock:
            self._aim = None

    def words(self) -> str:
        """All that its processes have logged, and what the threads of the last one are at."""
        with self._lock:
            if self._pid is not None:
                os.kill(self._pid, signal.SIGUSR1)
        time.sleep(0.5)
        return "\n".join(path.read_text() for path in (self._log, self._stacks) if path.exists())

    def _hear(self, pid: int) -> None:
        connection, _ = self._listener.accept()
        # One that is killed may leave an answer unread.
        with connection, connection.makefile("rb") as announcements, suppress(ConnectionResetError):
            for line in announcements:
                when, call = json.loads(line)
                if not self._goes_on(pid, When(when), call):
                    break
                with suppress(OSError):
                    connection.sendall(b"\n")

    def _goes_on(self, pid: int, when: When, call: str) -> bool:
        with self._lock:
            if pid != self._pid:
                return True
            if when is When.BEFORE:
                self.calls.append((self.step, call))
            else:
                self.done.add(call)
            if self._ending or self._aim is None or not self._aim.strikes(call, when):
                return True
            point, self._aim = self._aim.point, None
            if point.victim is Victim.WORKER:
                self.killed_at = time.monotonic()
                assert self._kill_worker is not None
                self._kill_worker(call, point.when)
                return True
            self.done = set()  # whoever looks while it dies must not take its word for its successor's
            self.killed_at = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            self._host.wait(pid)
            self.start()
            return False
