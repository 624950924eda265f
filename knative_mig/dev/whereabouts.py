"""Finds the `dev` that this user runs, for the verbs: each has a folder of its own, with its kubeconfig in it.

The folders are made by `dev`'s process, which holds a lock in its own for as long as it lives. The subtle thing is that
lock: the kernel lets go of it however its holder ends, so a folder that kill -9 left behind is not taken for a `dev`.
"""

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LOCK: Final = "lock"  # holds the process's id, and is held by it
KUBECONFIG: Final = "kubeconfig"
GATEWAY: Final = "gateway"  # HOST:PORT, written before the kubeconfig
# Bytes of a path below which there are sockets: the kernel takes 107, and the last folders of a slice's are named after
# the run, the node and the whole slice.
_LONGEST: Final = 107 - len("/12345678/n15/s/GPU-504d19ff-7c8c-4433-bf36-bcb1ef21a5e8-1g.24gb+me.all-7/agent.sock")


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    pid: int
    is_stopped: bool  # by Ctrl-Z, or a debugger


def home() -> Path:
    """Of all that this user runs."""
    name = f"knative-mig-{os.getuid()}"
    wanted = Path(tempfile.gettempdir(), name)
    return wanted if len(os.fsencode(wanted)) <= _LONGEST else Path("/tmp", name)  # noqa: S108


def kubeconfig_of_running(at: Path | None = None) -> Path | None:
    """Of the one that was started last. `at`: in place of `home`."""
    found = {}
    for each in _running(at or home()):
        with suppress(OSError):  # it has just ended
            found[each] = each.stat().st_mtime
    return max(found, key=found.__getitem__, default=None)


def gateway_beside(server: str) -> str | None:
    """HOST:PORT of the one whose API server that is. None: this user runs none."""
    with suppress(OSError):
        folder = _of_server(server)
        return None if folder is None else (folder / GATEWAY).read_text()
    return None


def process_beside(server: str) -> Process | None:
    """Of the one whose API server that is. None: this user runs none."""
    with suppress(OSError, ValueError, IndexError):
        if (folder := _of_server(server)) is not None:
            pid = int((folder / LOCK).read_text())
            state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
            return Process(pid=pid, is_stopped=state in "Tt")
    return None


def is_of_one_that_ended(kubeconfig: Path) -> bool:
    """Whether a `dev` of this user has written it, and runs no more: mostly the file has gone with it."""
    is_ours = kubeconfig.name == KUBECONFIG and kubeconfig.absolute().parent.parent == home()
    return is_ours and not (kubeconfig.is_file() and _is_held(kubeconfig.with_name(LOCK)))


def _of_server(server: str) -> Path | None:
    for kubeconfig in _running(home()):
        with suppress(OSError, ValueError):  # it goes, or is only just being written
            if json.loads(kubeconfig.read_text())["clusters"][0]["cluster"]["server"] == server:
                return kubeconfig.parent
    return None


def _running(at: Path) -> Iterator[Path]:
    try:
        folders = [*at.iterdir()] if at.stat().st_uid == os.getuid() else []
    except OSError:
        return
    for folder in folders:
        if (folder / KUBECONFIG).is_file() and _is_held(folder / LOCK):
            yield folder / KUBECONFIG


def _is_held(path: Path) -> bool:
    try:
        lock = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False
