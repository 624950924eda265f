"""A journal's file that is torn, flipped, foreign, full or held by another: what counts is whole, the rest is kept."""

import errno
import os
import resource
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from knative_mig.adapters.journal_file import JournalFile, _read
from knative_mig.core.gpu_node import SliceKey
from knative_mig.core.inventory import GpuUuid
from knative_mig.core.profile import ProfileName
from knative_mig.ports.journal import Intent, JournalUnwritable, Opened, Operation

A = GpuUuid("GPU-a")
HALF = SliceKey(profile=ProfileName.parse("3g.20gb"), start=4)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def opened(path: Path) -> tuple[Opened, Intent]:
    """What is found, and proof that it can be written on."""
    journal, found = JournalFile.open(path, "boot-1")
    new = journal.intend(Operation.CREATE, A, HALF)
    journal.close()
    return found, new


def written(path: Path) -> tuple[Intent, ...]:
    """Three intents, of which the second is done; what is open."""
    journal, _ = JournalFile.open(path, "boot-1")
    first, second, third = (journal.intend(Operation.DESTROY, A, HALF, mig_uuid=f"MIG-{at}") for at in range(3))
    journal.done(second)
    journal.close()
    return first, second, third


def kept(path: Path) -> list[bytes]:
    return [each.read_bytes() for each in sorted(path.parent.glob(f"{path.name}.damaged-*"))]


def record(text: str, version: int = 1) -> bytes:
    return b"%d %08x %s\n" % (version, zlib.crc32(text.encode()), text.encode())


def test_a_file_cut_at_any_byte_gives_what_is_whole_and_is_written_on(path: Path) -> None:
    first, second, third = written(path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        for aside in path.parent.glob("*.damaged-*"):
            aside.unlink()
        lines = whole[:length].count(b"\n")
        # last, probe, three intents, an end
        expected = {2: (), 3: (first,), 4: (first, second), 5: (first, second, third)}.get(lines, ())

        read = _read(path)
        torn = length > 0 and whole[length - 1 : length] != b"\n"
        assert (tuple(read.intents.values()), bool(read.damaged)) == (expected, torn), length

        if length % 13 == 0:
            found, new = opened(path)
            assert found.intents == expected
            assert kept(path) == ([whole[:length]] if torn else [])
            assert new.number > max((each.number for each in expected), default=0)
            assert opened(path)[0] == Opened(intents=(*expected, new))


def test_any_flipped_bit_loses_one_record_at_most_and_is_told(path: Path) -> None:
    written(path)
    whole = path.read_bytes()
    for at in range(len(whole)):
        for bit in (0, 1, 5):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
            read = _read(path)
            assert read.damaged, at
            # Without its end the second is open too. A line's end that is lost ties two records together.
            assert len({1, 3} ^ read.intents.keys()) <= (2 if whole[at : at + 1] == b"\n" else 1), at


@pytest.mark.parametrize("at", [0, 11, 150, -1])
def test_a_flipped_file_is_kept_as_it_was_and_a_sound_one_takes_its_place(path: Path, at: int) -> None:
    written(path)
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)

    found, new = opened(path)

    assert found.damaged
    assert kept(path) == [bytes(data)]
    assert opened(path)[0] == Opened(intents=(*found.intents, new))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x00" * 4096, "line 1: it was torn"),
        (b"not a journal\n", "line 1: it does not match its checksum"),
        (record('{"intent":7,"a":1}', version=2), "it has version 2: this knative-mig reads 1"),
        (record("[1]"), "it is not an object"),
        (record("[" * 100_000), "it is not JSON"),
        (record('{"strange":1}'), "it is no record of this version"),
        (record('{"intent":7}'), "a field of its intent is missing"),
        (
            record('{"intent":7,"operation":"paint","gpu":"GPU-a","profile":"3g.20gb","start":0,"boot_id":"b"}'),
            "'paint' is not a valid Operation",
        ),
        (
            record('{"intent":7,"operation":"create","gpu":"GPU-a","profile":"huge","start":0,"boot_id":"b"}'),
            "'huge' is not a MIG profile",
        ),
    ],
    ids=["zeros", "text", "newer", "list", "deep", "record", "fields", "operation", "profile"],
)
def test_what_is_no_journal_is_set_aside_and_a_new_one_begun(path: Path, data: bytes, says: str) -> None:
    path.write_bytes(data)
    found, new = opened(path)
    assert says in found.damaged
    assert found.damaged.endswith("; the file is kept as journal.damaged-1")
    assert kept(path) == [data]
    assert opened(path)[0] == Opened(intents=(new,))


def test_each_damaged_file_is_kept(path: Path) -> None:
    for data in (b"one\n", b"two\n"):
        path.write_bytes(data)
        opened(path)
    assert kept(path) == [b"one\n", b"two\n"]


def test_fields_of_a_later_version_are_passed_over(path: Path) -> None:
    path.write_bytes(
        record(
            '{"intent":7,"operation":"create","gpu":"GPU-a","profile":"3g.20gb","start":4,"boot_id":"b","mig_uuid":null,'
            '"colour":"blue"}'
        )
    )
    found, new = opened(path)
    assert not found.damaged
    assert [(each.number, each.slice) for each in found.intents] == [(7, HALF)]
    assert new.number == 8


def test_the_file_does_not_grow_for_ever(path: Path) -> None:
    journal, _ = JournalFile.open(path, "boot-1", most_records=20)
    kept_open = journal.intend(Operation.CREATE, A, HALF)
    for _ in range(50):
        journal.done(journal.intend(Operation.CREATE, A, HALF))
    journal.close()
    assert path.read_bytes().count(b"\n") <= 21
    found, _ = opened(path)
    assert found.intents == (kept_open,)


