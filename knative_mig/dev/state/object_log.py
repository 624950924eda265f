"""The API server's objects in one file: a line for each change, all of them again in a new file when it has grown.

Opened by `dev`'s process, which gives what was kept to the store and has the store tell of each change from then on.
A line is `checksum {json}`; the first says of which version the file is. A change is written before its writer has its
answer, so that a kill takes nothing back that was told. The disk is waited for only where all of it is at stake, when
the file is made anew: what goes with the machine's power is one developer's last second.

The subtle things: a write that fails, on a full disk above all, holds nobody up. What is owed is remembered by its
name, said once, and tried again every second until it is all there. And a kill can tear only the last line, which is
cut off; any other that cannot be read is damage, and nothing is started on half of the objects.
"""

import json
import os
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, Self

from knative_mig.core.errors import BadInput

Object = dict[str, Any]

VERSION: Final = 1
SMALLEST_BYTES: Final = 8_000_000  # a file below it is never made small
GROWS_TO: Final = 4  # times what it was when it was made
TRIED_AGAIN_S: Final = 1.0
_FORMAT: Final = "knative-mig dev objects"
_NULL: Final = b"null"


class Name(NamedTuple):
    place: str
    namespace: str
    name: str


class Kept(Protocol):
    """An object at a version, its JSON on one line."""

    @property
    def version(self) -> int: ...
    @property
    def json(self) -> bytes: ...


