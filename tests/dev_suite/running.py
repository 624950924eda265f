"""Where a running `knative-mig dev` is, what belongs to it, and how it is ended.

`started` runs one that this process can end and kill; `At` is what anybody can know of one, and other processes read it
from a file. What belongs to one is told by its folder, which each of its processes has among its arguments or in its
environment.
"""

import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from tests.cluster.waits import eventually
from tests.rigs.running_dev import WITHIN_S, RunningDev, limited

ROOT: Final = Path(__file__).parents[2]
# That a process may have open, where nobody has set up a machine for more.
_FILES: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class At:
    pid: int
    folder: str  # of its files, for as long as it runs
    logs: str
    port: int  # of functions
    api: str

    @classmethod
    def of(cls, dev: RunningDev) -> Self:
        logs = re.search(r"^ +logs +(\S+)", dev.said, re.MULTILINE)
        assert logs is not None, dev.said
        return cls(pid=dev.process.pid, folder=str(dev.folder), logs=logs[1], port=dev.port, api=dev.api)

    @classmethod
    def read(cls, file: Path) -> Self:
        return cls(**json.loads(file.read_text()))

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self)))

    @property
    def kubeconfig(self) -> Path:
        return Path(self.folder, "kubeconfig")

    @property
    def gateway(self) -> str:
        return f"127.0.0.1:{self.port}"

    def processes(self) -> dict[int, str]:
        """That it has started: their command lines, by their ids."""
        return processes_of(self.folder)


def processes_of(folder: str) -> dict[int, str]:
    found = {}
    name = folder.encode()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            command = (process / "cmdline").read_bytes()
            if command and (name in command or name in (process / "environ").read_bytes()):
                found[int(process.name)] = command.replace(b"\0", b" ").decode(errors="replace").strip()
    return found


@contextlib.contextmanager
def started(*options: str, files: int | None = None) -> Iterator[RunningDev]:
    """Ended in the end as its user would end it, if it has not been yet. `files`: it may never have more open."""
    dev = RunningDev(*options, files=files)
    if files is None:
        _, most = resource.prlimit(dev.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(dev.process.pid, resource.RLIMIT_NOFILE, (min(_FILES, most), most))
    with dev:
        yield dev


def interrupted(dev: RunningDev) -> int:
    """By Ctrl-C; its exit code."""
    dev.process.send_signal(signal.SIGINT)
    return dev.process.wait(WITHIN_S)


def leaves_nothing(folder: str) -> None:
    """After its end: no process and no file."""
    eventually("its processes have gone", lambda: processes_of(folder), lambda left: not left, seconds=30)
    assert not Path(folder).exists(), [*Path(folder).rglob("*")]


def refused(*options: str, code: int = 2, files: int | None = None, **variables: str) -> str:
    """What one says that does not start, because of what it is told: its exit code is 2."""
    done = subprocess.run(
        [*limited(files), sys.executable, "-m", "knative_mig.cli", "dev", "--port", "0", "--api-port", "0", *options],
        cwd=ROOT, env={**os.environ, **variables}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=WITHIN_S, check=False,
    )  # fmt: skip
    assert done.returncode == code, f"{done.returncode}: {done.stdout}{done.stderr}"
    return done.stderr
