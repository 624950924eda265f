"""What is known of a function, and when nothing is."""

from dataclasses import replace

import pytest

from knative_mig.core.kpa.settings import Metric, settings_of
from knative_mig.core.kpa.stats import Observed, Stat, Stats, sample_size, scraped

SETTINGS = settings_of({})
BEHIND = replace(SETTINGS, burst=-1.0)


def test_what_an_activator_has_counted_is_not_counted_twice() -> None:
    stats = Stats(SETTINGS)
    stats.record(100, Stat(concurrency=7, requests=70))
    stats.record(100, Stat(concurrency=10, proxied_concurrency=7, requests=90, proxied_requests=70))
    assert stats.observed(SETTINGS, 100) == Observed(10, 10)
    assert stats.observed(replace(SETTINGS, metric=Metric.RPS), 100) == Observed(90, 90)


def test_the_panic_window_sees_the_last_seconds_alone() -> None:
    stats = Stats(SETTINGS)
    for second in range(100, 160):
        stats.record(second, Stat(concurrency=1.0 if second < 154 else 11.0))
    assert stats.observed(SETTINGS, 159) == Observed(2, 11)


def test_silence_of_pods_that_are_asked_is_not_zero() -> None:
    stats = Stats(SETTINGS)
    assert stats.observed(SETTINGS, 100) is None
    stats.record(100, Stat(concurrency=3))
    assert stats.observed(SETTINGS, 160) == Observed(0, 0)  # still known: it is a window ago, and no longer
    assert stats.observed(SETTINGS, 161) is None


def test_silence_of_the_activator_by_which_all_comes_is_zero() -> None:
    assert Stats(BEHIND).observed(BEHIND, 100) == Observed(0, 0)


def test_windows_of_another_length_are_looked_at_from_then_on() -> None:
    stats = Stats(SETTINGS)
    for second in range(100, 160):
        stats.record(second, Stat(concurrency=float(second >= 140)))
    shorter = replace(SETTINGS, stable_window_s=20, panic_window_s=2)
    stats.resize(shorter, 159)
    assert stats.observed(shorter, 159) == Observed(1, 1)


@pytest.mark.parametrize(("pods", "sample"), [(0, 0), (3, 3), (4, 4), (10, 7), (20, 9), (100, 14), (1000, 16)])
def test_of_many_pods_some_are_asked(pods: int, sample: int) -> None:
    assert sample_size(pods) == sample


def test_pods_that_were_asked_speak_for_all() -> None:
    told = scraped([Stat(concurrency=1, requests=3), Stat(concurrency=2, proxied_concurrency=1, requests=6)], pods=10)
    assert told == Stat(concurrency=15, proxied_concurrency=5, requests=45)
