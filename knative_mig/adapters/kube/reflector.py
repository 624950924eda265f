"""Mirrors the objects of one kind: lists them, watches from there, and begins anew when it has lost the thread.

Made by the planner process and the node agent, which also make the thread that calls `run`. The snapshot is one
immutable mapping until something changes, so that whoever compares it by identity sees at once that nothing did; an
object that parses to the same value as before is no change, so that a node's heartbeat wakes nobody.

The subtle thing is silence. A watch that says nothing may be a quiet cluster or a dead connection: the server is asked
to end each watch after `watch_s`, the next one shows that it lives, and a connection that is silent for longer than
that is given up. `age_s` so stays below `watch_s` while all is well, whatever happens in the cluster.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

from knative_mig.adapters.kube.answers import Gone, of_status
from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.kinds import Kind, key_of
from knative_mig.adapters.kube.stream import Stream, WatchEvent
from knative_mig.core.errors import BadInput
from knative_mig.ports.kube import ApiUnreachable, ClusterError, Key, TooManyRequests

T = TypeVar("T")

PAGE: Final = 500
WATCH_S: Final = 30.0
RELIST_S: Final = 900.0  # a list now and then ends whatever a watch may have missed (an etcd that was restored)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackOff:
    """Seconds up to a limit that doubles with each failure, and all of it drawn: many clients come back spread out."""

    first_s: float = 0.2
    most_s: float = 15.0
    # A connection that is refused costs nobody much, and an API server that is back is to be found within seconds.
    unreachable_most_s: float = 3.0
    random: Random = field(default_factory=Random)

    def seconds(self, failures: int, *, unreachable: bool = False) -> float:
        most_s = self.unreachable_most_s if unreachable else self.most_s
        return self.random.uniform(0, min(most_s, self.first_s * 2 ** min(failures - 1, 16)))


@dataclass(slots=True)
class Counts:
    """For metrics; written by the mirror's thread alone."""

    lists: int = 0
    watches: int = 0
    failures: int = 0
    unreadable: int = 0  # objects that could not be parsed, each time that one came


