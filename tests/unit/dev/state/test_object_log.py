"""The objects' file: what is read again after a kill, a full disk, a torn end, damage and a newer version."""

import errno
import os
import zlib
from pathlib import Path

import pytest

from knative_mig.core.errors import BadInput
from knative_mig.dev.api.store import Key, Store
from knative_mig.dev.state.object_log import Name, ObjectLog, read

TINY = Key("pods", "default", "tiny")
CHAT = Key("pods", "default", "chat")


class Disk:
    """Counts down the bytes that it has room for, and takes no more than so many at once."""

    def __init__(self, room: int) -> None:
        self.room = self.largest = room

    def write(self, file: int, data: bytes) -> int:
        if not self.room or len(data) > self.largest:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = os.write(file, data[: self.room])
        self.room -= taken
        return taken


class Kept:
    """A store whose changes go to the file, on a clock that the test turns."""

    def __init__(self, path: Path, *, room: int = 10**9, smallest_bytes: int = 10**6) -> None:
        self.path, self.disk, self.now, self.said = path, Disk(room), 0.0, list[str]()
        self.store = Store()
        self.log = ObjectLog(
            path, self.said.append, clock=lambda: self.now, write=self.disk.write, smallest_bytes=smallest_bytes
        )
        self.log._write_anew()
        self.store.listen(self.log.note)

    def put(self, key: Key, spec: object) -> None:
        was = self.store.read(key)
        self.store.put(key, {"metadata": {"name": key.name}, "spec": spec}, over=was.version if was else 0)

    def remove(self, key: Key) -> None:
        was = self.store.read(key)
        assert was
        self.store.remove(key, over=was.version)

    def is_all_there(self) -> bool:
        version, objects = self.store.snapshot()
        found = read(self.path)
        return found.version == version and found.objects == {
            Name(key.place, key.namespace, key.name): body for key, body in objects.items()
        }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "objects.log"


def test_each_change_is_there_when_its_writer_has_its_answer(path: Path) -> None:
    kept = Kept(path)
    kept.put(TINY, 1)
    assert kept.is_all_there()
    kept.put(CHAT, "é\n")
    assert kept.is_all_there()
    kept.remove(TINY)
    assert kept.is_all_there()
    assert not kept.said


def test_a_start_goes_on_from_the_version_that_was_told_last_though_what_had_it_is_gone(path: Path) -> None:
    kept = Kept(path)
    kept.put(TINY, 1)
    kept.remove(TINY)
    found = read(path)
    ObjectLog.begin(path, found.version, found.objects, kept.said.append).close()
    assert read(path).version == kept.store.version
    assert path.stat().st_mode & 0o777 == 0o600  # Secrets are in it


def test_a_file_that_has_grown_is_made_small(path: Path) -> None:
    kept = Kept(path, smallest_bytes=2_000)
    kept.put(CHAT, "stays")
    sizes = []
    for number in range(100):
        kept.put(TINY, number)
        sizes.append(path.stat().st_size)
        assert kept.is_all_there()
    assert max(sizes) < 2_300
    assert sizes[-1] < max(sizes)


@pytest.mark.parametrize("bytes_lost", range(1, 90, 8))
def test_a_torn_end_is_cut_off(path: Path, bytes_lost: int) -> None:
    kept = Kept(path)
    kept.put(TINY, 1)
    before = path.stat().st_size
    kept.put(CHAT, "a line that is longer than what is lost of it, whichever it is")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - bytes_lost)
    found = read(path)
    assert found.objects.keys() == {Name("pods", "default", "tiny")}
    assert found.cut == path.stat().st_size - before


def test_a_full_disk_is_said_once_holds_nobody_up_and_is_made_good(path: Path) -> None:
    kept = Kept(path)
    kept.put(TINY, 1)
    kept.disk.room = 20  # a part of the next line
    for number in range(5):
        kept.put(CHAT, number)
    assert kept.said == [
        f"{path}: No space left on device: what changes now is lost if dev ends before that is put right"
    ]
    assert [name.name for name in read(path).objects] == ["tiny"]  # no torn line either
    kept.disk.room = 10**6
    kept.put(TINY, 2)
    assert not kept.is_all_there()  # a second has not gone by
    kept.now += 1.0
    kept.put(TINY, 3)
    assert kept.is_all_there()
    assert kept.said[1:] == [f"{path}: all is kept again"]


def test_an_end_on_a_disk_that_has_room_again_keeps_all(path: Path) -> None:
    kept = Kept(path)
    kept.put(CHAT, 1)
    kept.disk.room = 0
    kept.put(TINY, 1)
    kept.remove(CHAT)
    kept.disk.room = 10**6
    kept.log.close()
    assert kept.is_all_there()


def test_a_disk_too_full_for_a_second_file_still_takes_lines(path: Path) -> None:
    kept = Kept(path, smallest_bytes=2_000)
    kept.put(CHAT, "x" * 1_000)
    kept.disk.largest = 1_000
    for number in range(20):
        kept.put(TINY, number)
        kept.now += 1.0
    assert len(kept.said) == 2  # it fails once, and goes on
    assert kept.is_all_there()


def test_a_directory_that_takes_no_file_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"gone/objects\.log: cannot be written: No such file or directory"):
        ObjectLog.begin(tmp_path / "gone" / "objects.log", 1, {}, print)


@pytest.mark.parametrize(
    ("line", "old", "new", "says"),
    [
        pytest.param(
            2, b"tiny", b"tinx", r":2: it does not match its checksum: the file is damaged", id="a flipped bit"
        ),
        pytest.param(1, b"objects", b"objectz", r":1: it does not match its checksum", id="no head"),
        pytest.param(1, b'"is": 1', b'"is": 2', r": is of version 2, and this knative-mig reads 1", id="newer"),
        pytest.param(2, b'"of":["pods"', b'"of":[7', r":2: it is no change of an object", id="another line"),
        pytest.param(2, b'"object":{', b'"object":[', r":2: it is not JSON", id="no JSON"),
    ],
)
def test_nothing_is_started_on_a_file_that_cannot_be_read(
    path: Path, line: int, old: bytes, new: bytes, says: str
) -> None:
    kept = Kept(path)
    kept.put(TINY, 1)
    kept.put(CHAT, 1)
    lines = path.read_bytes().split(b"\n")
    text = lines[line - 1][9:]
    assert old in text
    lines[line - 1] = _sealed(text.replace(old, new), honest="checksum" not in says)
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(BadInput, match=says):
        read(path)


def _sealed(text: bytes, *, honest: bool) -> bytes:
    return b"%08x %s" % (zlib.crc32(text) if honest else 1, text)


def test_an_empty_file_is_damage(path: Path) -> None:
    path.touch()
    with pytest.raises(BadInput, match=r"objects\.log:1: "):
        read(path)
