"""A window of one-second buckets over which a metric is averaged, linearly or with weights that fade.

Called by `stats`, which keeps a stable and a panic one of each metric. What is written in the same second is added up:
the second's value is the sum over whoever told of it. Until the window is full the average is over the seconds since
the first write; seconds without a write in between count as zero, and those since the last write not at all.

The subtle thing is that the answers are those of Knative to the last bit, as one bit more is one pod more where an
average lies on a multiple of the target. So the sum is kept as it runs, in the order in which Knative adds and takes
away, and not made anew; and powers are multiplied out as Go does it. One bit is left open: Go's exponential of an
amd64 with FMA differs in it from the C library's, for windows of 24, 25, 31, 34 and 35 s with weights.
"""

from math import copysign, exp, floor, log, sqrt, trunc
from typing import Final

from knative_mig.core.kpa.settings import Averaging

_LEAST_COEFFICIENT: Final = 0.2  # windows beyond 41 s fade like one of 41 s
_BEYOND: Final = 0.0001  # the share of all weights that may lie beyond the window
_MILLION: Final = 1e6  # linear averages are rounded to six digits
_NEVER: Final = -(2**62)


class Buckets:
    def __init__(self, window_s: int, averaging: Averaging = Averaging.LINEAR) -> None:
        self._averaging = averaging
        self._window_s = window_s
        self._values = [0.0] * window_s
        self._sum = 0.0
        self._first = _NEVER  # the seconds of the first and the last write
        self._last = _NEVER
        self._coefficient = fading(window_s)

    def record(self, at: float, value: float) -> None:
        """At a second of the last window it counts there; at an earlier one not at all."""
        second = floor(at)
        size = len(self._values)
        if second != self._last:
            if second + self._window_s <= self._last:
                return
            if self._first == _NEVER or self._first > second:
                self._first = second
            if second > self._last:
                if second - self._last >= self._window_s:
                    self._first = second
                    self._values = [0.0] * size
                    self._sum = 0.0
                else:
                    for skipped in range(self._last + 1, second + 1):
                        self._sum -= self._values[skipped % size]
                        self._values[skipped % size] = 0.0
                self._last = second
        self._values[second % size] += value
        self._sum += value

    def is_empty(self, now: float) -> bool:
        """Nothing was written for longer than the window."""
        return floor(now) - self._last > self._window_s

    def average(self, now: float) -> float:
        second = floor(now)
        return self._weighted(second) if self._averaging is Averaging.WEIGHTED else self._linear(second)

    def _linear(self, second: int) -> float:
        size = len(self._values)
        silent = second - self._last
        if silent >= self._window_s:
            return 0.0
        written = self._last - self._first + 1
        if silent <= 0:
            return _rounded(self._sum / min(written, size))
        total = self._sum
        for outdated in range(self._last + 1, second + 1):
            total -= self._values[outdated % size]
        return _rounded(total / min(written, size - silent))

    def _weighted(self, second: int) -> float:
        silent = second - self._last
        if silent > self._window_s:
            return 0.0
        weight, rest = self._coefficient, 1 - self._coefficient
        size = held = len(self._values)
        if silent > 0:
            weight *= power(rest, silent)
            held -= silent
        total = 0.0
        for back in range(held):
            total += self._values[(self._last - back) % size] * weight
            weight *= rest
        return total

    def resize(self, window_s: int, now: float) -> None:
        """The newest seconds are kept, and count as if all of the old window had been written."""
        if window_s == self._window_s:
            return
        values = [0.0] * window_s
        total = 0.0
        size = len(self._values)
        if floor(now) - self._last <= self._window_s:
            for back in range(min(window_s, size)):
                value = self._values[(self._last - back) % size]
                values[(self._last - back) % window_s] = value
                total += value
            self._first = self._last - (size - 1)
        else:
            self._first = _NEVER
        self._window_s, self._values, self._sum = window_s, values, total
        self._coefficient = fading(window_s)


def fading(window_s: int) -> float:
    """By how much of the rest each second counts for less than the one after it."""
    return max(1 - power(_BEYOND, 1 / window_s), _LEAST_COEFFICIENT)


def power(base: float, exponent: float) -> float:
    """As Go has it: a whole power of the C library's may differ in the last bit."""
    if exponent == 0.5:
        return sqrt(base)
    whole = trunc(exponent)
    result = exp((exponent - whole) * log(base)) if exponent != whole else 1.0
    square = base
    while whole:
        if whole & 1:
            result *= square
        square *= square
        whole >>= 1
    return result


def _rounded(value: float) -> float:
    """Halves away from zero."""
    scaled = value * _MILLION
    whole = float(trunc(scaled))
    if abs(scaled - whole) >= 0.5:
        whole += copysign(1.0, scaled)
    return whole / _MILLION
