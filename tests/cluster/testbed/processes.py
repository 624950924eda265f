"""Starts, records, finds and ends the processes of the cluster.

A record (one JSON file per component) holds what is needed to end *and to start again* the component from another
process, and the start time of its pid: a pid that was given to somebody else since is never touched. What has no
record (containers, shims, a process caught between start and record) is found by its cgroup; see cgroups.py.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.cluster.testbed.errors import ClusterError
from tests.cluster.testbed.layout import State


def _stat(number: int, proc: Path) -> list[str]:
    """The fields of /proc/<number>/stat from the third (the state) on; empty where there is no such process."""
    try:
        text = (proc / str(number) / "stat").read_text()
    except OSError:
        return []
    # The second field is the command in parentheses and may itself hold spaces and parentheses.
    return text.rpartition(")")[2].split()


def _threads(number: int, proc: Path) -> int:
    """A process is a zombie from the end of its first thread; until the last one ends it still holds its ports."""
    try:
        return sum(1 for _ in (proc / str(number) / "task").iterdir())
    except OSError:
        return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pid:
    """A process for good: the number alone is given to another one after its end."""

    number: int
    start_time: int  # clock ticks since boot, from /proc

    @classmethod
    def of(cls, number: int, proc: Path = Path("/proc")) -> "Pid | None":
        """The process that has this number now; None where there is none, or only its remains."""
        fields = _stat(number, proc)
        if not fields or (fields[0] in "ZX" and _threads(number, proc) <= 1):
            return None
        return cls(number=number, start_time=int(fields[19]))

    def alive(self, proc: Path = Path("/proc")) -> bool:
        return Pid.of(self.number, proc) == self

    def stopped(self, proc: Path = Path("/proc")) -> bool:
        """Whether it is held by SIGSTOP."""
        return _stat(self.number, proc)[:1] == ["T"]

    def signal(self, number: signal.Signals) -> None:
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.number, number)

    def wait_gone(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(ChildProcessError):  # reap it where it is a child of ours
                os.waitpid(self.number, os.WNOHANG)
            if not self.alive():
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Where a process lives: its namespaces (files to enter) and cgroups (folders to join)."""

    network: str
    mounts: str | None
    cgroups: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """How a component is started."""

    name: str
    argv: tuple[str, ...]
    home: Home
    log: str
    environment: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    command: Command
    pid: Pid | None

    @property
    def name(self) -> str:
        return self.command.name

    @property
    def alive(self) -> bool:
        return self.pid is not None and self.pid.alive()


# Joins the cgroups before anything else, so that a run killed at any moment leaves no process outside them.
_LAUNCH = 'groups=$1; shift; for group in $groups; do echo $$ > "$group/cgroup.procs" || exit 97; done; exec "$@"'


def start(state: State, command: Command) -> Component:
    argv = ["/bin/sh", "-c", _LAUNCH, "sh", " ".join(command.home.cgroups), "nsenter", f"--net={command.home.network}"]
    if command.home.mounts:
        argv.append(f"--mount={command.home.mounts}")
    log = Path(command.log)
    log.parent.mkdir(parents=True, exist_ok=True)
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    number = os.posix_spawn(
        argv[0],
        [*argv, "--", *command.argv],
        {"PATH": os.environ["PATH"], "HOME": "/", **command.environment},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), append, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    component = Component(command=command, pid=Pid.of(number))
    write(state, component)
    return component


def _record(state: State, name: str) -> Path:
    return state.records / f"{name}.json"


def write(state: State, component: Component) -> None:
    path = _record(state, component.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    half_written = path.with_suffix(".tmp")
    half_written.write_text(json.dumps(asdict(component), indent=1))
    half_written.replace(path)


def find(state: State, name: str) -> Component:
    try:
        entry = json.loads(_record(state, name).read_text())
    except FileNotFoundError:
        known = ", ".join(component.name for component in components(state)) or "none: is the cluster up?"
        raise ClusterError(f"no component {name}; there are {known}") from None
    command = entry["command"]
    home = Home(
        network=command["home"]["network"],
        mounts=command["home"]["mounts"],
        cgroups=tuple(command["home"]["cgroups"]),
    )
    return Component(
        command=Command(
            name=command["name"],
            argv=tuple(command["argv"]),
            home=home,
            log=command["log"],
            environment=command["environment"],
        ),
        pid=Pid(**entry["pid"]) if entry["pid"] else None,
    )


def components(state: State) -> list[Component]:
    return [find(state, path.stem) for path in sorted(state.records.glob("*.json"))]


def end(targets: Iterable[Component], *, grace: float) -> None:
    """SIGTERM to all, then SIGKILL to those that are still there after `grace` seconds."""
    pids = [target.pid for target in targets if target.pid]
    if grace > 0:
        for pid in pids:
            pid.signal(signal.SIGTERM)
            pid.signal(signal.SIGCONT)  # a paused one cannot hear the first
    deadline = time.monotonic() + grace
    for pid in pids:
        if not pid.wait_gone(max(0.0, deadline - time.monotonic())):
            pid.signal(signal.SIGKILL)
    for pid in pids:
        if not pid.wait_gone(5):
            raise ClusterError(f"process {pid.number} does not end, not even by SIGKILL")
