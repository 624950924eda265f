"""Lives one revision's life again with our autoscaler, from all that the running one was told, and compares what each
wanted of it.

Told are activators' messages, pods' answers, the pods that were ready, the route and the moments of the ticks; not what
came of it, but for a tick at which the averages are others: when a report was counted is written nowhere. That has
strayed, and what it is followed by is compared as if Knative's averages were ours. Passes of `reconcile` are made as
Knative's controller makes them: when a tick has news, when something of the revision changes, and when the pass before
asked for it. The life begins with the running one's first pass, which is when its ticks begin to count: how long a new
revision waits for that is not the autoscaler's doing.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from knative_mig.core.kpa.autoscaler import Autoscaler
from knative_mig.core.kpa.decider import is_news, ticked
from knative_mig.core.kpa.reconcile import Mode, Route, Seen, reconcile
from knative_mig.core.kpa.scale import TICK_S
from knative_mig.core.kpa.settings import Settings
from knative_mig.core.kpa.stats import Observed, sample_size, scraped
from knative_mig.core.kpa.status import Status
from tests.cluster.api import Object
from tests.cluster.autoscaler_log import Asked, Burst, Line, Panic, Pass, Tick, Told
from tests.cluster.scrapes import Scraped
from tests.cluster.waits import condition, is_true

# A message that wakes has the running autoscaler tick within this, and it is no tick of its own for us.
_AT_ONCE_S: Final = 0.1
_LAGS_S: Final = (0.0, 0.005, 0.02, 0.05, 0.1)
_LATE_S: Final = 0.5  # a report may be counted so much later than it was seen to come, where something is busy
_JUST_S: Final = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Its PodAutoscaler."""

    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    at: float
    route: Route


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """Whether a route leads to it."""

    at: float
    reachable: bool


