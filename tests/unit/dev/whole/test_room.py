"""A full disk is said once, and once that it is full no more."""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from knative_mig.dev.whole.room import Room, disk_of

GB = 1 << 30


def disk(*, free: int, files: int, free_files: int) -> SimpleNamespace:
    return SimpleNamespace(f_bavail=free // 4096, f_frsize=4096, f_files=files, f_favail=free_files)


FREE = disk(free=GB, files=1000, free_files=1000)


@pytest.mark.parametrize(
    "full",
    [disk(free=8192, files=1000, free_files=1000), disk(free=GB, files=1000, free_files=0)],
    ids=["no bytes", "no files"],
)
def test_a_full_disk_is_said_once_and_that_there_is_room_again(
    monkeypatch: pytest.MonkeyPatch, full: SimpleNamespace
) -> None:
    seen = [FREE, full, full, FREE, disk(free=GB, files=0, free_files=0), FREE]
    monkeypatch.setattr(os, "statvfs", lambda _: seen.pop(0))
    said: list[str] = []
    room = Room(Path("/state"), said.append)
    while seen:
        room.look()
    assert said == [
        "/state: no space left on its disk: until there is, no slice is made or destroyed, and nothing is logged",
        "/state: there is room again",
    ]


def test_a_disks_size_is_what_a_kubelet_would_print(tmp_path: Path) -> None:
    assert disk_of(tmp_path) == f"{shutil.disk_usage(tmp_path).total // 1024}Ki"
