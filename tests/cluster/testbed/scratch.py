"""Folders in the cache that are being made: a killed run leaves one, and another process may be making one right now.

The name carries the maker's process number, so that only what its maker left is removed. A finished folder is renamed
into place: what has its final name is whole.
"""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def scratch(folder: Path, name: str) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{os.getpid()}-{name}-", dir=folder) as path:
        yield Path(path)


def publish(made: Path, finished: Path) -> None:
    try:
        made.rename(finished)
    except OSError:
        if not finished.is_dir():  # somebody else finished the same first
            raise


def remove_abandoned(folder: Path) -> None:
    for path in folder.glob(".*-*"):
        maker = path.name[1:].partition("-")[0]
        if maker.isdigit() and not _runs(int(maker)):
            shutil.rmtree(path, ignore_errors=True)


def drop_unused(folder: Path, pattern: str, *, days: float) -> None:
    """Removes earlier versions that nobody asked for lately. Who uses an entry touches it."""
    oldest = time.time() - days * 86400
    for path in folder.glob(pattern):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime >= oldest:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def _runs(number: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, 0)
        return True
    return False
