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

from knative_mig.dev.whereabouts import KUBECONFIG, LOCK, home


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    run: Path
    kept: Path  # what `--state` names, or a folder in `run`
    lock: int  # a file descriptor; the lock goes with the process

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

    def remove(self, *, keeps_logs: bool = False) -> None:
        """`keeps_logs`: the next start removes them."""
        if not (keeps_logs and self.kept.is_relative_to(self.run)):
            shutil.rmtree(self.run, ignore_errors=True)
        os.close(self.lock)


def made(kept: Path | None) -> Folders:
    """OSError."""
    root = home()
    root.mkdir(mode=0o700, exist_ok=True)
    if root.stat().st_uid != os.getuid():
        raise PermissionError(f"{root} belongs to somebody else")
    for each in root.iterdir():
        _remove_if_left(each)
    run = Path(tempfile.mkdtemp(prefix="", dir=root))
    unnamed = run / f"{LOCK}.new"
    lock = os.open(unnamed, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.write(lock, f"{os.getpid()}\n".encode())
    unnamed.rename(run / LOCK)  # who starts at the same time finds it held, or not at all
    folders = Folders(run=run, kept=kept or run / "kept", lock=lock)
    shutil.rmtree(folders.pod_logs, ignore_errors=True)  # of pods that are no more
    for each in (folders.logs, folders.pod_logs):
        each.mkdir(parents=True, exist_ok=True)
    return folders


def write(path: Path, text: str) -> None:
    """For its user alone. OSError, which names the file also where the disk has no room for the text."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


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
