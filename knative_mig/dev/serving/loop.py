"""Runs the controllers: looks at what changed, has it decided, writes what is wanted.

Made by `dev`'s process, which also makes the threads: one for each mirror, one for `run`. All passes are made on that
one thread, one after another, so that no two controllers write over each other; with the whole cluster in one process a
pass takes a millisecond or two.

The subtle thing is what ends a pass. A write that fails ends it, and the pass is made again after a while that doubles;
what was refused is told to it (`Failure`), as some controllers put it into a status.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.kinds import CONFIG_MAP, Kind
from knative_mig.adapters.kube.reflector import KubeMirror
from knative_mig.dev.bodies import whole
from knative_mig.dev.serving.cache import Cache
from knative_mig.dev.serving.controllers import KINDS, Name, Neighbours, Pass, concerned, deciders
from knative_mig.dev.serving.objects import WATCHED, Failure, Object, Seen
from knative_mig.dev.serving.settings import NAMESPACE, Settings, settings_of
from knative_mig.dev.serving.writes import Change, Create, Delete, Tell
from knative_mig.ports.kube import (
    AlreadyExists,
    ClusterError,
    Conflict,
    EventRecorder,
    EventType,
    Key,
    ObjectNotFound,
    Subject,
)

FIRST_RETRY_S: Final = 0.05
LONGEST_RETRY_S: Final = 60.0
RESYNC_S: Final = 300.0

log = logging.getLogger(__name__)


def mirrors_of(client: KubeClient, watch_s: float = 30.0) -> Mapping[Kind, KubeMirror[Object]]:
    """One for each kind that is decided about or from."""
    return {
        kind: KubeMirror(client, kind, whole(kind), namespace=NAMESPACE if kind is CONFIG_MAP else "", watch_s=watch_s)
        for kind in WATCHED
    }


class Loop:
    def __init__(
        self,
        client: KubeClient,
        mirrors: Mapping[Kind, KubeMirror[Object]],
        neighbours: Neighbours,
        events: EventRecorder,
        *,
        port: int = 80,
        domain: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._mirrors = mirrors
        self._events = events
        self._port, self._domain = port, domain
        self._clock = clock
        self._cache = Cache(mirrors, clock)
        self._deciders = deciders(neighbours)
        self._failures: dict[Pass, Failure] = {}
        self._settings: tuple[Mapping[Key, Object], Settings] | None = None
        self._last: dict[tuple[Kind, Key], Object] = {}  # to know whom the end of an object concerns
        self._woken = threading.Condition()
        self._changed: dict[tuple[Kind, Key], None] = {}
        self._poked: dict[Pass, None] = {}
        self._due: dict[Pass, float] = {}
        self.passes = 0
        for kind, mirror in mirrors.items():
            mirror.on_change(self._waker(kind))

    def settings(self) -> Settings:
        """The cluster's, as of now: for the webhooks too. From any thread."""
        maps = self._mirrors[CONFIG_MAP].snapshot()
        known = self._settings
        if known is None or known[0] is not maps:
            data = {key.name: body.get("data") or {} for key, body in maps.items()}
            known = self._settings = maps, settings_of(data, port=self._port, domain=self._domain)
        return known[1]

    def poke(self, controller: Name, key: Key) -> None:
        """From any thread: a neighbour has news about that object."""
        with self._woken:
            self._poked[Pass(controller, key)] = None
            self._woken.notify()

    def run(self, stop: threading.Event) -> None:
        for mirror in self._mirrors.values():
            while not mirror.wait_synced(0.2):
                if stop.is_set():
                    return
        self._look_at_all()
        resync_at = self._clock() + RESYNC_S
        while not stop.is_set():
            if self._clock() >= resync_at:
                self._look_at_all()
                resync_at = self._clock() + RESYNC_S
            for look in self._next(resync_at):
                if stop.is_set():
                    return
                self._pass(look)

    def interrupt(self) -> None:
        """After `stop` was set."""
        with self._woken:
            self._woken.notify()

    def _waker(self, kind: Kind) -> Callable[[Key], None]:
        def wake(key: Key) -> None:
            with self._woken:
                self._changed[(kind, key)] = None
                self._woken.notify()

        return wake

    def _look_at_all(self) -> None:
        for name, kind in KINDS.items():
            for key in self._mirrors[kind].snapshot():
                self.poke(name, key)

    def _next(self, until: float) -> list[Pass]:
        """What is to be looked at now; waits until there is something."""
        with self._woken:
            if not (self._changed or self._poked):
                at = min(until, *self._due.values()) if self._due else until
                self._woken.wait(min(1.0, max(0.0, at - self._clock())))
            changed, self._changed = self._changed, {}
            poked, self._poked = self._poked, {}
        now = self._clock()
        for look in [each for each, at in self._due.items() if at <= now]:
            poked[look] = None
        if changed:
            seen = self._seen(None)
            for kind, key in changed:
                for look in concerned(kind, key, self._latest(kind, key), seen):
                    poked[look] = None
        return list(poked)

    def _latest(self, kind: Kind, key: Key) -> Object | None:
        """As it is, or as it last was."""
        body = self._mirrors[kind].get(key)
        if body is not None:
            self._last[(kind, key)] = body
            return body
        self._cache.gone(kind, key)
        return self._last.pop((kind, key), None)

    def _seen(self, failure: Failure | None) -> Seen:
        return Seen(objects=self._cache.objects(), now=self._clock(), settings=self.settings(), failure=failure)

    def _pass(self, look: Pass) -> None:
        self.passes += 1
        self._due.pop(look, None)
        try:
            decided = self._deciders[look.controller](self._seen(self._failures.get(look)), look.key)
        except (KeyError, TypeError, ValueError, AttributeError):
            # An object that somebody wrote past every check: the others are still to be looked after.
            log.exception("%s cannot make out %s/%s", look.controller, look.key.namespace, look.key.name)
            return
        if decided.look_again_s is not None:
            self._look_later(look, decided.look_again_s)
        made = False
        for write in decided.writes:
            try:
                self._write(look, write)
            except ClusterError as error:
                self._failed(look, error)
                return
            made = made or isinstance(write, Create)
        failure = self._failures.get(look)
        if failure is not None and (made or failure.until <= self._clock()):
            # Over: what told of it is looked at once more.
            del self._failures[look]
            self.poke(look.controller, look.key)

    def _write(self, look: Pass, write: Create | Change | Delete | Tell) -> None:
        log.debug("%s: %s", look.controller, write)
        match write:
            case Create():
                self._create(write)
            case Change():
                patch = {**write.patch, "metadata": {**write.patch.get("metadata", {}), "uid": write.uid}}
                body = self._client.merge(write.kind, write.key, patch, subresource=write.below, manager="controller")
                self._cache.wrote(write.kind, body)
            case Delete():
                try:
                    self._client.delete(write.kind, write.key, {"preconditions": {"uid": write.uid}})
                except ObjectNotFound:
                    log.debug("%s %s has gone already", write.kind.kind, write.key.name)
                self._cache.deleted(write.kind, write.key, write.uid)
            case Tell():
                self._tell(write)

    def _create(self, write: Create) -> None:
        try:
            body = self._client.create(write.kind, write.namespace, write.body)
        except ClusterError as error:
            if write.told is not None:
                self._tell(
                    Tell(
                        about=write.told,
                        reason="FailedCreate",
                        message=f"Error creating: {error.said or error}",
                        type=EventType.WARNING,
                    )
                )
            raise
        self._cache.wrote(write.kind, body, new=True)
        if write.told is not None:
            made = f"Created {write.kind.kind.lower()}: {body['metadata']['name']}"
            self._tell(Tell(about=write.told, reason="SuccessfulCreate", message=made))

    def _tell(self, write: Tell) -> None:
        about = write.about
        subject = Subject(
            api_version=about["apiVersion"],
            kind=about["kind"],
            namespace=about["metadata"].get("namespace", ""),
            name=about["metadata"]["name"],
            uid=about["metadata"].get("uid", ""),
        )
        self._events.record(subject, write.type, write.reason, write.message)

    def _failed(self, look: Pass, error: ClusterError) -> None:
        if isinstance(error, Conflict | ObjectNotFound | AlreadyExists):
            # Seen too late: the mirror will know.
            log.debug("%s of %s: %s", look.controller, look.key.name, error)
            self._look_later(look, FIRST_RETRY_S)
            return
        before = self._failures.get(look)
        times = before.times + 1 if before else 1
        wait_s = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** min(times, 16))
        self._failures[look] = Failure(message=error.said or str(error), until=self._clock() + wait_s, times=times)
        level = logging.WARNING if times in (1, 10, 100) else logging.DEBUG
        log.log(level, "%s of %s/%s: %s", look.controller, look.key.namespace, look.key.name, error)
        self._look_later(look, wait_s)
        if times == 1:
            self.poke(look.controller, look.key)  # to say so

    def _look_later(self, look: Pass, seconds: float) -> None:
        at = self._clock() + seconds
        self._due[look] = min(at, self._due.get(look, at))
