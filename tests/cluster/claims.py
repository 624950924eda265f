"""Which test has a GPU node's slices to itself: tests on different nodes run side by side.

Test workers are processes, so a claim is a locked file. A test that is alone on the cluster needs no claim.
"""

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_FOLDER: Final = Path("build/e2e/claims")
_LOOKS_AGAIN_SECONDS: Final = 0.2


@contextmanager
def one_of(names: Sequence[str]) -> Iterator[str]:
    """Whichever is free first."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    files = {name: os.open(_FOLDER / name, os.O_RDWR | os.O_CREAT, 0o644) for name in names}
    try:
        while (claimed := _first_free(files)) is None:
            time.sleep(_LOOKS_AGAIN_SECONDS)
        yield claimed
    finally:
        for file in files.values():
            os.close(file)


def _first_free(files: dict[str, int]) -> str | None:
    for name, file in files.items():
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        return name
    return None
