"""Where a running `dev` keeps its files: a folder for as long as it runs, and one for what is to outlive it.

Made by `process`. Sockets have short paths, so the first is under the system's folder for temporary files; whoever runs
holds a lock in it, and the next start removes the folders that nobody holds, as kill -9 leaves them.
"""

import fcntl
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from knative_mig.core.errors import BadInput
from knative_mig.dev.whereabouts import KUBECONFIG, LOCK, home

_NETWORKS: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    run: Path
    kept: Path  # what `--state` names, or a folder in `run`
    networks: tuple[int, ...]  # which of 127.64.N.0/24 nobody else of this user has, one a node
    locks: tuple[int, ...]  # file descriptors; the locks go with the process

    @property
    def logs(self) -> Path:
        return self.kept / "logs"

    @property
    def pod_logs(self) -> Path:
        return self.kept / "pods"

    @property
    def kubeconfig(self) -> Path:
        """A user's."""
        return self.run / KUBECONFIG

    def remove(self) -> None:
        shutil.rmtree(self.run, ignore_errors=True)
        for each in self.locks:
            os.close(each)


def made(kept: Path | None, nodes: int = 1) -> Folders:
    """OSError. BadInput: others have all networks."""
    root = home()
    root.mkdir(mode=0o700, exist_ok=True)
    if root.stat().st_uid != os.getuid():
        raise PermissionError(f"{root} belongs to somebody else")
    for each in root.iterdir():
        _remove_if_left(each)
    run = Path(tempfile.mkdtemp(prefix="dev-", dir=root))
    lock = _taken(run / LOCK)
    assert lock is not None
    networks = _networks(root, nodes)
    folders = Folders(run=run, kept=kept or run / "kept", networks=tuple(networks), locks=(lock, *networks.values()))
    shutil.rmtree(folders.pod_logs, ignore_errors=True)  # of pods that are no more
    for each in (folders.logs, folders.pod_logs):
        each.mkdir(parents=True, exist_ok=True)
    return folders


def _networks(root: Path, nodes: int) -> dict[int, int]:
    """With the locks that say so: an address that looks free may be what another `dev` is about to give a pod."""
    found: dict[int, int] = {}
    for number in range(_NETWORKS):
        if len(found) < nodes and (lock := _taken(root / f"network-{number}")) is not None:
            found[number] = lock
    if len(found) < nodes:
        raise BadInput(f"all of 127.64.0.0/16 is taken by other knative-mig dev of yours, which lock {root}/network-*")
    return found


def _taken(path: Path) -> int | None:
    """The lock of it; None: somebody has it."""
    lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def _remove_if_left(folder: Path) -> None:
    try:
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return  # it runs
    else:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
