"""Says when the disk of `dev`'s files is full, and when it is so no more: who meets it says so in a log, on that disk.

Asked by `process` again and again while all runs; and once by `cluster`, how large that disk is.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

LEAST_BYTES: Final = 64 * 1024  # with less an agent's journal has no room


class Room:
    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        self._folder, self._tell = folder, tell
        self._is_there = True

    def look(self) -> None:
        is_there = _has_room(self._folder)
        if is_there != self._is_there:
            self._is_there = is_there
            self._tell(
                f"{self._folder}: there is room again"
                if is_there
                else f"{self._folder}: no space left on its disk: until there is, no slice is made or destroyed, and "
                "nothing is logged"
            )


def disk_of(folder: Path) -> str:
    """Its whole size as a kubelet prints it, whatever is free. OSError."""
    disk = os.statvfs(folder)
    return f"{disk.f_blocks * disk.f_frsize // 1024}Ki"


def _has_room(folder: Path) -> bool:
    try:
        disk = os.statvfs(folder)
    except OSError:
        return True  # it may be anything, but is not known to be full
    has_files = disk.f_favail > 0 or disk.f_files == 0  # some file systems count none
    return disk.f_bavail * disk.f_frsize >= LEAST_BYTES and has_files
