"""95 % intervals over seeds: Student's t, on figures that were paired seed by seed before.

A ratio of two rules is formed on each seed and then averaged: both saw the same arrivals, so most of the noise that a
ratio of two means would carry cancels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.stats import t as student


@dataclass(frozen=True, slots=True)
class Interval:
    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """One value has no spread to estimate: the interval is then unbounded rather than falsely narrow."""
    mean = fmean(values)
    if len(values) < 2:
        return Interval(mean, float("-inf"), float("inf"))
    half = float(student.ppf((1 + confidence) / 2, len(values) - 1)) * stdev(values) / len(values) ** 0.5
    return Interval(mean, mean - half, mean + half)
