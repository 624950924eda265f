"""Intervals over seeds are Student's, and one seed claims nothing."""

from math import inf

import pytest

from bench.intervals import interval, ratio


def test_the_95_percent_interval_of_three_values() -> None:
    found = interval([1.0, 2.0, 3.0])

    # t(0.975, 2 degrees) = 4.3027; standard deviation 1.
    assert found.mean == pytest.approx(2.0)
    assert (found.low, found.high) == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-4)


def test_one_value_has_an_unbounded_interval() -> None:
    assert (interval([0.5]).low, interval([0.5]).high) == (-inf, inf)


def test_a_ratio_that_is_the_same_on_every_seed_has_no_spread() -> None:
    found = ratio([1.0, 2.0, 4.0], [2.0, 4.0, 8.0])

    assert (found.low, found.mean, found.high) == pytest.approx((0.5, 0.5, 0.5))


def test_a_ratio_survives_a_seed_whose_denominator_is_zero() -> None:
    found = ratio([0.0, 3.0, 3.0], [0.0, 4.0, 4.0])

    assert found.mean == pytest.approx(0.75)
    assert found.low == pytest.approx(0.75)
