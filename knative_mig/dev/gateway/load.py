"""What the autoscaler is told of requests: averages over the time since it was told last.

`hall` has one `Reporter` in the activator's place, of all revisions, and a `Meter` for each pod in its queue-proxy's.
The subtle thing is the first request of a revision that was silent: the activator tells of it at once, as of a whole
second with one request, and takes that away from what it tells at the end of the second.
"""

from dataclasses import dataclass, field
from typing import Final

from knative_mig.core.kpa.stats import Stat
from knative_mig.ports.kube import Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    revision: Key
    stat: Stat


FIRST: Final = Stat(concurrency=1.0, requests=1.0)


class Meter:
    """Of one place where requests come and go."""

    __slots__ = (
        "_at",
        "_proxied",
        "_proxied_came",
        "_proxied_s",
        "_request_s",
        "_requests",
        "_requests_came",
        "_used_s",
    )

    def __init__(self, now: float) -> None:
        self._at = now
        self._requests = self._proxied = 0
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._requests_came = self._proxied_came = 0
        self._request_s = self._proxied_s = self._used_s = 0.0

    @property
    def requests(self) -> int:
        """Those that are there now."""
        return self._requests

    def came(self, now: float, *, proxied: bool = False) -> None:
        self._go_on(now)
        self._requests += 1
        self._requests_came += 1
        self._proxied += proxied
        self._proxied_came += proxied

    def went(self, now: float, *, proxied: bool = False) -> None:
        self._go_on(now)
        self._requests -= 1
        self._proxied -= proxied

    def report(self, now: float) -> Stat:
        self._go_on(now)
        used_s = self._used_s
        stat = Stat(
            concurrency=self._request_s / used_s if used_s else 0.0,
            proxied_concurrency=self._proxied_s / used_s if used_s else 0.0,
            requests=float(self._requests_came),
            proxied_requests=float(self._proxied_came),
        )
        self._begin_anew()
        return stat

    def _go_on(self, now: float) -> None:
        if (since := now - self._at) > 0:
            self._used_s += since
            self._request_s += self._requests * since
            self._proxied_s += self._proxied * since
            self._at = now


@dataclass(slots=True, eq=False)
class _Counted:
    meter: Meter
    told_before: int = field(default=1)  # of requests that the first message was about


class Reporter:
    def __init__(self) -> None:
        self._of: dict[Key, _Counted] = {}

    def came(self, revision: Key, now: float) -> Told | None:
        """What the autoscaler is to be told at once."""
        counted = self._of.get(revision)
        is_first = counted is None
        if counted is None:
            counted = self._of[revision] = _Counted(Meter(now))
        counted.meter.came(now)
        return Told(revision=revision, stat=FIRST) if is_first else None

    def went(self, revision: Key, now: float) -> None:
        self._of[revision].meter.went(now)

    def report(self, now: float) -> list[Told]:
        """Each second. One that had nothing in it is told of once more, and then forgotten."""
        return [self._reported(revision, counted, now) for revision, counted in list(self._of.items())]

    def _reported(self, revision: Key, counted: _Counted, now: float) -> Told:
        stat, before = counted.meter.report(now), counted.told_before
        counted.told_before = 0
        if not stat.concurrency and not counted.meter.requests:
            del self._of[revision]
        return Told(
            revision=revision,
            stat=Stat(concurrency=max(stat.concurrency - before, 0.0), requests=stat.requests - before),
        )
