"""The cgroup tree of the cluster: `/knative-mig-testbed/<control|node>/daemons` and, beside it, a node's `kubepods`.

It serves three ends: the kubelet's cgroupRoot, the figures of memory used, and the sweep: whatever runs below it is
ours, however it came to be. Both versions are handled. Version 2 is written by its documentation and was not run:
the machines at hand have version 1.
"""

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Final

from tests.cluster.testbed.errors import BadInputError, ClusterError
from tests.cluster.testbed.processes import Pid
from tests.cluster.testbed.topology import CGROUP

_MOUNT: Final = Path("/sys/fs/cgroup")
# The controllers that the kubelet insists on.
_NEEDED: Final = frozenset({"cpu", "cpuset", "memory", "pids"})


def version(mount: Path = _MOUNT) -> int:
    return 2 if (mount / "cgroup.controllers").exists() else 1


def _hierarchies(mount: Path = _MOUNT) -> list[Path]:
    """The roots: one with version 2; with version 1 one per controller, and `unified`, which runc uses too."""
    if version(mount) == 2:
        return [mount]
    # Links are second names of controllers that are mounted together.
    found = [path for path in sorted(mount.iterdir()) if path.is_dir() and not path.is_symlink()]
    return [path for path in found if (path / "cgroup.procs").exists()]


def check(mount: Path = _MOUNT) -> None:
    if version(mount) == 2:
        present = set((mount / "cgroup.controllers").read_text().split())
    else:
        present = {name for path in _hierarchies(mount) for name in path.name.split(",")}
    missing = sorted(_NEEDED - present)
    if missing:
        raise BadInputError(
            f"cgroup v{version(mount)} at {mount} lacks the controllers {', '.join(missing)}, which the kubelet needs: "
            "mount them, or in a container start it with the host's cgroup namespace"
        )


def create(member: str) -> tuple[str, ...]:
    """The folders that a daemon of this member (the control plane, or a node) joins."""
    groups = []
    for root in _hierarchies():
        parent = root
        for part in (CGROUP, member, "daemons"):
            if version() == 2:
                _delegate(parent)
            parent /= part
            parent.mkdir(exist_ok=True)
            if (parent / "cpuset.cpus").exists() and version() == 1:  # empty in a new one, and then nothing may join
                for name in ("cpuset.cpus", "cpuset.mems"):
                    (parent / name).write_text((parent.parent / name).read_text())
        groups.append(str(parent))
    return tuple(groups)


def _delegate(group: Path) -> None:
    """Version 2: lets children of a group have controllers. Refused (EBUSY) where the group itself holds processes."""
    wanted = " ".join(f"+{name}" for name in (group / "cgroup.controllers").read_text().split())
    try:
        (group / "cgroup.subtree_control").write_text(wanted)
    except OSError as error:
        raise BadInputError(
            f"cgroup v2: controllers cannot be handed down from {group} ({error.strerror}): run outside a container, "
            "or in one whose own processes sit in a child group"
        ) from None


def kubelet_root(node: str) -> str:
    return f"/{CGROUP}/{node}"


def _groups() -> list[Path]:
    """Every group of ours, children before parents."""
    found: list[Path] = []
    for root in _hierarchies():
        for folder, _, _ in os.walk(root / CGROUP, topdown=False):
            found.append(Path(folder))
    return found


def members(member: str = "") -> set[int]:
    """Process numbers below the tree, or below one member of it."""
    numbers: set[int] = set()
    for root in _hierarchies():
        for folder, _, _ in os.walk(root / CGROUP / member):
            with contextlib.suppress(OSError):
                numbers.update(int(line) for line in (Path(folder) / "cgroup.procs").read_text().split())
    return numbers - {0}  # 0: a process of another pid namespace


def exists() -> bool:
    return any((root / CGROUP).exists() for root in _hierarchies())


def _members_with_groups() -> list[str]:
    return sorted({path.name for root in _hierarchies() for path in (root / CGROUP).glob("*/") if path.is_dir()})


def kill(member: str = "", *, seconds: float = 10) -> int:
    """Ends every process below the tree (again and again: a shim may just be starting one); how many there were."""
    ended: set[Pid] = set()
    for name in [member] if member else _members_with_groups():
        thaw(name)  # a frozen process does not even hear SIGKILL with version 1
    deadline = time.monotonic() + seconds
    while numbers := members(member):
        if time.monotonic() > deadline:
            raise ClusterError(f"processes {sorted(numbers)} do not end, not even by SIGKILL")
        for pid in filter(None, map(Pid.of, numbers)):
            ended.add(pid)
            pid.signal(signal.SIGKILL)
        for number in numbers:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(number, os.WNOHANG)
        time.sleep(0.05)
    # A dying process leaves its cgroup before it leaves the machine.
    for pid in ended:
        if not pid.wait_gone(max(0.0, deadline - time.monotonic())):
            raise ClusterError(f"process {pid.number} does not end, not even by SIGKILL")
    return len(ended)


def _freezers(member: str) -> list[tuple[Path, str, str]]:
    """(file, word to hold, word to let go) for everything of a member."""
    if version() == 2:
        return [(_MOUNT / CGROUP / member / "cgroup.freeze", "1", "0")]
    # Groups below inherit it.
    return [
        (root / CGROUP / member / "freezer.state", "FROZEN", "THAWED")
        for root in _hierarchies()
        if "freezer" in root.name.split(",")
    ]


def freeze(member: str, *, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    for file, word, _ in _freezers(member):
        file.write_text(word)
        while file.read_text().strip() != word:  # version 1 says FREEZING until the last process has stopped
            if time.monotonic() > deadline:
                raise ClusterError(f"{member} does not freeze within {seconds:.0f} s")
            time.sleep(0.02)
            file.write_text(word)


def thaw(member: str) -> None:
    for file, _, word in _freezers(member):
        with contextlib.suppress(FileNotFoundError):
            file.write_text(word)


def is_frozen(member: str) -> bool:
    return any(file.exists() and file.read_text().strip() != word for file, _, word in _freezers(member))


def remove(seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while groups := _groups():
        for group in groups:
            with contextlib.suppress(OSError):  # busy for a moment after its last process ended
                group.rmdir()
        if time.monotonic() > deadline:
            raise ClusterError(f"cgroup {groups[0]} cannot be removed: something still runs in it")
        time.sleep(0.02)


def remove_pods(node: str, seconds: float = 5) -> None:
    """What a node's pods leave behind when they are killed with it. A kubelet that finds such groups at its start takes
    more than a minute to give them up, one by one; a real machine that was off has none.
    """
    deadline = time.monotonic() + seconds
    roots = [root / CGROUP / node for root in _hierarchies()]
    while left := [path for root in roots for path in root.glob("*/") if path.name != "daemons"]:
        for path in left:
            for folder, _, _ in os.walk(path, topdown=False):
                with contextlib.suppress(OSError):  # busy for a moment after its last process ended
                    Path(folder).rmdir()
        if time.monotonic() > deadline:
            raise ClusterError(f"cgroup {left[0]} cannot be removed: something still runs in it")
        time.sleep(0.02)


def memory_used(proc: Path = Path("/proc")) -> int:
    """Bytes in use by all processes of the cluster and its pods, shared pages counted once (PSS)."""
    total = 0
    for number in members():
        with contextlib.suppress(OSError):
            for line in (proc / str(number) / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total
