"""What was measured of a revision: messages of activators and answers of its pods, as averages over its two windows.

Fed as messages come and once a second by the scrape; read by each tick of `decider`. The subtle thing is when nothing
is known. A window that is empty says so (None) while pods are scraped, since then it is the scrape that failed, and the
decider stands still; where all requests come by the activator, one that says nothing has none, and it is zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

from knative_mig.core.kpa.buckets import Buckets
from knative_mig.core.kpa.settings import Metric, Settings

# So many pods of very many are enough for a mean within 5 of the true one 95 times of 100, at a variance of 100.
_SAMPLE_OF_MANY: Final = 15.3664  # 1.96² · 100 / 5²
_ALL_OF: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """Averages over a second, of an activator or of all pods."""

    concurrency: float = 0.0
    proxied_concurrency: float = 0.0  # of these, what an activator has counted before
    requests: float = 0.0
    proxied_requests: float = 0.0


@dataclass(frozen=True, slots=True)
class Observed:
    stable: float
    panic: float


class Stats:
    """Lives as long as the autoscaler's process."""

    def __init__(self, settings: Settings) -> None:
        self._of = {metric: _Windows(settings) for metric in Metric}

    def record(self, at: float, stat: Stat) -> None:
        """`at`: of an activator's message, whole seconds; of a scrape, now."""
        self._of[Metric.CONCURRENCY].record(at, stat.concurrency - stat.proxied_concurrency)
        self._of[Metric.RPS].record(at, stat.requests - stat.proxied_requests)

    def resize(self, settings: Settings, now: float) -> None:
        for windows in self._of.values():
            windows.stable.resize(settings.stable_window_s, now)
            windows.panic.resize(settings.panic_window_s, now)

    def observed(self, settings: Settings, now: float) -> Observed | None:
        """None: nothing is known."""
        windows = self._of[settings.metric]
        if settings.scraped and windows.stable.is_empty(now):
            return None
        return Observed(windows.stable.average(now), windows.panic.average(now))


class _Windows:
    def __init__(self, settings: Settings) -> None:
        self.stable = Buckets(settings.stable_window_s, settings.averaging)
        self.panic = Buckets(settings.panic_window_s, settings.averaging)

    def record(self, at: float, value: float) -> None:
        self.stable.record(at, value)
        self.panic.record(at, value)


def sample_size(pods: int) -> int:
    """How many of so many ready pods are scraped."""
    if pods <= _ALL_OF:
        return pods
    return ceil(pods * _SAMPLE_OF_MANY / (pods + _SAMPLE_OF_MANY - 1))


def scraped(answers: Sequence[Stat], pods: int) -> Stat:
    """What all pods do, by those of them that were scraped: at least one."""
    many = float(len(answers))

    def whole(values: list[float]) -> float:
        total = 0.0
        for value in values:  # one by one: `sum` would be more exact than Knative is
            total += value
        return total / many * pods

    return Stat(
        concurrency=whole([each.concurrency for each in answers]),
        proxied_concurrency=whole([each.proxied_concurrency for each in answers]),
        requests=whole([each.requests for each in answers]),
        proxied_requests=whole([each.proxied_requests for each in answers]),
    )
