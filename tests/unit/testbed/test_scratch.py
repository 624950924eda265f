"""What a killed run left goes; what another process is making stays."""

import os
from pathlib import Path

import pytest

from tests.cluster.testbed.scratch import drop_unused, publish, remove_abandoned, scratch


def test_a_folder_being_made_goes_with_its_block(tmp_path: Path) -> None:
    with scratch(tmp_path / "new", "etcd") as path:
        (path / "half").touch()
    assert list((tmp_path / "new").iterdir()) == []


def test_only_what_a_dead_process_left_is_removed(tmp_path: Path) -> None:
    dead = 2**22 + 1  # above the kernel's largest process number
    for maker in (dead, os.getpid()):
        (tmp_path / f".{maker}-etcd-abc").mkdir()
    (tmp_path / "etcd-123").mkdir()
    remove_abandoned(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f".{os.getpid()}-etcd-abc", "etcd-123"]


def test_the_first_to_finish_wins(tmp_path: Path) -> None:
    for name in ("mine", "finished"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "who").write_text(name)
    publish(tmp_path / "mine", tmp_path / "finished")
    assert (tmp_path / "finished" / "who").read_text() == "finished"


def test_a_failure_to_publish_is_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        publish(tmp_path / "never made", tmp_path / "finished")


def test_earlier_versions_go_when_nobody_used_them_lately(tmp_path: Path) -> None:
    for name, age_in_days in (("a-1", 9), ("a-2", 1), ("b-1", 9)):
        (tmp_path / name).touch()
        then = (tmp_path / name).stat().st_mtime - age_in_days * 86400
        os.utime(tmp_path / name, (then, then))
    drop_unused(tmp_path, "a-*", days=7)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-2", "b-1"]
