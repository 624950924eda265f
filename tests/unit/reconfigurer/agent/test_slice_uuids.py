"""The file of slices and their MIG UUIDs, as two agents after each other read it. Damage is told in `test_desk`."""

from pathlib import Path

import pytest

from reconfigurer.agent.slice_uuids import SliceUuids
from tests.rigs.agent_worlds import slice_id

ONE, TWO = slice_id("A", "3g.20gb@0"), slice_id("A", "3g.20gb@4")


def test_what_was_remembered_and_not_forgotten_is_there_after_a_restart(tmp_path: Path) -> None:
    before = SliceUuids(tmp_path / "released")
    before.remember({ONE: "MIG-1"})
    before.remember({TWO: "MIG-2"})
    before.forget(ONE)
    before.forget(ONE)
    after = SliceUuids(tmp_path / "released")
    assert after.all() == {TWO: "MIG-2"}
    assert after.uuid_of(ONE) is None


def test_what_a_full_disk_did_not_take_is_written_when_it_is_asked_for_again(tmp_path: Path) -> None:
    book = SliceUuids(tmp_path / "released")
    book.remember({ONE: "MIG-1"})
    in_the_way = tmp_path / "released.new"
    in_the_way.mkdir()  # nothing can be written there
    with pytest.raises(OSError, match="released"):
        book.forget(ONE)
    assert SliceUuids(tmp_path / "released").all() == {ONE: "MIG-1"}
    in_the_way.rmdir()
    book.forget(ONE)
    assert SliceUuids(tmp_path / "released").all() == {}