Input = Line | Scraped | Made | Routed | Reached


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The desired scale, from then on."""

    at: float
    pods: int


def route_of(service: Object) -> Route:
    """From a ServerlessService."""
    activators = condition(service, "ActivatorEndpointsPopulated")
    since = activators["lastTransitionTime"] if activators.get("status") == "True" else None
    return Route(
        mode=Mode(service["spec"]["mode"]),
        named=bool(service.get("status", {}).get("privateServiceName")),
        ready=is_true(service),
        proxied_since=None if since is None else datetime.fromisoformat(since).timestamp(),
    )


@dataclass(slots=True)
class Life:
    """What our autoscaler made of it. `lag_s`: after which the running one counts what a pod answered."""

    settings: Settings
    lag_s: float = 0.0
    ticks: list[float] = field(default_factory=list)
    wanted: list[Wanted] = field(default_factory=list)
    strayed: list[str] = field(default_factory=list)  # ticks at which averages or room for bursts were others
    panicked: list[bool] = field(default_factory=list)
    _status: Status | None = None
    _autoscaler: Autoscaler | None = None
    _route: Route | None = None
    _ready: int = 0
    _replicas: int = 1
    _again: float | None = None
    _woken: float = 0.0
    _asked: Asked | None = None
    _answers: list[Scraped] = field(default_factory=list)

    def live(self, inputs: Iterable[Input]) -> "Life":
        for at, each in sorted(((self._when(one), one) for one in inputs), key=lambda pair: pair[0]):
            while self._again is not None and self._again < at:
                self._pass(self._again)
            if self._take(each):
                self._pass(at)
        return self

    def _when(self, each: Input) -> float:
        return each.at + self.lag_s if isinstance(each, Scraped) else each.at

    def _take(self, each: Input) -> bool:
        """Whether a pass follows."""
        match each:
            case Made():
                self._status = Status.fresh(each.at)
            case Reached():
                self.settings = replace(self.settings, reachable=each.reachable)
            case Routed():
                self._route = each.route
            case Pass():
                changed = self._ready != each.ready
                self._ready = each.ready
                if self._autoscaler is None:
                    self._autoscaler = Autoscaler(self.settings, each.ready, each.at)
                    return True
                return changed
            case Told():
                return self._told(each)
            case Asked():
                self._asked, self._answers = each, []
                return False
            case Scraped():
                self._scraped(each)
                return False
            case Tick():
                return self._tick(each)
            case Burst():
                self._see_burst(each)
                return False
            case Panic():
                return False
        return True

    def _told(self, told: Told) -> bool:
        if self._autoscaler is None:
            return False
        before = self._autoscaler.decider
        news = self._autoscaler.told(told.stat, told.at, self._ready, told.at)
        if self._autoscaler.decider is not before:
            self._woken = told.at
        return news

    def _scraped(self, answer: Scraped) -> None:
        """The last of them makes the scrape whole."""
        if self._autoscaler is None or self._asked is None:
            return
        self._answers.append(answer)
        if len(self._answers) == sample_size(self._asked.pods):
            self._autoscaler.scraped(
                scraped([each.stat for each in self._answers], self._asked.pods), self._when(answer)
            )
            self._asked = None

    def _tick(self, tick: Tick) -> bool:
        if self._autoscaler is None:
            return False
        changed = tick.ready not in (None, self._ready)
        self._ready = self._ready if tick.ready is None else tick.ready
        before = self._autoscaler.decider
        at_once = tick.at - self._woken < _AT_ONCE_S
        if at_once:
            self._woken, news = 0.0, False
        else:
            news = self._autoscaler.tick(self._ready, tick.at)
        self.ticks.append(tick.at)
        seen = self._autoscaler.observed
        ours = None if seen is None else (seen.stable, seen.panic)
        if not _alike(ours, tick.averages):
            self.strayed.append(f"{tick.at:.3f}: averages are {ours}, Knative's are {tick.averages}")
            if not at_once:
                theirs = None if tick.averages is None else Observed(*tick.averages)
                self._autoscaler.decider = ticked(before, self.settings, self._ready, theirs, tick.at)
                news = is_news(before, self._autoscaler.decider)
        panics = self._autoscaler.decider.memory.panicking_since is not None
        if panics != bool(self.panicked and self.panicked[-1]):
            self.panicked.append(panics)
        return news or changed

    def _see_burst(self, burst: Burst) -> None:
        if self._autoscaler is not None and self._autoscaler.decider.excess_burst != burst.excess:
            ours = self._autoscaler.decider.excess_burst
            self.strayed.append(f"{burst.at:.3f}: room for bursts is {ours}, Knative's is {burst.excess}")

    def _pass(self, now: float) -> None:
        self._again = None
        if self._status is None:
            return
        if self._autoscaler is not None:
            self._autoscaler.settle(self.settings, now)
        seen = Seen(
            route=self._route,
            ready=self._ready,
            replicas=self._replicas,
            activator_answers=self._route is not None and self._route.proxied_since is not None,
        )
        decider = self._autoscaler.decider if self._autoscaler else None
        done = reconcile(self._status, self.settings, decider, seen, now)
        again_s = done.look_again_s
        if done.status.active != self._status.active and again_s is None:
            again_s = 0.0  # it hears of the status that it wrote
        self._status = done.status
        self._replicas = self._replicas if done.replicas is None else done.replicas
        self._again = None if again_s is None else now + again_s
        if done.status.desired is not None:
            note(self.wanted, now, done.status.desired)


def likeliest(settings: Settings, inputs: Sequence[Input]) -> Life:
    """How late the running autoscaler counts what it is told is written nowhere, and where that is into the next second
    it matters, in each average for a window's time: taken is the lag of answers by which its averages come out best,
    and for each that came near the end of a second the better of the two seconds.
    """
    best = min((Life(settings, lag_s).live(inputs) for lag_s in _LAGS_S), key=_strays)
    for number, each in enumerate(inputs):
        if best.strayed and isinstance(each, Told | Scraped) and (later := _in_the_next_second(each, best.lag_s)):
            moved = [*inputs[:number], later, *inputs[number + 1 :]]
            other = Life(settings, best.lag_s).live(moved)
            if _strays(other) < _strays(best):
                best, inputs = other, moved
    return best


def _strays(life: Life) -> int:
    return len(life.strayed)


def _in_the_next_second(each: Told | Scraped, lag_s: float) -> Told | Scraped | None:
    """None where it came too early for that."""
    lag_s = lag_s if isinstance(each, Scraped) else 0.0
    counted = each.at + lag_s
    begins = math.ceil(counted)
    return replace(each, at=begins + _JUST_S - lag_s) if begins - counted < _LATE_S else None


def _alike(ours: tuple[float, float] | None, theirs: tuple[float, float] | None) -> bool:
    """To the digits of the log."""
    if ours is None or theirs is None:
        return ours is theirs
    return all(abs(mine - its) < 0.00051 for mine, its in zip(ours, theirs, strict=True))


def note(wanted: list[Wanted], at: float, pods: int) -> None:
    if not wanted or wanted[-1].pods != pods:
        wanted.append(Wanted(at=at, pods=pods))


def wanted_by(passes: Iterable[Pass]) -> list[Wanted]:
    """What Knative's controller writes into the status, when it comes to it: a watch may tell of that late."""
    found: list[Wanted] = []
    for each in passes:
        if each.wanted >= 0 or not found:
            note(found, each.at, each.wanted)
    return found


def apart(
    ours: Sequence[Wanted], theirs: Sequence[Wanted], ticks: Sequence[float], passes: Sequence[float] = ()
) -> list[str]:
    """Where one wants what the other does not within a tick of it: at each tick, and whenever one changes its mind.

    `passes`: of Knative's controller, which alone says what its autoscaler wants. On a busy machine it may come to that
    only after the next tick; what was wanted in between nobody knows then, and it counts for neither.
    """
    if not ours or not theirs:
        return ["one of them never wanted anything"]
    first = max(ours[0].at, theirs[0].at)
    moments = sorted({*ticks, *(each.at for each in (*ours, *theirs))})
    found = []
    for at in (each for each in moments if each >= first):
        for name, one, other, since in (("ours", ours, theirs, at), ("Knative's", theirs, ours, at - TICK_S)):
            [mind] = _minds(one, at, at)
            around = _minds(other, at - TICK_S, at + TICK_S)
            if mind not in around and not _late(passes, since):
                found.append(f"{at:.3f}: {name} wants {mind}, the other {sorted(around)}")
    return found


def _late(passes: Sequence[float], since: float) -> bool:
    """Whether there was none within a tick, but one within the next."""
    waited = min((each - since for each in passes if each >= since), default=0.0)
    return TICK_S < waited <= 2 * TICK_S


def _minds(wanted: Sequence[Wanted], begin: float, end: float) -> set[int]:
    """What was wanted at some time between."""
    return set(_between(wanted, begin, end))


def _between(wanted: Sequence[Wanted], begin: float, end: float) -> Iterator[int]:
    for each, after in zip(wanted, [*wanted[1:], None], strict=True):
        if each.at <= end and (after is None or after.at > begin):
            yield each.pods