class SlowDisk:
    """Its first write after `begin` takes until that many records wait for the next."""

    def __init__(self, path: Path, gather: int) -> None:
        self.syncs: list[int] = []  # how many lines each made durable
        self.refuses = False
        self._lines, self._gather, self._slow = 0, gather, False
        self.path = path
        self.journal, _ = JournalFile.open(path, "boot-1", sync=self.sync)

    def begin(self) -> None:
        self.syncs, self._slow, self._lines = [], True, self.path.read_bytes().count(b"\n")

    def sync(self, file: int) -> None:
        if self._slow and not self.syncs:
            while len(self.journal._waiting) < self._gather:
                os.sched_yield()
        os.fdatasync(file)
        lines = self.path.read_bytes().count(b"\n")
        self.syncs.append(lines - self._lines)
        self._lines = lines
        if self.refuses and len(self.syncs) == 2:
            raise OSError(errno.EIO, "the disk is broken")

    def write_at_once(self, callers: int) -> tuple[list[Intent], list[str]]:
        """The intents that were written down, and what the others were told."""
        made: list[Intent] = []
        refused: list[str] = []

        def one() -> None:
            try:
                made.append(self.journal.intend(Operation.CREATE, A, HALF))
            except JournalUnwritable as error:
                refused.append(str(error))

        self.begin()
        threads = [Thread(target=one) for _ in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return made, refused


def test_who_comes_while_the_disk_writes_shares_the_next_write(path: Path) -> None:
    disk = SlowDisk(path, gather=7)
    made, refused = disk.write_at_once(8)
    assert (disk.syncs, refused) == ([1, 7], [])
    disk.journal.close()
    assert opened(path)[0] == Opened(intents=tuple(sorted(made, key=lambda intent: intent.number)))


def test_an_end_is_written_at_once_and_on_the_disk_with_the_next_intent(path: Path) -> None:
    disk = SlowDisk(path, gather=0)
    first = disk.journal.intend(Operation.CREATE, A, HALF)
    disk.begin()
    disk.journal.done(first)
    assert (disk.syncs, disk.journal.open_intents()) == ([], 0)
    assert b'"done":1}' in path.read_bytes()  # whoever is killed now has written it
    disk.journal.intend(Operation.CREATE, A, HALF)
    assert disk.syncs == [2]
    disk.journal.close()


def test_a_shared_write_that_fails_is_told_to_all_who_shared_it_and_counts_for_none(path: Path) -> None:
    disk = SlowDisk(path, gather=3)
    disk.refuses = True
    made, refused = disk.write_at_once(4)
    assert len(made) == 1
    assert refused == [f"{path}: the disk is broken"] * 3
    assert disk.journal.open_intents() == 1
    after = disk.journal.intend(Operation.CREATE, A, HALF)
    disk.journal.close()
    assert opened(path)[0] == Opened(intents=(made[0], after))
    assert after.number == 5


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file can grow beyond that many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_refuses_at_any_byte_and_nothing_that_stood_there_is_lost(path: Path) -> None:
    journal, _ = JournalFile.open(path, "boot-1")
    first = journal.intend(Operation.CREATE, A, HALF)
    length = len(path.read_bytes())
    for more in range(0, 100, 7):
        with full_disk(length + more):
            with pytest.raises(JournalUnwritable):
                journal.intend(Operation.CREATE, A, HALF)
            with full_disk(0):
                assert not journal.writable()

    assert journal.writable()
    second = journal.intend(Operation.CREATE, A, HALF)
    journal.close()
    found, _ = opened(path)
    assert found == Opened(intents=(first, second))
    assert second.number > first.number + 10


def test_an_end_that_could_not_be_written_leaves_the_intent_open(path: Path) -> None:
    journal, _ = JournalFile.open(path, "boot-1")
    intent = journal.intend(Operation.CREATE, A, HALF)
    with full_disk(0), pytest.raises(JournalUnwritable):
        journal.done(intent)
    assert journal.open_intents() == 1
    journal.done(intent)
    assert journal.open_intents() == 0


def test_a_place_that_cannot_be_written_is_told_and_tried_again(tmp_path: Path) -> None:
    in_the_way = tmp_path / "state"
    in_the_way.write_text("a file where the folder should be")
    journal, found = JournalFile.open(in_the_way / "journal", "boot-1")
    assert found.intents == ()
    assert "cannot be locked" in found.unwritable
    assert not journal.writable()
    with pytest.raises(JournalUnwritable, match="cannot be locked"):
        journal.intend(Operation.CREATE, A, HALF)

    in_the_way.unlink()

    assert journal.writable()
    journal.close()


def test_a_second_agent_is_refused_until_the_first_is_gone(path: Path) -> None:
    journal, _ = JournalFile.open(path, "boot-1")
    with pytest.raises(JournalUnwritable, match="another process has it open"):
        JournalFile.open(path, "boot-1")
    journal.close()
    opened(path)


def test_a_kill_at_any_instant_leaves_a_journal_that_can_be_read(path: Path) -> None:
    program = (
        "import sys; from tests.unit.adapters.test_journal_file import churn; from pathlib import Path;"
        "churn(Path(sys.argv[1]))"
    )
    for lines in (1, 2, 3, 5, 8):
        with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            numbers = [int(process.stdout.readline()) for _ in range(lines)]
            process.kill()
        found, new = opened(path)
        assert "line" not in found.damaged or "torn" in found.damaged
        assert new.number > numbers[-1]


def churn(path: Path) -> None:
    journal, _ = JournalFile.open(path, "boot-1")
    while True:
        intent = journal.intend(Operation.CREATE, A, HALF)
        print(intent.number, flush=True)
        journal.done(intent)
