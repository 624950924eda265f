"""What happens to objects, as it happens, for each that watches: a stream of lines that ends when the client goes.

`Watches` is made by `server`; `service` has it make a stream for each watch. The streams run on the event loop, while
changes come from whatever thread wrote. A change is filed with those that watch its resource under the store's lock,
hence in order; each stream selects and sends for itself. A line's JSON is the object's own, made once for all.

The subtle things: an object that a selector begins or ceases to take comes and goes for the watcher; lines are made as
the client takes them, a socket's worth at a time, and the others have a turn in between; and who takes nothing for so
long that much is waiting is cut off, for he can list anew, while the memory is everybody's.
"""

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from knative_mig.dev.api import causes, reads, refusals, selectors, tables
from knative_mig.dev.api.kinds import Kind
from knative_mig.dev.api.refusals import Refusal, bad_request, invalid_options
from knative_mig.dev.api.routes import Asked
from knative_mig.dev.api.selectors import Selector
from knative_mig.dev.api.store import Change, Forgotten, Store, Stored, encoded
from knative_mig.dev.api.tables import Form, Shape
from knative_mig.dev.api.versions import shown

Object = dict[str, Any]
BOOKMARK_EVERY_S: Final = 60.0
LONGEST_S: Final = 1800.0
_WAITING: Final = 16_384  # changes that one watcher has yet to take
_WAITING_BYTES: Final = 64 * 1024 * 1024  # of their objects, which several may wait for
_TOGETHER: Final = 64 * 1024  # bytes that go out as one piece, or one line that is longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    kind: Kind
    namespace: str
    selector: Selector
    shape: Shape
    bookmarks: bool
    initial: bool  # all that is there comes first, and a bookmark says when it has come
    all_first: bool  # the same without that bookmark, as of old for who names no version
    version: int
    seconds: float


@dataclass(slots=True, eq=False)
class _Watcher:
    """Files changes on whatever thread they happen; the stream on the loop is woken once for many."""

    wishes: Wishes
    loop: asyncio.AbstractEventLoop
    waiting: deque[Change] = field(default_factory=deque)
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    is_waking: bool = False
    fell_behind: bool = False
    ended: bool = False
    filed_bytes: int = 0  # since it began, counted by who writes
    taken_bytes: int = 0  # counted on the loop

    def file(self, change: Change) -> None:
        if self.fell_behind:
            return
        self.filed_bytes += change.weight
        if len(self.waiting) >= _WAITING or self.filed_bytes - self.taken_bytes > _WAITING_BYTES:
            self.fell_behind = True
            self.waiting.clear()
        else:
            self.waiting.append(change)
        self.wake()

    def taken(self) -> Iterator[Change]:
        """All that is waiting, also what comes meanwhile."""
        while True:
            try:
                change = self.waiting.popleft()
            except IndexError:  # another thread may clear it at any time
                return
            self.taken_bytes += change.weight
            yield change

    def wake(self) -> None:
        if not self.is_waking:
            self.is_waking = True
            self.loop.call_soon_threadsafe(self.woken.set)


class Watches:
    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now
        self._by_place: dict[str, tuple[_Watcher, ...]] = {}
        self._end = store.listen(self._heard)

    def _heard(self, change: Change) -> None:
        for watcher in self._by_place.get(change.key.place, ()):
            if watcher.wishes.namespace in ("", change.key.namespace):
                watcher.file(change)

    @property
    def count(self) -> int:
        return sum(len(each) for each in self._by_place.values())

    @property
    def waiting(self) -> int:
        """Changes, each for one watcher."""
        return sum(len(each.waiting) for watchers in self._by_place.values() for each in watchers)

    def end(self) -> None:
        """All of them, in good order: a client begins anew somewhere else, from where it was."""
        self._end()
        with self._store.held():
            for watcher in (each for watchers in self._by_place.values() for each in watchers):
                watcher.ended = True
                watcher.wake()

    async def stream(self, wishes: Wishes) -> AsyncIterator[bytes]:
        """From one moment on, so that nothing is told twice and nothing is missed."""
        watcher = _Watcher(wishes, asyncio.get_running_loop())
        kind = wishes.kind
        first: Sequence[Stored] = ()
        with self._store.held():
            if wishes.initial or wishes.all_first:
                first, version = self._store.all(kind.place)
            else:
                version = wishes.version
                try:
                    missed = self._store.since(kind.place, version)
                except Forgotten:
                    missed = []
                    watcher.fell_behind = True
                for each in missed:
                    if wishes.namespace in ("", each.key.namespace):
                        watcher.file(each)
                watcher.is_waking = True
                watcher.woken.set()
            self._by_place[kind.place] = (*self._by_place.get(kind.place, ()), watcher)
        lines = _Lines(wishes, self._now)
        try:
            for piece in _together(map(lines.there, first)):
                yield piece
                await asyncio.sleep(0)
            first = ()  # a watch is long, and what was there is soon replaced
            if wishes.initial:
                yield lines.bookmark(version, ends_initial=True)
            ends = watcher.loop.time() + wishes.seconds
            while not watcher.ended:
                left = ends - watcher.loop.time()
                try:
                    async with asyncio.timeout(min(max(0.0, left), BOOKMARK_EVERY_S)):
                        await watcher.woken.wait()
                except TimeoutError:
                    if wishes.bookmarks:
                        # In one moment: a bookmark of a version that is yet to be told would have it missed.
                        with self._store.held():
                            seen, is_told = self._store.version, not watcher.waiting
                        if is_told:
                            yield lines.bookmark(seen)
                    if watcher.loop.time() >= ends:
                        return
                    continue
                watcher.is_waking = False
                watcher.woken.clear()
                for piece in _together(map(lines.of, watcher.taken())):
                    yield piece
                    if watcher.waiting:
                        await asyncio.sleep(0)
                if watcher.fell_behind:
                    yield lines.error(
                        refusals.expired(f"the watch of {kind.resource} fell behind: too old resource version")
                    )
                    return
        finally:
            with self._store.held():
                left_over = tuple(each for each in self._by_place.get(kind.place, ()) if each is not watcher)
                self._by_place[kind.place] = left_over


