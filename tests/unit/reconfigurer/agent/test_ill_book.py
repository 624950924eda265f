"""What XIDs said, as two agents after each other read it from the disk; what follows is told in the loop's tests."""

from collections.abc import Callable
from pathlib import Path

import pytest

from knative_mig.core.agent.health import BrokenSlice, Quarantine
from knative_mig.core.inventory import GpuUuid
from reconfigurer.agent.ill_book import IllBook
from tests.rigs.agent_worlds import slice_id

ONE, TWO = slice_id("A", "3g.20gb@0"), slice_id("A", "3g.20gb@4")
A, B = GpuUuid("GPU-A"), GpuUuid("GPU-B")
BROKEN = BrokenSlice(mig_uuid="MIG-1", why="XID 94: contained ECC error")
ILL = Quarantine(why="XID 95", since=0.0, mig_uuids=frozenset({"MIG-1", "MIG-2"}))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ill"


def opened(path: Path, boot_id: str = "boot-1") -> IllBook:
    return IllBook(path, boot_id)


def test_what_is_still_so_is_there_after_a_restart(path: Path) -> None:
    before = opened(path)
    assert (before.broken(), before.quarantine(A)) == ({}, None)
    before.broke(ONE, BROKEN)
    before.broke(TWO, BROKEN)
    before.mended(ONE)
    before.quarantined(A, Quarantine(why="XID 95", since=77.0, mig_uuids=ILL.mig_uuids, failed_since=True))
    before.quarantined(B, ILL)
    before.over(B)
    after = opened(path)
    assert after.broken() == {TWO: BROKEN}
    assert (after.quarantine(A), after.quarantine(B)) == (ILL, None)


def test_of_another_boot_nothing_is_believed_and_the_next_word_replaces_it(path: Path) -> None:
    before = opened(path)
    before.broke(ONE, BROKEN)
    before.quarantined(A, ILL)
    after = opened(path, "boot-2")
    assert (after.broken(), after.quarantine(A)) == ({}, None)
    after.broke(TWO, BROKEN)
    assert opened(path, "boot-2").broken() == {TWO: BROKEN}
    assert not path.with_name("ill.damaged").exists()


def test_it_is_written_when_something_changes_and_then_only(path: Path) -> None:
    book = opened(path)
    for _ in range(2):
        book.mended(ONE)
        book.over(A)
        book.try_again()
    assert not path.exists()
    book.broke(ONE, BROKEN)
    written = path.stat().st_ino  # each write makes another file
    for _ in range(2):
        book.broke(ONE, BROKEN)
        book.mended(TWO)
        book.try_again()
    assert path.stat().st_ino == written


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda text: text[: len(text) // 2], id="torn"),
        pytest.param(lambda text: text.replace("MIG-1", "MIG-9"), id="edited"),
        pytest.param(lambda text: text.replace('"version": 1', '"version": 2'), id="of a newer version"),
        pytest.param(lambda _: "[]", id="of another shape"),
        pytest.param(lambda _: "", id="empty"),
    ],
)
def test_what_is_damaged_is_set_aside_and_begun_anew(path: Path, damage: Callable[[str], str]) -> None:
    opened(path).broke(ONE, BROKEN)
    path.write_text(damage(path.read_text()))
    after = opened(path)
    assert after.broken() == {}
    assert path.with_name("ill.damaged").exists()
    after.broke(TWO, BROKEN)
    assert opened(path).broken() == {TWO: BROKEN}


def test_what_the_disk_does_not_take_is_known_said_once_and_tried_again(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    book = opened(path)
    in_the_way = path.with_name("ill.new")
    in_the_way.mkdir()  # nothing can be written there
    book.broke(ONE, BROKEN)
    book.quarantined(A, ILL)
    book.try_again()
    assert (book.broken(), book.quarantine(A)) == ({ONE: BROKEN}, ILL)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    in_the_way.rmdir()
    book.try_again()
    assert (opened(path).broken(), opened(path).quarantine(A)) == ({ONE: BROKEN}, ILL)


def test_a_folder_that_cannot_be_read_stops_no_agent(path: Path) -> None:
    path.mkdir()
    book = opened(path)
    book.broke(ONE, BROKEN)
    assert book.broken() == {ONE: BROKEN}
