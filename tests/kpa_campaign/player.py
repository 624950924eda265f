"""Plays a series to our autoscaler, and says of each step what the Go program says of it, in the same words.

Called by `campaign`, and by `draw`, which makes the next step of what came of the last. As in the Go program nothing is
decided here: ticks come each two seconds from when the autoscaler was made, and each step ends with one pass of
`reconcile`.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import floor
from typing import Any, Final

from knative_mig.core.kpa.autoscaler import Autoscaler
from knative_mig.core.kpa.cluster import Cluster, cluster_of
from knative_mig.core.kpa.decider import Decider
from knative_mig.core.kpa.pods import Phase, Pod, ready_count
from knative_mig.core.kpa.reconcile import Mode, Reconciled, Route, Seen, reconcile
from knative_mig.core.kpa.scale import TICK_S
from knative_mig.core.kpa.settings import Settings, settings_of
from knative_mig.core.kpa.stats import Stat
from knative_mig.core.kpa.status import Status
from tests.kpa_campaign.series import EPOCH, UNITS, Step, Told, moment

TICK: Final = int(TICK_S) * UNITS
_PODS: Final = (
    Pod(phase=Phase.RUNNING, ready=True),
    Pod(phase=Phase.RUNNING),
    Pod(phase=Phase.PENDING),
    Pod(phase=Phase.RUNNING, ready=True, ending=True),
    Pod(phase=Phase.FAILED),
)
Words = dict[str, Any]


class Player:
    def __init__(self) -> None:
        self.status = Status.fresh(EPOCH)
        self.autoscaler: Autoscaler | None = None
        self.settings: Settings | None = None
        self.replicas = 1
        self.mode = Mode.PROXY
        self.next_tick = 0
        self.reasons: list[str] = []  # of the last step's ticks and its pass
        self._ready = 0
        self._route: Route | None = None
        self._answers = False
        self._cluster = Cluster()
        self._annotations: Mapping[str, str] = {}
        self._concurrency = 0
        self._reachable = True
        self._ticks: list[Words] = []
        self._told: Words | None = None

    def play(self, step: Step) -> Words:
        self._ticks, self.reasons = [], []
        while self.autoscaler and self.next_tick < step.at:
            self._write(self.autoscaler, self.next_tick, news=self.autoscaler.tick(self._ready, moment(self.next_tick)))
            self.next_tick += TICK
        self._change(step)
        for told in step.stats:
            self._take(told, step.at)
        if step.restart:
            self.autoscaler = None
        return self._pass(step.at)

    def _change(self, step: Step) -> None:
        if step.pods is not None:
            self._ready = ready_count(pod for pod, count in zip(_PODS, step.pods, strict=True) for _ in range(count))
        if step.route is not None and self.settings is not None:  # a pass was there, which makes it
            named, ready, since = step.route
            proxied_since = None if since < 0 else float(floor(moment(since)))
            self._route = Route(mode=self.mode, named=bool(named), ready=bool(ready), proxied_since=proxied_since)
        self.replicas = self.replicas if step.replicas is None else step.replicas
        self._answers = self._answers if step.answers is None else step.answers
        changed = (step.config, step.deployment, step.annotations, step.concurrency, step.reachable)
        if self.settings is None or any(each is not None for each in changed):
            self.settings = self._settings(step)

    def _settings(self, step: Step) -> Settings:
        if step.config is not None:
            self._cluster = cluster_of(step.config, step.deployment)
        self._annotations = self._annotations if step.annotations is None else step.annotations
        self._concurrency = self._concurrency if step.concurrency is None else step.concurrency
        self._reachable = self._reachable if step.reachable is None else step.reachable != "Unreachable"
        return settings_of(
            self._annotations,
            container_concurrency=self._concurrency,
            reachable=self._reachable,
            cluster=self._cluster,
        )

    def _take(self, told: Told, at: int) -> None:
        if self.autoscaler is None:
            return
        concurrency, proxied, requests, proxied_requests = told.values
        stat = Stat(
            concurrency=concurrency,
            proxied_concurrency=proxied,
            requests=requests,
            proxied_requests=proxied_requests,
        )
        if not told.by_activator:
            self.autoscaler.scraped(stat, moment(told.when))
            return
        before = self.autoscaler.decider
        news = self.autoscaler.told(stat, moment(told.when), self._ready, moment(at))
        if self.autoscaler.decider is not before:
            self._write(self.autoscaler, at, news=news)

    def _write(self, autoscaler: Autoscaler, at: int, *, news: bool) -> None:
        decider, observed = autoscaler.decider, autoscaler.observed
        self.reasons += decider.reasons
        self._ticks.append(
            {
                "at": at,
                "valid": observed is not None,
                "desired": decider.desired if observed else 0,
                "excess_burst": decider.excess_burst if observed else 0,
                "stable": observed.stable if observed else 0.0,
                "panic": observed.panic if observed else 0.0,
                "news": news,
            }
        )

    def _pass(self, at: int) -> Words:
        assert self.settings is not None
        now = moment(at)
        if self._route is not None and self._route.named:
            if self.autoscaler is None:
                self.autoscaler = Autoscaler(self.settings, self._ready, now)
                self.next_tick = at + TICK
            self.autoscaler.settle(self.settings, now)
        decider = self.autoscaler.decider if self.autoscaler else None
        seen = Seen(route=self._route, ready=self._ready, replicas=self.replicas, activator_answers=self._answers)
        done = reconcile(self.status, self.settings, decider, seen, now)
        self.status, self.mode = done.status, done.mode
        self.reasons += done.reasons
        if self._route is not None:
            self._route = replace(self._route, mode=done.mode)
        if done.replicas is not None:
            self.replicas = done.replicas
        words: Words = {"ticks": self._ticks, "pass": _pass_words(done, decider)}
        if decider is not None and (spec := _spec_words(self.settings)) != self._told:
            words["spec"] = self._told = spec
        return words


def _pass_words(done: Reconciled, decider: Decider | None) -> Words:
    status = done.status
    return {
        "scale_to": done.replicas,
        "mode": str(done.mode),
        "activators": done.activators,
        "active": str(status.active.activity),
        "reason": status.active.reason,
        "message": status.active.message,
        "since": int(status.active.since),
        "initialized": status.initialized,
        "routed": "True" if status.routed else "Unknown",
        "desired": status.desired,
        "actual": status.actual,
        "look_again": None if done.look_again_s is None else _nanoseconds(done.look_again_s),
        "probes": done.probe,
        "decider": [decider.desired, decider.excess_burst] if decider else [0, 0],
    }


def _spec_words(settings: Settings) -> Words:
    """By the names of Knative's own types."""
    return {
        "Decider": {
            "MaxScaleUpRate": settings.max_up_rate,
            "MaxScaleDownRate": settings.max_down_rate,
            "ScalingMetric": str(settings.metric),
            "TargetValue": settings.target,
            "TotalValue": settings.total,
            "TargetBurstCapacity": settings.burst,
            "ActivatorCapacity": settings.activator_capacity,
            "PanicThreshold": settings.panic_threshold,
            "StableWindow": _nanoseconds(settings.stable_window_s),
            "ScaleDownDelay": _nanoseconds(settings.scale_down_delay_s),
            "InitialScale": settings.initial_scale,
            "Reachable": settings.reachable,
            "ActivationScale": settings.activation_scale,
        },
        "Metric": {
            "stableWindow": _nanoseconds(settings.stable_window_s),
            "panicWindow": _nanoseconds(settings.panic_window_s),
            "scrapeTarget": "tiny-00001-private" if settings.scraped else "",
        },
    }


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