class KubeMirror(Generic[T]):
    """`parse` gives the value of an object; where it raises, that object is left out."""

    def __init__(
        self,
        client: KubeClient,
        kind: Kind,
        parse: Callable[[Mapping[str, Any]], T],
        *,
        namespace: str = "",
        field_selector: str = "",
        label_selector: str = "",
        watch_s: float = WATCH_S,
        back_off: BackOff | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.kind = kind
        self.counts = Counts()
        self._client = client
        self._parse = parse
        self._namespace = namespace
        selectors = {"fieldSelector": field_selector, "labelSelector": label_selector}
        self._query = {name: value for name, value in selectors.items() if value}
        self._watch_s = watch_s
        self._back_off = back_off or BackOff()
        self._clock = clock
        self._lock = threading.Lock()
        self._objects: dict[Key, T] = {}
        self._snapshot: Mapping[Key, T] | None = None
        self._wakes: tuple[Callable[[Key], None], ...] = ()
        self._synced = threading.Event()
        self._heard: float | None = None
        self._trouble: ClusterError | None = None
        self._stream: Stream | None = None
        self._version = ""  # resourceVersion to watch from; empty: list first
        self._listed = 0.0
        self._events = 0  # of this watch

    def snapshot(self) -> Mapping[Key, T]:
        with self._lock:
            if self._snapshot is None:
                self._snapshot = MappingProxyType(dict(self._objects))
            return self._snapshot

    def get(self, key: Key) -> T | None:
        with self._lock:
            return self._objects.get(key)

    @property
    def synced(self) -> bool:
        return self._synced.is_set()

    def wait_synced(self, timeout_s: float) -> bool:
        return self._synced.wait(timeout_s)

    def age_s(self, now: float) -> float:
        heard = self._heard
        return float("inf") if heard is None else max(0.0, now - heard)

    @property
    def trouble(self) -> ClusterError | None:
        """Why there is no watch. None: there is one, or there was and it ended as it was asked to."""
        return self._trouble

    def on_change(self, wake: Callable[[Key], None]) -> None:
        with self._lock:
            self._wakes = (*self._wakes, wake)

    def interrupt(self) -> None:
        """After `stop` was set: a `run` that is in a watch, as it mostly is, ends now, one that lists or connects
        when that ends. From any thread.
        """
        with self._lock:
            stream = self._stream
        if stream is not None:
            stream.interrupt()

    def run(self, stop: threading.Event) -> None:
        """Until `stop`; whatever the API server does, it goes on."""
        failures, was_away = 0, False
        while not stop.is_set():
            self._events = 0
            try:
                self._turn(stop)
                failures, was_away = 0, False
            except ClusterError as error:
                if stop.is_set():
                    return
                self._trouble = error
                # A list alone is no success: one that may list and not watch would list again and again. What was
                # waited for while there was no API server says nothing of one that answers.
                away = isinstance(error, ApiUnreachable)
                failures = 1 if self._events or (was_away and not away) else failures + 1
                was_away = away
                if not away:
                    self._version = ""
                if isinstance(error, Gone) and failures == 1:
                    log.info("Listing %s again: %s.", self.kind.plural, error)
                else:
                    self._failed(error, failures, stop)

    def _failed(self, error: ClusterError, failures: int, stop: threading.Event) -> None:
        self.counts.failures += 1
        wait_s = self._back_off.seconds(failures, unreachable=isinstance(error, ApiUnreachable))
        if isinstance(error, TooManyRequests) and error.retry_after_s:
            wait_s = error.retry_after_s  # it knows when; to wait longer would only blind us for longer
        level = logging.WARNING if failures in (1, 10, 100) else logging.DEBUG
        log.log(level, "The mirror of %s waits %.1f s: %s.", self.kind.plural, wait_s, error)
        stop.wait(wait_s)

    def _turn(self, stop: threading.Event) -> None:
        """One list if there is a need, one watch."""
        if not self._version or self._clock() - self._listed > RELIST_S:
            self._list()
        self.counts.watches += 1
        stream = self._client.watch(
            self.kind, self._namespace, {**self._query, "resourceVersion": self._version}, seconds=self._watch_s
        )
        with stream:
            with self._lock:
                self._stream = stream
            self._heard, self._trouble = self._clock(), None
            try:
                if stop.is_set():  # whoever set it may have interrupted before there was anything to interrupt
                    return
                for event in stream:
                    self._heard = self._clock()
                    self._take(event)
            finally:
                with self._lock:
                    self._stream = None

    def _list(self) -> None:
        """All pages are of one moment: the server keeps it for as long as the pages' token is good."""
        self.counts.lists += 1
        found: dict[Key, T] = {}
        query, version = {**self._query, "limit": str(PAGE)}, ""
        while True:
            page = self._client.page(self.kind, self._namespace, query)
            self._heard = self._clock()
            version = page.resource_version
            for body in page.items:
                if (parsed := self._parsed(body)) is not None:
                    key, value = parsed
                    if value is not None:
                        found[key] = value
            if not page.next_page:
                break
            query = {**query, "continue": page.next_page}
        with self._lock:
            before = self._objects
            changed = [key for key, value in found.items() if key not in before or before[key] != value]
            changed += [key for key in before if key not in found]
            if changed:
                self._objects, self._snapshot = found, None
        self._version, self._listed = version, self._clock()
        self._synced.set()
        self._wake(changed)

    def _take(self, event: WatchEvent) -> None:
        if event.type == "ERROR":
            raise of_status(f"the watch of {self.kind.plural}", event.object)
        self._events += 1
        version = str((event.object.get("metadata") or {}).get("resourceVersion", ""))
        if event.type != "BOOKMARK" and (parsed := self._parsed(event.object)) is not None:
            key, value = parsed
            if self._put(key, None if event.type == "DELETED" else value):
                self._wake([key])
        self._version = version or self._version

    def _put(self, key: Key, value: T | None) -> bool:
        with self._lock:
            if value is None:
                if key not in self._objects:
                    return False
                del self._objects[key]
            else:
                if self._objects.get(key) == value:
                    return False
                self._objects[key] = value
            self._snapshot = None
            return True

    def _parsed(self, body: Mapping[str, Any]) -> tuple[Key, T | None] | None:
        """The value is None where it cannot be read: nothing is decided from half an object, nor from its past."""
        try:
            key = key_of(body)
        except (KeyError, TypeError):
            self.counts.unreadable += 1
            log.warning("An object among %s has no name and is left out.", self.kind.plural)
            return None
        try:
            return key, self._parse(body)
        except Exception as error:  # noqa: BLE001  (one odd object must not blind us to all others)
            self.counts.unreadable += 1
            name = f"{key.namespace}/{key.name}" if key.namespace else key.name
            why = str(error) if isinstance(error, BadInput) else repr(error)
            log.warning("%s %s is left out: %s.", self.kind.kind, name, why)
            return key, None

    def _wake(self, keys: list[Key]) -> None:
        for key in keys:
            for wake in self._wakes:
                wake(key)
