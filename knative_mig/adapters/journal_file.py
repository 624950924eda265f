"""The journal in one file that only grows: a line a record, an intent on the disk before its writer goes on.

Called by the node agent. A line is `version checksum {json}`; the checksum is over the JSON as it stands there, and
fields that this version does not know are left alone. A record is whole or it is not believed: whatever cannot be
read, a torn tail or a file of a newer version, is set aside under another name, and what stands beside it still
counts. Who opened the journal learns of it and compares the GPUs with what they should be.

The subtle thing is numbers. They rise over restarts, also when the file is lost: a fresh file starts with a record of
the last number that is known, and compaction at each opening keeps that record.

The end of an intent is written and not waited for: it is on the disk with whatever is synced next. A machine that
loses its power before that has an intent whose operation was carried out, which is what recovery compares anyway.

GPUs that change at once wait for the disk together: while one caller writes, the others' lines gather, and the next of
them writes all of these and syncs once. So one thread at a time has the file, and what it wrote holds for all or none.
"""

import contextlib
import fcntl
import json
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from knative_mig.core.errors import BadInput
from knative_mig.core.gpu_node import SliceKey
from knative_mig.core.inventory import GpuUuid
from knative_mig.core.profile import ProfileName
from knative_mig.ports.journal import Intent, JournalUnwritable, Opened, Operation

VERSION: Final = 1
MOST_RECORDS: Final = 4096  # of 200 bytes: compacted while running, so that a busy node's file stays small


class _Unreadable(Exception):
    """What is wrong with a line; who read it adds where it stands."""


@dataclass(slots=True)
class _Waiting:
    """A line on its way to the disk."""

    line: bytes
    then: Callable[[], object]  # once it is there
    synced: bool
    over: bool = False
    failed: str = ""


@dataclass(frozen=True, slots=True)
class _Read:
    intents: dict[int, Intent]
    last_number: int
    damaged: str


class JournalFile:
    """A `ports.journal.Journal`. One process has it open, by a lock on a file beside it: the second is refused."""

    def __init__(self, path: Path, boot_id: str, intents: dict[int, Intent], last_number: int) -> None:
        """For a file that was read: `open` does."""
        self._path, self._boot_id = path, boot_id
        self._open, self._number, self._records = intents, last_number, 0
        self._most_records = MOST_RECORDS
        self._sync: Callable[[int], None] = os.fdatasync  # with its data a file's length is on the disk too
        self._changed = threading.Condition()
        self._waiting: list[_Waiting] = []
        self._writing = False  # somebody has the file, and is the only one to change what is open
        self._file: int | None = None
        self._held: int | None = None  # the lock between processes
        self._torn = False

    @classmethod
    def open(
        cls,
        path: Path,
        boot_id: str,
        *,
        most_records: int = MOST_RECORDS,
        sync: Callable[[int], None] = os.fdatasync,
    ) -> tuple[Self, Opened]:
        """What could be read of it is compacted into a new file, by one rename; a file that cannot be written is
        opened all the same, so that what it says is known. JournalUnwritable: another process has it open, and may
        change it.
        """
        held = _hold(path)
        read = _read(path)
        damaged = read.damaged
        if damaged:
            with contextlib.suppress(OSError):
                aside = _set_aside(path)
                damaged = f"{damaged}; the file is kept as {aside.name}"
        journal = cls(path, boot_id, dict(read.intents), read.last_number)
        journal._held, journal._most_records, journal._sync = held, most_records, sync
        intents = tuple(read.intents[number] for number in sorted(read.intents))
        return journal, Opened(intents=intents, damaged=damaged, unwritable=journal._why_unwritable())

    def intend(self, operation: Operation, gpu: GpuUuid, key: SliceKey, *, mig_uuid: str | None = None) -> Intent:
        with self._changed:
            intent = Intent(
                number=self._number + 1,
                operation=operation,
                gpu=gpu,
                slice=key,
                boot_id=self._boot_id,
                mig_uuid=mig_uuid,
            )
            self._number = intent.number  # spent, even if it cannot be written: half of it may be on the disk
            self._append(_line_of(intent), lambda: self._open.update({intent.number: intent}))
            return intent

    def done(self, intent: Intent) -> None:
        with self._changed:
            if intent.number in self._open:
                line = _line({"done": intent.number})
                self._append(line, lambda: self._open.pop(intent.number, None), synced=False)

    def writable(self) -> bool:
        return not self._why_unwritable()

    def _why_unwritable(self) -> str:
        with self._changed:
            try:
                self._append(_line({"probe": self._number}), lambda: None)
            except JournalUnwritable as error:
                return str(error)
            return ""

    def open_intents(self) -> int:
        """Without the lock: all GPU loops ask this all the time."""
        return len(self._open)

    def close(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._writing)
            self._let_go()
            if self._held is not None:
                os.close(self._held)
                self._held = None

    def _append(self, line: bytes, then: Callable[[], object], *, synced: bool = True) -> None:
        """Returns when it is on the disk, be it by another caller's hand, or merely written where `synced` is not asked
        for. The lock is held, but for the writing.
        """
        mine = _Waiting(line, then, synced)
        self._waiting.append(mine)
        self._changed.wait_for(lambda: mine.over or not self._writing)
        if not mine.over:
            self._write_all_that_wait()
        if mine.failed:
            raise JournalUnwritable(mine.failed)

    def _write_all_that_wait(self) -> None:
        together, self._waiting, self._writing = self._waiting, [], True
        failed = f"{self._path}: it was not written"
        self._changed.release()
        try:
            synced = any(each.synced for each in together)
            self._write(b"".join(each.line for each in together), len(together), synced=synced)
            failed = ""
        except JournalUnwritable as error:
            failed = str(error)
        finally:
            self._changed.acquire()
            self._writing = False
            for each in together:
                each.over, each.failed = True, failed
                if not failed:
                    each.then()
            self._changed.notify_all()

    def _write(self, lines: bytes, records: int, *, synced: bool) -> None:
        """Lines of which only a part was written make the next one unreadable: the file is then written anew."""
        if self._held is None:
            self._held = _hold(self._path)
        if self._held is None:
            raise JournalUnwritable(f"{self._path}: cannot be locked")
        try:
            if self._file is None or self._torn or self._records >= self._most_records:
                self._rewrite()
            assert self._file is not None
            self._torn = True
            _write_all(self._file, lines)
            if synced:
                self._sync(self._file)
            self._torn = False
            self._records += records
        except OSError as error:
            raise JournalUnwritable(f"{self._path}: {error.strerror or error}") from error

    def _rewrite(self) -> None:
        """The old file is whole until the rename, the new one from then on."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = self._path.with_name(self._path.name + ".new")
        lines = [_line({"last": self._number}), *(_line_of(self._open[number]) for number in sorted(self._open))]
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            _write_all(file, b"".join(lines))
            os.fsync(file)
            new.replace(self._path)
            _sync_folder(self._path.parent)
        except OSError:
            os.close(file)
            raise
        self._let_go()
        self._file, self._records, self._torn = file, len(lines), False

    def _let_go(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _hold(path: Path) -> int | None:
    """None: no lock can be made there now, for want of room or of a folder."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise JournalUnwritable(f"{path}: another process has it open") from error
    return lock


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _set_aside(path: Path) -> Path:
    """Beside it, under the first name that is free. A copy by link: the file itself stays until it is replaced."""
    for number in range(1, 1000):
        aside = path.with_name(f"{path.name}.damaged-{number}")
        try:
            os.link(path, aside)
        except FileExistsError:
            continue
        return aside
    raise OSError(f"there are too many files like {aside}")


