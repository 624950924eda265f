"""The objects, their versions and what became of them of late: what etcd and its watch cache are to the real one.

A machine of values: it reads no clock, makes no identity and speaks with nobody, and what it holds is never changed in
place, so that whoever was given an object may keep it. Called by `writes`, `reads` and `watches` from any thread; each
call takes the one lock for as long as it takes to move some references.

The subtle things: a write names the version that it was made from and fails where another came between, which is how a
slow webhook holds up nobody; listeners hear of a change before the lock is let go, hence in its order; and of what has
been no more is remembered than is worth its memory, by number and by weight, as an object may be a megabyte.
"""

import json
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

Object = dict[str, Any]

KEPT: Final = 1024  # changes of one resource that a watch may begin in: with whole pods in them, a dozen MiB
KEPT_BYTES: Final = 64 * 1024 * 1024  # of one resource too, for objects that weigh more than pods


@dataclass(frozen=True, slots=True, order=True)
class Key:
    place: str  # the resource, like pods or services.serving.knative.dev
    namespace: str
    name: str


@dataclass(slots=True, eq=False)
class Stored:
    """An object as it was at a version. Its JSON is made once, for all that list or watch it."""

    body: Object
    version: int
    weight: int = 0  # bytes of memory, without its JSON; of what was there at the start it is not known
    _json: bytes = b""

    @property
    def json(self) -> bytes:
        if not self._json:
            self._json = encoded(self.body)
        return self._json


@dataclass(frozen=True, slots=True)
class Change:
    version: int
    key: Key
    before: Stored | None
    after: Stored | None  # None: it is gone

    @property
    def weight(self) -> int:
        stored = self.after or self.before
        return stored.weight if stored else 0


class Outdated(Exception):
    """The object is not at the version that a write was made from."""


class Forgotten(Exception):
    """What happened since that version is not all known any more."""


Listener = Callable[[Change], None]


@dataclass(slots=True)
class _Place:
    objects: dict[Key, Stored] = field(default_factory=dict)
    history: deque[Change] = field(default_factory=deque)
    weight: int = 0  # of the history
    forgotten: int = 0  # the newest version of which the history does not tell


class Store:
    def __init__(self, *, kept: int = KEPT, kept_bytes: int = KEPT_BYTES) -> None:
        self._lock = threading.RLock()
        self._kept, self._kept_bytes = kept, kept_bytes
        self._version = 1
        self._places: dict[str, _Place] = {}
        self._listeners: tuple[Listener, ...] = ()

    @property
    def version(self) -> int:
        return self._version

    def read(self, key: Key) -> Stored | None:
        with self._lock:
            place = self._places.get(key.place)
            return place.objects.get(key) if place else None

    def all(self, place: str, *, at: int | None = None) -> tuple[list[Stored], int]:
        """In their order, and the version that they are of. `at`: as they were then."""
        with self._lock:
            found = self._places.get(place) or _Place()
            if at is None or at >= self._version:
                objects, version = found.objects, self._version
            else:
                objects, version = dict(found.objects), at
                for change in reversed(self._since(found, at)):
                    if change.before is None:
                        objects.pop(change.key, None)
                    else:
                        objects[change.key] = change.before
            keys = sorted(objects)
            return [objects[key] for key in keys], version

    def put(self, key: Key, body: Object, *, over: int) -> Stored:
        """Over the object's version, 0 where there is to be none. Its version is written into it."""
        weight = _weight_of(body)
        with self._lock:
            place = self._places.setdefault(key.place, _Place())
            before = place.objects.get(key)
            if (before.version if before else 0) != over:
                raise Outdated
            self._version += 1
            about = {**body["metadata"], "resourceVersion": str(self._version)}
            after = Stored({**body, "metadata": about}, self._version, weight)
            place.objects[key] = after
            self._tell(place, Change(self._version, key, before, after))
            return after

    def remove(self, key: Key, *, over: int, last_words: Object | None = None) -> Stored:
        """As it was last, at the version of its end; `last_words`: what the write that ended it made of it."""
        with self._lock:
            place = self._places.setdefault(key.place, _Place())
            before = place.objects.get(key)
            if before is None or before.version != over:
                raise Outdated
            del place.objects[key]
            self._version += 1
            body = last_words or before.body
            about = {**body["metadata"], "resourceVersion": str(self._version)}
            last = Stored({**body, "metadata": about}, self._version, before.weight)
            self._tell(place, Change(self._version, key, last, None))
            return last

    def since(self, place: str, version: int) -> list[Change]:
        with self._lock:
            return self._since(self._places.setdefault(place, _Place()), version)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Called under the lock, so it only takes note. Gives what ends it."""
        with self._lock:
            self._listeners = (*self._listeners, listener)

        def end() -> None:
            with self._lock:
                self._listeners = tuple(each for each in self._listeners if each is not listener)

        return end

    def held(self) -> threading.RLock:
        """For who must read and begin to listen in one moment."""
        return self._lock

    def forget(self) -> None:
        """All of the history, as a compaction does: whoever is behind has to list anew."""
        with self._lock:
            for place in self._places.values():
                place.history.clear()
                place.weight, place.forgotten = 0, self._version

    def snapshot(self) -> tuple[int, Mapping[Key, Object]]:
        with self._lock:
            return self._version, {
                key: each.body for place in self._places.values() for key, each in place.objects.items()
            }

    def restore(self, version: int, objects: Mapping[Key, Object]) -> None:
        """Into a store that is empty. Nothing is known of how it came to be so."""
        with self._lock:
            self._version = version
            for key, body in objects.items():
                place = self._places.setdefault(key.place, _Place(forgotten=version))
                place.objects[key] = Stored(body, int(body["metadata"]["resourceVersion"]))

    def __iter__(self) -> Iterator[tuple[Key, Stored]]:
        with self._lock:
            return iter([(key, each) for place in self._places.values() for key, each in place.objects.items()])

    def _since(self, place: _Place, version: int) -> list[Change]:
        if version < place.forgotten:
            raise Forgotten
        newer: list[Change] = []
        for change in reversed(place.history):
            if change.version <= version:
                break
            newer.append(change)
        newer.reverse()
        return newer

    def _tell(self, place: _Place, change: Change) -> None:
        place.history.append(change)
        place.weight += change.weight
        while len(place.history) > self._kept or place.weight > self._kept_bytes:
            oldest = place.history.popleft()
            place.weight -= oldest.weight
            place.forgotten = oldest.version
        for each in self._listeners:
            each(change)


def encoded(body: Any) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def _weight_of(value: Any) -> int:
    own = sys.getsizeof(value)
    if isinstance(value, dict):
        return own + sum(map(sys.getsizeof, value)) + sum(map(_weight_of, value.values()))
    return own + sum(map(_weight_of, value)) if isinstance(value, list) else own
