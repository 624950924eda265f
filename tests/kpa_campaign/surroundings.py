"""What is around a drawn function: requests, pods that take their time, a route that lags behind.

Each does about what the real one does, driven by what our autoscaler wants, so that a history is one that may happen:
pods become ready because they were asked for. Whether it is exact does not matter, as both autoscalers see the same.
"""

import random
from collections.abc import Iterator
from typing import Final

from knative_mig.core.kpa.reconcile import Mode

MOST_PODS: Final = 60  # as if there were no more slices


def drawn_load(chance: random.Random, pod: float) -> Iterator[float]:
    """Requests at once, second by second, by what one pod is to have of them."""
    while True:
        length = chance.choice((3, 10, 30, 60, 120))
        high = pod * chance.choice((0.3, 1, 1, 2, 3, 8, 20))
        match chance.choice(("idle", "idle", "long idle", "even", "even", "ramp", "noise", "pulse", "blip")):
            case "idle":
                yield from [0.0] * length
            case "long idle":
                yield from [0.0] * chance.choice((100, 160, 240))
            case "even":
                yield from [round(high)] * length
            case "ramp":
                yield from (round(high * second / length, 2) for second in range(length))
            case "noise":
                yield from (round(chance.uniform(0, high), 2) for _ in range(length))
            case "pulse":
                period = chance.choice((2, 5, 9))
                yield from (round(high, 1) if second // period % 2 else 0.0 for second in range(length))
            case _:
                yield 1.0


class Pods:
    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._start_s = chance.choice((0, 1, 2, 2, 5, 20, 70, 10_000))
        self._drain_s = chance.choice((0, 3, 30))
        self._born: list[float] = []
        self._going: list[float] = []
        self._over = 0

    def begin_with(self, ready: int) -> None:
        self._born = [-self._start_s - 10.0] * ready

    def counts(self, replicas: int, now: float) -> tuple[int, int, int, int, int]:
        """Ready, not ready, pending, going, over; after as many were made or ended as are asked for."""
        wanted = min(replicas, MOST_PODS)
        self._born += [now] * (wanted - len(self._born))
        while len(self._born) > wanted:
            self._born.pop(self._chance.randrange(len(self._born)))
            self._going.append(now + self._drain_s)
        self._going = [until for until in self._going if until > now]
        if self._chance.random() < 0.002:
            self._over += 1
        ages = [now - born for born in self._born]
        ready = sum(age >= self._start_s for age in ages)
        pending = sum(age < min(1, self._start_s) for age in ages)
        if ready and self._chance.random() < 0.01:  # its readiness probe fails for once
            ready -= 1
        return ready, len(ages) - ready - pending, pending, len(self._going), self._over


class Route:
    """Follows the mode that is asked for. The activators are in it too while no pod is ready."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._lag_s = chance.choice((0, 0, 1, 4))
        self._named_at_s = chance.choice((0, 1, 3))
        self._never_answers = chance.random() < 0.05
        self._proxied_since = 0
        self._change_at: float | None = None
        self._proxied = True

    def named(self, now: float) -> bool:
        return now >= self._named_at_s

    def seen(self, mode: Mode, ready: int, at: int, now: float) -> tuple[tuple[int, int, int], bool]:
        """The route, and whether an activator answers."""
        proxied = mode is Mode.PROXY or not ready
        if proxied == self._proxied:
            self._change_at = None
        elif self._change_at is None:
            self._change_at = now + self._lag_s
        if self._change_at is not None and now >= self._change_at:
            self._proxied, self._change_at = proxied, None
            self._proxied_since = at
        answers = self._proxied and not self._never_answers and self._chance.random() > 0.1
        route = (int(self.named(now)), int(now > self._named_at_s + 1), self._proxied_since if self._proxied else -1)
        return route, answers
