"""Decides what applies to one revision: its annotations, and where it has none the cluster's ConfigMaps.

Called whenever annotations, ConfigMaps or the revision's reachability change; all else here takes the result. The
subtle thing is what may change while the autoscaler runs: all but two. The averaging is the one that the windows were
made with, and the scale-down delay the one that the decider was made with.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

from knative_mig.core.kpa.cluster import Cluster, duration, number, whole

PREFIX: Final = "autoscaling.knative.dev/"
LEAST_TARGET: Final = 0.01
ACTIVATOR_ALWAYS: Final = -1.0  # as target burst capacity: requests always come by the activator
# So long after its deadline a revision that did not get ready is given up: its own reconciler looks at the pods first.
_AFTER_DEADLINE_S: Final = 30.0
_RPS_UTILIZATION: Final = 0.7  # no ConfigMap has it
_NANOSECONDS: Final = 1_000_000_000

T = TypeVar("T")


class Metric(StrEnum):
    CONCURRENCY = "concurrency"
    RPS = "rps"


class Averaging(StrEnum):
    LINEAR = "linear"
    WEIGHTED = "weighted-exponential"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A revision's own. Numbers of pods: 0 as `max_scale` and as `activation_scale` is none."""

    metric: Metric
    averaging: Averaging
    target: float  # of the metric, for each pod
    total: float  # what a pod can bear
    burst: float  # that there is to be room for; -1: requests always come by the activator, 0: only from zero
    stable_window_s: int
    panic_window_s: int
    panic_threshold: float  # times the pods that there are
    max_up_rate: float
    max_down_rate: float
    scale_down_delay_s: float
    initial_scale: int
    min_scale: int
    max_scale: int
    activation_scale: int
    reachable: bool
    activator_capacity: float
    scale_to_zero: bool
    grace_s: float
    retention_s: float
    give_up_after_s: float  # that it is activating

    @property
    def scraped(self) -> bool:
        """Its pods are asked what they do; else the activator, by which all requests come, knows it all."""
        return self.burst != ACTIVATOR_ALWAYS


def settings_of(
    annotations: Mapping[str, str],
    *,
    container_concurrency: int = 0,
    reachable: bool = True,
    cluster: Cluster | None = None,
) -> Settings:
    """What is no number in an annotation counts as not there: the webhook refuses it, so nobody wrote it."""
    cluster = cluster or Cluster()
    given = _Given(annotations)
    metric = Metric.RPS if given.text("metric") == Metric.RPS else Metric.CONCURRENCY
    total = _total(metric, given.number("target"), container_concurrency, cluster)
    share = given.number("target-utilization-percentage", "targetUtilizationPercentage")
    default = _RPS_UTILIZATION if metric is Metric.RPS else cluster.utilization
    utilization = default if share is None else share / 100
    window_s = _or(given.duration("window"), cluster.stable_window_s)
    panic_percentage = _or(
        given.number("panic-window-percentage", "panicWindowPercentage"), cluster.panic_window_percentage
    )
    threshold = given.number("panic-threshold-percentage", "panicThresholdPercentage")
    initial = given.whole("initial-scale", "initialScale")
    if initial is None or (initial == 0 and not cluster.allow_zero_initial_scale):
        initial = cluster.initial_scale
    retention_s = given.duration("scale-to-zero-pod-retention-period", "scaleToZeroPodRetentionPeriod")
    averaging = given.text("metric-aggregation-algorithm", "metricAggregationAlgorithm")
    deadline_s = duration(annotations.get("serving.knative.dev/progress-deadline"))
    return Settings(
        metric=metric,
        averaging=Averaging.WEIGHTED if averaging in (Averaging.WEIGHTED, "weightedExponential") else Averaging.LINEAR,
        target=max(LEAST_TARGET, total * utilization),
        total=total,
        burst=_or(given.number("target-burst-capacity", "targetBurstCapacity"), cluster.target_burst_capacity),
        stable_window_s=int(window_s),
        panic_window_s=_panic_window_s(window_s, panic_percentage),
        panic_threshold=_or(threshold, cluster.panic_threshold_percentage) / 100.0,
        max_up_rate=cluster.max_scale_up_rate,
        max_down_rate=cluster.max_scale_down_rate,
        scale_down_delay_s=_or(given.duration("scale-down-delay", "scaleDownDelay"), cluster.scale_down_delay_s),
        initial_scale=initial,
        min_scale=_or(given.whole("min-scale", "minScale"), cluster.min_scale) if reachable else 0,
        max_scale=_or(given.whole("max-scale", "maxScale"), cluster.max_scale),
        activation_scale=given.whole("activation-scale") or 0,
        reachable=reachable,
        activator_capacity=cluster.activator_capacity,
        scale_to_zero=cluster.enable_scale_to_zero,
        grace_s=cluster.grace_s,
        retention_s=_or(retention_s, cluster.retention_s) if reachable else 0.0,
        give_up_after_s=_or(deadline_s, cluster.progress_deadline_s) + _AFTER_DEADLINE_S,
    )


def _total(metric: Metric, target: float | None, container_concurrency: int, cluster: Cluster) -> float:
    if metric is Metric.RPS:
        return cluster.rps_target if target is None else target
    if target is None:
        return float(container_concurrency) or cluster.concurrency_target
    # More than the container takes at once would never be reached.
    return min(target, float(container_concurrency)) if container_concurrency else target


def _panic_window_s(window_s: float, percentage: float) -> int:
    exactly = int(window_s * _NANOSECONDS * percentage / 100.0)
    return max(1, (exactly + _NANOSECONDS // 2) // _NANOSECONDS)


def _or(value: T | None, default: T) -> T:
    return default if value is None else value


class _Given:
    """Annotations by their names without the prefix. Of two spellings of one the first counts that is there."""

    def __init__(self, annotations: Mapping[str, str]) -> None:
        self._annotations = annotations

    def text(self, *names: str) -> str | None:
        return next((self._annotations[PREFIX + each] for each in names if PREFIX + each in self._annotations), None)

    def whole(self, *names: str) -> int | None:
        return whole(self.text(*names))

    def number(self, *names: str) -> float | None:
        return number(self.text(*names))

    def duration(self, *names: str) -> float | None:
        return duration(self.text(*names))
