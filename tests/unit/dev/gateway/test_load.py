"""What the autoscaler is told, second by second."""

from knative_mig.core.kpa.stats import Stat
from knative_mig.dev.gateway.load import FIRST, Meter, Reporter, Told
from knative_mig.ports.kube import Key

REVISION = Key("team", "fn-00001")


def told(concurrency: float, requests: float) -> Told:
    return Told(revision=REVISION, stat=Stat(concurrency=concurrency, requests=requests))


def test_concurrency_is_averaged_over_the_second() -> None:
    meter = Meter(100.0)
    meter.came(100.25)
    meter.came(100.5)
    meter.went(100.75)
    assert meter.report(101.0) == Stat(concurrency=(0.25 + 2 * 0.25 + 0.25) / 1.0, requests=2)
    assert meter.report(102.0) == Stat(concurrency=1.0, requests=0)


def test_what_the_activator_has_counted_is_counted_apart_too() -> None:
    meter = Meter(100.0)
    meter.came(100.0, proxied=True)
    meter.came(100.5)
    assert meter.report(101.0) == Stat(concurrency=1.5, proxied_concurrency=1.0, requests=2, proxied_requests=1)
    meter.went(101.5, proxied=True)
    assert meter.report(102.0).proxied_concurrency == 0.5


def test_clocks_of_threads_that_overtake_each_other_count_nothing_twice() -> None:
    meter = Meter(100.0)
    meter.came(100.5)
    meter.went(100.4)
    assert meter.report(101.0) == Stat(concurrency=0.0, requests=1)


def test_the_first_request_is_told_at_once_and_not_a_second_time() -> None:
    reporter = Reporter()
    assert reporter.came(REVISION, 100.0) == Told(revision=REVISION, stat=FIRST)
    assert reporter.came(REVISION, 100.5) is None
    assert reporter.report(101.0) == [told(0.5, 1)]
    assert reporter.report(102.0) == [told(2.0, 0)]


def test_a_first_request_that_was_short_is_told_as_a_whole_second_all_the_same() -> None:
    reporter = Reporter()
    reporter.came(REVISION, 100.5)
    reporter.went(REVISION, 100.6)
    assert reporter.report(101.0) == [told(0.0, 0)]


def test_one_that_is_silent_is_told_of_once_and_its_next_request_is_a_first_one() -> None:
    reporter = Reporter()
    reporter.came(REVISION, 100.0)
    reporter.went(REVISION, 100.5)
    assert reporter.report(101.0) == [told(0.0, 0)]
    assert reporter.report(102.0) == [told(0.0, 0)]
    assert reporter.report(103.0) == []
    assert reporter.came(REVISION, 103.5) == Told(revision=REVISION, stat=FIRST)


def test_a_request_that_comes_with_the_end_of_the_second_is_not_forgotten() -> None:
    reporter = Reporter()
    reporter.came(REVISION, 101.0)
    assert reporter.report(101.0) == [told(0.0, 0)]
    reporter.went(REVISION, 101.5)
    assert reporter.report(102.0) == [told(0.5, 0)]


def test_a_held_request_is_told_of_each_second() -> None:
    reporter = Reporter()
    reporter.came(REVISION, 100.0)
    reporter.report(101.0)
    assert [reporter.report(102.0 + second) for second in range(3)] == [[told(1.0, 0)]] * 3
