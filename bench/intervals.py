"""95 % intervals over seeds: Student's t, with rules paired seed by seed.

A ratio of two rules is the ratio of their means; its spread is that of the seeds' residuals from it, which pairs the
two as they saw the same arrivals. (A mean of the seeds' own ratios would let a seed with next to no gap decide.)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from statistics import fmean, stdev


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
    from scipy.special import stdtrit  # noqa: PLC0415  half a second, which who only looks at the bench need not spend

    student = float(stdtrit(len(values) - 1, (1 + confidence) / 2))
    half = student * stdev(values) / len(values) ** 0.5
    return Interval(mean, mean - half, mean + half)


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Interval:
    """Of paired values; not a number where the denominators leave nothing to divide by."""
    below = fmean(denominators)
    if below <= 0:
        return Interval(nan, nan, nan)
    mean = fmean(numerators) / below
    off = interval([above - mean * under for above, under in zip(numerators, denominators, strict=True)])
    return Interval(mean, mean + off.low / below, mean + off.high / below)
