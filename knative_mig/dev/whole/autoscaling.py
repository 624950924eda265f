"""Runs the KPA of the core for `dev`: its clock, what it is told and scrapes, and who hears when it wants something.

Between the gateway, which tells it of requests (`told`), and Serving's stand-ins, which ask it (`answer`). `run` is a
thread's body: each revision is scraped each second and decided about each two, from the moment on that its services
were there, as Knative's autoscaler does. All is done under one lock: a decision takes some microseconds.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from knative_mig.core.errors import BadInput
from knative_mig.core.kpa import reconcile as kpa
from knative_mig.core.kpa import stats
from knative_mig.core.kpa.autoscaler import Autoscaler
from knative_mig.core.kpa.cluster import Cluster, cluster_of
from knative_mig.core.kpa.scale import TICK_S
from knative_mig.core.kpa.settings import Settings, settings_of
from knative_mig.core.kpa.stats import Stat
from knative_mig.core.kpa.status import Status
from knative_mig.dev.gateway.load import Told
from knative_mig.dev.serving.scaling import Answer, Asked
from knative_mig.ports.kube import Key

SCRAPES_EACH_S: Final = 1.0
_LOOKS_S: Final = 0.5  # at most so late is a revision ticked that came while nobody else was there

_log = logging.getLogger(__name__)
ConfigMaps = Callable[[], tuple[Mapping[str, str], Mapping[str, str]]]  # data of config-autoscaler, config-deployment


class Requests(Protocol):
    """The gateway."""

    def is_by_activator(self, revision: Key) -> bool: ...

    def scraped(self, revision: Key) -> Mapping[Key, Stat]: ...


@dataclass(slots=True, eq=False, kw_only=True)
class _Scaled:
    settings: Settings
    ready: int
    autoscaler: Autoscaler
    next_tick: float
    next_scrape: float


class Kpa:
    def __init__(
        self,
        *,
        maps: ConfigMaps,
        requests: Callable[[], Requests],
        wake: Callable[[Key], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`wake`: that there is news about a revision, and `answer` to be asked."""
        self._maps, self._requests, self._wake, self._clock = maps, requests, wake, clock
        self._lock = threading.Lock()
        self._scaled: dict[Key, _Scaled] = {}
        self._cluster = Cluster()
        self._read: object = None

    # -- Serving asks --------------------------------------------------------------------------------------------------

    def answer(self, asked: Asked, now: float) -> Answer:
        settings = settings_of(
            asked.annotations,
            container_concurrency=asked.container_concurrency,
            reachable=asked.reachable,
            cluster=self._of_cluster(),
        )
        answers = self._requests().is_by_activator(asked.revision)
        with self._lock:
            scaled = self._settled(asked, settings, now)
            decided = kpa.reconcile(
                _status_of(asked),
                settings,
                scaled.autoscaler.decider if scaled is not None else None,
                kpa.Seen(route=asked.way, ready=asked.ready, replicas=asked.replicas, activator_answers=answers),
                now,
            )
        return Answer(
            active=decided.status.active,
            initialized=decided.status.initialized,
            desired=decided.status.desired,
            actual=decided.status.actual,
            mode=decided.mode,
            activators=decided.activators,
            replicas=decided.replicas,
            look_again_s=decided.look_again_s,
            reasons=decided.reasons,
        )

    def forget(self, revision: Key) -> None:
        with self._lock:
            self._scaled.pop(revision, None)

    def _settled(self, asked: Asked, settings: Settings, now: float) -> _Scaled | None:
        scaled = self._scaled.get(asked.revision)
        if scaled is None and asked.way is not None and asked.way.named:
            scaled = self._scaled[asked.revision] = _Scaled(
                settings=settings,
                ready=asked.ready,
                autoscaler=Autoscaler(settings, asked.ready, now),
                next_tick=now + TICK_S,
                next_scrape=now + SCRAPES_EACH_S,
            )
        if scaled is not None:
            scaled.settings, scaled.ready = settings, asked.ready
            scaled.autoscaler.settle(settings, now)
        return scaled

    def _of_cluster(self) -> Cluster:
        """What cannot be read leaves what was read before: Knative's webhook would not have let it in."""
        maps = self._maps()
        if maps != self._read:
            self._read = maps
            try:
                self._cluster = cluster_of(*maps)
            except BadInput as bad:
                _log.warning("%s", bad)
        return self._cluster

    # -- the gateway tells ---------------------------------------------------------------------------------------------

    def told(self, messages: Sequence[Told]) -> None:
        now = self._clock()
        news = []
        with self._lock:
            for each in messages:
                scaled = self._scaled.get(each.revision)
                if scaled is not None and scaled.autoscaler.told(each.stat, math.floor(now), scaled.ready, now):
                    news.append(each.revision)
        for revision in news:
            self._wake(revision)

    # -- the clock -----------------------------------------------------------------------------------------------------

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            wait_s = self.pass_time(self._clock())
            stop.wait(min(_LOOKS_S, wait_s))

    def pass_time(self, now: float) -> float:
        """What is due is done; after how long to look again."""
        requests = self._requests()
        with self._lock:
            scraped = [
                (revision, scaled)
                for revision, scaled in self._scaled.items()
                if scaled.next_scrape <= now and scaled.settings.scraped
            ]
        answers = {revision: requests.scraped(revision) for revision, _ in scraped}  # under the gateway's own lock
        news = []
        with self._lock:
            for revision, scaled in self._scaled.items():
                if scaled.next_scrape <= now:
                    scaled.next_scrape = _next(scaled.next_scrape, SCRAPES_EACH_S, now)
                    self._scrape(scaled, answers.get(revision, {}), now)
                if scaled.next_tick <= now:
                    scaled.next_tick = _next(scaled.next_tick, TICK_S, now)
                    if scaled.autoscaler.tick(scaled.ready, now):
                        news.append(revision)
            at = min((min(each.next_tick, each.next_scrape) for each in self._scaled.values()), default=now + _LOOKS_S)
        for revision in news:
            self._wake(revision)
        return max(0.0, at - self._clock())

    def _scrape(self, scaled: _Scaled, answers: Mapping[Key, Stat], now: float) -> None:
        if answers and scaled.ready:
            sample = [*answers.values()][: stats.sample_size(scaled.ready)]
            scaled.autoscaler.scraped(stats.scraped(sample, scaled.ready), now)


def _next(at: float, each_s: float, now: float) -> float:
    """In step with the first; what a machine has slept over is left out."""
    return at + each_s * (1 + max(0, math.floor((now - at) / each_s)))


def _status_of(asked: Asked) -> Status:
    return Status(
        active=asked.active,
        initialized=asked.initialized,
        routed=bool(asked.way and asked.way.ready),
        desired=asked.desired,
        actual=asked.actual,
    )
