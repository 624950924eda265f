"""Averages over a window, second by second."""

import pytest

from knative_mig.core.kpa.buckets import Buckets, fading, power
from knative_mig.core.kpa.settings import Averaging


def filled(window_s: int, *values: float, averaging: Averaging = Averaging.LINEAR) -> Buckets:
    """A value a second, from second 100 on."""
    buckets = Buckets(window_s, averaging)
    for second, value in enumerate(values, start=100):
        buckets.record(second, value)
    return buckets


def test_until_it_is_full_it_is_the_average_of_the_seconds_since_the_first() -> None:
    assert filled(60, 10.0).average(100) == 10
    assert filled(60, 10.0, 20.0).average(101) == 15


def test_what_many_tell_of_a_second_adds_up() -> None:
    buckets = filled(60, 10.0)
    buckets.record(100.9, 5.0)
    assert buckets.average(100.99) == 15


def test_a_full_window_forgets_its_oldest_second() -> None:
    assert filled(3, 100.0, 1.0, 2.0, 3.0).average(103) == 2


def test_seconds_of_which_nobody_told_are_zero_once_somebody_tells_again() -> None:
    buckets = filled(10, 6.0)
    buckets.record(105, 6.0)
    assert buckets.average(105) == 2


def test_the_seconds_since_the_last_telling_do_not_count() -> None:
    buckets = filled(10, *[8.0] * 10)
    assert [buckets.average(109 + silent) for silent in (0, 3, 9)] == [8, 8, 8]


def test_after_a_window_of_silence_it_is_zero_and_a_moment_later_empty() -> None:
    buckets = filled(10, *[8.0] * 10)
    assert buckets.average(119) == 0
    assert not buckets.is_empty(119.9)
    assert buckets.is_empty(120)


def test_nothing_was_ever_told() -> None:
    for averaging in Averaging:
        buckets = Buckets(10, averaging)
        assert buckets.is_empty(100)
        assert buckets.average(100) == 0


def test_after_a_silence_it_begins_anew() -> None:
    buckets = filled(10, *[8.0] * 10)
    buckets.record(119, 2.0)
    assert buckets.average(119) == 2


def test_late_news_count_in_their_own_second() -> None:
    buckets = filled(4, 1.0, 1.0, 1.0, 1.0)
    buckets.record(101, 8.0)
    assert buckets.average(103) == 3
    assert buckets.average(105) == 1  # and leave with it


def test_news_later_than_a_window_do_not_count_at_all() -> None:
    buckets = filled(4, 1.0, 1.0, 1.0, 1.0)
    buckets.record(99, 1000.0)
    assert buckets.average(103) == 1


def test_news_of_before_the_first_second_make_the_average_longer() -> None:
    buckets = filled(10, 8.0)
    buckets.record(97, 0.0)
    assert buckets.average(100) == 2


def test_an_average_has_six_digits_and_halves_go_away_from_zero() -> None:
    assert filled(60, 1.0, 0.0, 0.0).average(102) == 0.333333
    assert filled(60, 0.0000005).average(100) == 0.000001
    assert filled(60, -0.0000005).average(100) == -0.000001


def test_with_weights_what_is_newer_matters_more() -> None:
    rising, falling = ((1.0, 1.0, 9.0, 9.0), (9.0, 9.0, 1.0, 1.0))
    assert filled(4, *falling, averaging=Averaging.WEIGHTED).average(103) == pytest.approx(1.08, abs=0.01)
    assert filled(4, *rising, averaging=Averaging.WEIGHTED).average(103) == pytest.approx(8.92, abs=0.01)


def test_with_weights_silence_fades_it_too() -> None:
    buckets = filled(60, *[8.0] * 60, averaging=Averaging.WEIGHTED)
    assert buckets.average(159) == pytest.approx(8, rel=1e-4)
    assert buckets.average(160) == pytest.approx(8 * 0.8, rel=1e-4)
    assert buckets.average(162) == pytest.approx(8 * 0.8**3, rel=1e-4)
    assert buckets.average(219) == 0
    assert buckets.average(220) == 0


@pytest.mark.parametrize(("window_s", "coefficient"), [(1, 0.9999), (2, 0.99), (4, 0.9), (40, 0.205672), (41, 0.201)])
def test_a_short_window_fades_fast(window_s: int, coefficient: float) -> None:
    assert fading(window_s) == pytest.approx(coefficient, abs=1e-3)


@pytest.mark.parametrize("window_s", [42, 60, 3600])
def test_a_long_window_fades_no_slower_than_by_a_fifth(window_s: int) -> None:
    assert fading(window_s) == 0.2


@pytest.mark.parametrize("exponent", [1, 2, 0.5, 1 / 3, 7, 30, 2.75])
def test_powers(exponent: float) -> None:
    assert power(0.7, exponent) == pytest.approx(0.7**exponent, rel=1e-15)


def test_a_shorter_window_keeps_its_newest_seconds() -> None:
    buckets = filled(6, 9.0, 9.0, 9.0, 1.0, 2.0, 3.0)
    buckets.resize(3, 105)
    assert buckets.average(105) == 2


def test_a_longer_window_keeps_all_and_takes_the_old_one_for_full() -> None:
    buckets = filled(4, 8.0)
    buckets.resize(8, 100)
    assert buckets.average(100) == 2


def test_a_window_of_another_length_after_a_silence_is_empty() -> None:
    buckets = filled(4, 8.0, 8.0, 8.0, 8.0)
    buckets.resize(60, 108)
    assert buckets.average(108) == 0
    buckets.record(108, 5.0)
    assert buckets.average(108) == 5


def test_a_second_of_a_window_ago_is_kept_by_a_longer_one() -> None:
    buckets = filled(4, 8.0, 8.0, 8.0, 8.0)
    buckets.resize(8, 107)
    assert buckets.average(107) == 8


def test_the_same_length_changes_nothing() -> None:
    buckets = filled(4, 8.0)
    buckets.resize(4, 500)
    assert buckets.average(100) == 8
