"""A `knative-mig dev` that runs, as its user has it: a command, what it printed, its files and its processes.

`started` runs one; `of_log` finds one that another process has started. What belongs to one is told by its folder,
which each of its processes has among its arguments or in its environment.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cluster.waits import eventually

ROOT: Final = Path(__file__).parents[2]
# A busy machine takes long; how long it is to take is measured elsewhere.
STARTS_WITHIN_S: Final = 90.0
ENDS_WITHIN_S: Final = 60.0
_FILES: Final = 1024  # that a process may have open, where nobody has set up a machine for more
COMMAND: Final = (sys.executable, "-m", "knative_mig.cli.main", "dev")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningDev:
    log: Path
    pid: int

    @property
    def printed(self) -> str:
        return self.log.read_text()

    @property
    def kubeconfig(self) -> Path:
        return Path(self._told(r"export KUBECONFIG=(\S+)"))

    @property
    def folder(self) -> Path:
        """Of its files, for as long as it runs."""
        return self.kubeconfig.parent

    @property
    def logs(self) -> Path:
        return Path(self._told(r"logs +(\S+)"))

    @property
    def port(self) -> int:
        """Of functions."""
        return int(self._told(r"functions +http://\S+:(\d+)"))

    @property
    def api(self) -> str:
        return self._told(r"API +(http://\S+)")

    @property
    def gateway(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _told(self, pattern: str) -> str:
        found = re.search(pattern, self.printed)
        assert found is not None, f"{pattern} is not in what it printed: {self.printed}"
        return found[1]

    def processes(self) -> dict[int, str]:
        """What it has started and itself, by their ids."""
        return processes_of(self.folder) | ({self.pid: "dev"} if Path(f"/proc/{self.pid}").exists() else {})

    def pids(self, word: str) -> list[int]:
        """Of those whose command line has the word."""
        return [pid for pid, command in self.processes().items() if word in command]


def processes_of(folder: Path) -> dict[int, str]:
    found = {}
    name = os.fsencode(folder)
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            command = (process / "cmdline").read_bytes()
            if command and (name in command or name in (process / "environ").read_bytes()):
                found[int(process.name)] = command.replace(b"\0", b" ").decode(errors="replace").strip()
    return found


def of_log(log: Path) -> RunningDev:
    """That which prints there; its id stands beside it."""
    return RunningDev(log=log, pid=int(_pid_file(log).read_text()))


def _pid_file(log: Path) -> Path:
    return log.with_suffix(".pid")


class Started:
    """One that this process has started: it can be told to end, and be killed."""

    def __init__(self, log: Path, *options: str) -> None:
        self._began = time.monotonic()
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                ["sh", "-c", f'ulimit -S -n {_FILES}; exec "$@"', "sh", *COMMAND, *options],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        _pid_file(log).write_text(str(self._process.pid))
        self.running = of_log(log)
        try:
            eventually("it says that it is ready", self._is_ready, seconds=STARTS_WITHIN_S)
            self.folder = self.running.folder
        except BaseException:
            self.kill()
            raise

    def _is_ready(self) -> bool:
        code = self._process.poll()
        if code is not None:
            raise RuntimeError(f"it ended with {code}: {self.running.printed}")
        return "Ctrl-C" in self.running.printed

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def interrupt(self) -> int:
        """As Ctrl-C does; its exit code."""
        self.send(signal.SIGINT)
        return self._process.wait(ENDS_WITHIN_S)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def leaves_nothing(self) -> None:
        """After its end: no process and no file."""
        eventually("its processes have gone", lambda: processes_of(self.folder), lambda left: not left, seconds=30)
        assert not self.folder.exists(), list(self.folder.rglob("*"))

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None


@contextlib.contextmanager
def started(log: Path, *options: str) -> Iterator[Started]:
    """Ended in the end as its user would end it, if it has not been yet."""
    dev = Started(log, *options)
    try:
        yield dev
    finally:
        if not dev.ended:
            try:
                dev.interrupt()
            finally:
                dev.kill()


def refused(*options: str) -> str:
    """What one says that does not start, because of what it is told: its exit code is 2."""
    done = subprocess.run(
        [*COMMAND, *options],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, f"{done.returncode}: {done.stdout}{done.stderr}"
    return done.stderr