class Named(Protocol):
    @property
    def place(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    @property
    def name(self) -> str: ...


class Change(Protocol):
    """What of the store's changes is looked at. `after` None: it is gone."""

    @property
    def version(self) -> int: ...
    @property
    def key(self) -> Named: ...
    @property
    def after(self) -> Kept | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """`version`: the newest that was ever given out. `cut`: how many bytes of a torn last line were left out."""

    version: int = 1
    objects: Mapping[Name, Object]
    cut: int = 0


@dataclass(frozen=True, slots=True)
class _Loaded:
    """As one that was read, until it changes."""

    version: int
    body: Object

    @property
    def json(self) -> bytes:
        return json.dumps(self.body, separators=(",", ":")).encode()


def read(path: Path) -> Found:
    """Nothing where there is no file. BadInput: it is damaged, or of another version."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Found(objects={})
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from None
    whole, _, torn = data.rpartition(b"\n")
    lines = whole.split(b"\n")
    version = _head(path, lines[0])
    objects: dict[Name, Object] = {}
    for number, line in enumerate(lines[1:], start=2):
        at, name, body = _change(path, number, line)
        version = max(version, at)
        if body is None:
            objects.pop(name, None)
        else:
            objects[name] = body
    return Found(version=version, objects=objects, cut=len(torn))


class ObjectLog:
    """`say`: to the user, a line each time that keeping begins to fail or goes well again."""

    def __init__(
        self,
        path: Path,
        say: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        write: Callable[[int, bytes], int] = os.write,
        smallest_bytes: int = SMALLEST_BYTES,
    ) -> None:
        self._path, self._say, self._clock, self._write_some = path, say, clock, write
        self._smallest_bytes = smallest_bytes
        self._lock = threading.Lock()
        self._file = -1
        self._size = self._may_grow_to = 0
        self._version = 1
        self._there: dict[Name, Kept] = {}
        self._owed: dict[Name, None] = {}  # in the order of their changes; what each is now says `_there`
        self._failed_at: float | None = None

    @classmethod
    def begin(cls, path: Path, version: int, objects: Mapping[Name, Object], say: Callable[[str], None]) -> Self:
        """A new file of what a start takes over. BadInput: it cannot be written, so that nothing would be kept."""
        log = cls(path, say)
        log._version = version
        log._there = {name: _Loaded(int(body["metadata"]["resourceVersion"]), body) for name, body in objects.items()}
        try:
            log._write_anew()
        except OSError as error:
            raise BadInput(f"{path}: cannot be written: {error.strerror}") from None
        return log

    def note(self, change: Change) -> None:
        """As the store's listener: in the order of the changes, one at a time."""
        with self._lock:
            name = Name(change.key.place, change.key.namespace, change.key.name)
            self._version = change.version
            if change.after is None:
                self._there.pop(name, None)
            else:
                self._there[name] = change.after
            self._owed.pop(name, None)
            self._owed[name] = None
            if self._failed_at is None or self._clock() - self._failed_at >= TRIED_AGAIN_S:
                self._pay()

    def close(self) -> None:
        """What is owed is tried once more."""
        with self._lock:
            if self._owed:
                self._pay()
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def _pay(self) -> None:
        try:
            if self._size > self._may_grow_to:
                self._write_anew()
            else:
                self._append(b"".join(map(self._line, self._owed)))
            self._owed.clear()
        except OSError as error:
            if self._failed_at is None:
                self._say(
                    f"{self._path}: {error.strerror}: what changes now is lost if dev ends before that is put right"
                )
            self._failed_at = self._clock()
        else:
            if self._failed_at is not None:
                self._say(f"{self._path}: all is kept again")
            self._failed_at = None

    def _line(self, name: Name) -> bytes:
        there = self._there.get(name)
        about = json.dumps(name).encode()
        body = there.json if there else _NULL
        return _sealed(b'{"version":%d,"of":%s,"object":%s}' % (there.version if there else self._version, about, body))

    def _append(self, lines: bytes) -> None:
        """All of it, or as if nothing had been: half a line would make the next one unreadable."""
        try:
            _write_all(self._write_some, self._file, lines)
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(lines)

    def _write_anew(self) -> None:
        """The old file is whole until the rename, the new one from then on."""
        new = self._path.with_name(self._path.name + ".new")
        lines = [_first_line(self._version), *map(self._line, self._there)]
        data = b"".join(lines)
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            _write_all(self._write_some, file, data)
            os.fsync(file)
            new.replace(self._path)
        except OSError:
            os.close(file)
            new.unlink(missing_ok=True)  # on a full disk it takes the room that the next change needs
            self._may_grow_to = self._size * 2  # so that it is not tried with each change
            raise
        if self._file >= 0:
            os.close(self._file)
        self._file, self._size = file, len(data)
        self._may_grow_to = max(self._smallest_bytes, GROWS_TO * len(data))


def _first_line(version: int) -> bytes:
    return _sealed(json.dumps({"format": _FORMAT, "is": VERSION, "version": version}).encode())


def _sealed(text: bytes) -> bytes:
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _head(path: Path, line: bytes) -> int:
    record = _record(path, 1, line)
    if record.get("format") != _FORMAT:
        raise _damage(path, 1, f"it does not say that this is a file of {_FORMAT}")
    if record.get("is") != VERSION:
        raise BadInput(
            f"{path}: is of version {record.get('is')}, and this knative-mig reads {VERSION}: use the knative-mig that "
            "wrote it, or another directory"
        )
    version = record.get("version")
    if not isinstance(version, int):
        raise _damage(path, 1, "it has no version")
    return version


def _change(path: Path, number: int, line: bytes) -> tuple[int, Name, Object | None]:
    match _record(path, number, line):
        case {"version": int(at), "of": [str(place), str(namespace), str(name)], "object": None}:
            return at, Name(place, namespace, name), None
        case {"version": int(at), "of": [str(place), str(namespace), str(name)], "object": {"metadata": {}} as body}:
            return at, Name(place, namespace, name), body
        case _:
            raise _damage(path, number, "it is no change of an object")


def _record(path: Path, number: int, line: bytes) -> dict[str, Any]:
    checksum, _, text = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(text):
        raise _damage(path, number, "it does not match its checksum")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damage(path, number, f"it is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise _damage(path, number, "it is not an object")
    return found


def _damage(path: Path, number: int, why: str) -> BadInput:
    return BadInput(
        f"{path}:{number}: {why}: the file is damaged; put back a copy of it, or move it away to begin with no objects"
    )


def _write_all(write: Callable[[int, bytes], int], file: int, data: bytes) -> None:
    while data:
        data = data[write(file, data) :]
