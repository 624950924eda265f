"""Intervals over seeds are Student's, and one seed claims nothing."""

from math import inf

import pytest

from bench.intervals import interval


def test_the_95_percent_interval_of_three_values() -> None:
    found = interval([1.0, 2.0, 3.0])

    # t(0.975, 2 degrees) = 4.3027; standard deviation 1.
    assert found.mean == pytest.approx(2.0)
    assert (found.low, found.high) == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-4)


def test_one_value_has_an_unbounded_interval() -> None:
    assert (interval([0.5]).low, interval([0.5]).high) == (-inf, inf)