def _line(record: dict[str, object]) -> bytes:
    text = json.dumps(record, sort_keys=True, separators=(",", ":")).encode()
    return b"%d %08x %s\n" % (VERSION, zlib.crc32(text), text)


def _line_of(intent: Intent) -> bytes:
    return _line(
        {
            "intent": intent.number,
            "operation": intent.operation.value,
            "gpu": intent.gpu,
            "profile": str(intent.slice.profile),
            "start": intent.slice.start,
            "boot_id": intent.boot_id,
            "mig_uuid": intent.mig_uuid,
        }
    )


def _read(path: Path) -> _Read:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return _Read({}, 0, "")
    except OSError as error:
        return _Read({}, 0, f"{path} cannot be read: {error.strerror or error}")
    intents: dict[int, Intent] = {}
    last = 0
    damaged = ""
    for number, line in enumerate(_lines(data), start=1):
        try:
            last = max(last, _apply(_record(line), intents))
        except _Unreadable as error:
            damaged = damaged or f"{path}, line {number}: {error}"
    return _Read(intents, last, damaged)


def _lines(data: bytes) -> Iterator[bytes]:
    """With their ends: a last line without one was torn, even if its checksum is right by chance."""
    return iter(data.splitlines(keepends=True))


def _record(line: bytes) -> dict[str, object]:
    if not line.endswith(b"\n"):
        raise _Unreadable("it was torn")
    version, _, rest = line[:-1].partition(b" ")
    checksum, _, text = rest.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(text):
        raise _Unreadable("it does not match its checksum")
    if version != b"%d" % VERSION:
        raise _Unreadable(f"it has version {version.decode(errors='replace')}: this knative-mig reads {VERSION}")
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _Unreadable(f"it is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise _Unreadable("it is not an object")
    return record


def _apply(record: dict[str, object], intents: dict[int, Intent]) -> int:
    """The highest number that this record tells of."""
    match record:
        case {"intent": int(number)}:
            intents[number] = _intent(number, record)
            return number
        case {"done": int(number)}:
            intents.pop(number, None)
            return number
        case {"last": int(number)} | {"probe": int(number)}:
            return number
        case _:
            raise _Unreadable("it is no record of this version")


def _intent(number: int, record: dict[str, object]) -> Intent:
    match record:
        case {
            "operation": str(operation),
            "gpu": str(gpu),
            "profile": str(profile),
            "start": int(start),
            "boot_id": str(boot_id),
        }:
            mig_uuid = record.get("mig_uuid")
        case _:
            raise _Unreadable("a field of its intent is missing")
    try:
        return Intent(
            number=number,
            operation=Operation(operation),
            gpu=GpuUuid(gpu),
            slice=SliceKey(profile=ProfileName.parse(profile), start=start),
            boot_id=boot_id,
            mig_uuid=mig_uuid if isinstance(mig_uuid, str) else None,
        )
    except (ValueError, BadInput) as error:
        raise _Unreadable(str(error)) from error