class _Lines:
    """Each a line of JSON; only the first of a table names its columns."""

    def __init__(self, wishes: Wishes, now: Callable[[], datetime]) -> None:
        self._wishes = wishes
        self._now = now
        self._headed = True

    def there(self, stored: Stored) -> bytes | None:
        is_there = self._wishes.namespace in ("", stored.body["metadata"].get("namespace"))
        return self.event("ADDED", stored) if is_there and self._wishes.selector.takes(stored.body) else None

    def of(self, change: Change) -> bytes | None:
        takes = self._wishes.selector.takes
        if change.after is None:
            # What is gone is told as it was last, where the watcher knew of it.
            return self.event("DELETED", change.before) if change.before and takes(change.before.body) else None
        before = change.before is not None and takes(change.before.body)
        if takes(change.after.body):
            return self.event("MODIFIED" if before else "ADDED", change.after)
        return self.event("DELETED", change.after) if before else None

    def event(self, type_: str, stored: Stored) -> bytes:
        wishes = self._wishes
        match wishes.shape.form:
            case Form.TABLE:
                about = {"resourceVersion": str(stored.version)}
                table = tables.table(wishes.kind, [stored.body], about, wishes.shape, self._now(), headed=self._headed)
                self._headed = False
                text = encoded(table)
            case Form.METADATA | Form.METADATA_LIST:
                text = encoded(tables.metadata_alone(stored.body))
            case _:
                text = encoded(shown(stored.body, wishes.kind)) if wishes.kind.stored_as else stored.json
        return b'{"type":"%b","object":%b}\n' % (type_.encode(), text)

    def bookmark(self, version: int, *, ends_initial: bool = False) -> bytes:
        kind = self._wishes.kind
        about: Object = {"resourceVersion": str(version)}
        if ends_initial:
            about["annotations"] = {"k8s.io/initial-events-end": "true"}
        body: Object = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": about}
        match self._wishes.shape.form:
            case Form.TABLE:
                row = {
                    "cells": [],
                    "object": {"kind": "PartialObjectMetadata", "apiVersion": tables.META, "metadata": about},
                }
                body = {"kind": "Table", "apiVersion": self._wishes.shape.api_version, "metadata": about, "rows": [row]}
            case Form.METADATA | Form.METADATA_LIST:
                body = {"kind": "PartialObjectMetadata", "apiVersion": tables.META, "metadata": about}
        return b'{"type":"BOOKMARK","object":%b}\n' % encoded(body)

    def error(self, refusal: Refusal) -> bytes:
        return b'{"type":"ERROR","object":%b}\n' % encoded(refusal.body)


def _together(lines: Iterable[bytes | None]) -> Iterator[bytes]:
    """A flood of what is small costs one write each turn, and what is large waits for the one before it."""
    found: list[bytes] = []
    size = 0
    for line in lines:
        if not line:
            continue
        if found and size + len(line) > _TOGETHER:
            yield b"".join(found)
            found, size = [], 0
        found.append(line)
        size += len(line)
    if found:
        yield b"".join(found)


def wishes_of(asked: Asked, shape: Shape, newest: int) -> Wishes:
    query = asked.query
    initial = query.get("sendInitialEvents", "").lower() in ("1", "true")
    if "sendInitialEvents" in query and query.get("resourceVersionMatch") != "NotOlderThan":
        why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        raise invalid_options(asked.kind, "ListOptions", causes.forbidden("resourceVersionMatch", why))
    version = reads.version_of(query.get("resourceVersion", ""), newest)
    try:
        seconds = float(query.get("timeoutSeconds") or 0) or LONGEST_S
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise bad_request(f'timeoutSeconds is "{query["timeoutSeconds"]}", not a number')
    return Wishes(
        kind=asked.kind,
        namespace=asked.namespace,
        selector=selectors.of_query(query, asked.kind),
        shape=shape,
        bookmarks=query.get("allowWatchBookmarks", "").lower() in ("1", "true"),
        initial=initial,
        all_first=version == 0 and query.get("sendInitialEvents", "").lower() not in ("0", "false"),
        version=version or newest,
        seconds=min(seconds, LONGEST_S),
    )
