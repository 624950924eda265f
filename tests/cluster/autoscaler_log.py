"""What the running autoscaler says of its functions, line by line, while it logs all it can.

Read by `parity`. The log is the most exact witness of what came in: it has each activator's message in full, when it
was taken, and at each tick how many pods were ready in the autoscaler's own eyes. What its pods answered is not in it,
only that they were asked: `scrapes` has the answers. Times are the autoscaler's own.
"""

import contextlib
import json
import re
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from knative_mig.core.kpa.stats import Stat
from tests.cluster.api import CONFIG_MAP, POD, Api, Object
from tests.cluster.waits import eventually

NAMESPACE: Final = "knative-serving"
_LOGGING: Final = "config-logging"
_LEVEL: Final = "loglevel.autoscaler"
_SILENCE_S: Final = 60.0

_NUMBER: Final = r"([-+.\de]+)"
_TOLD: Final = re.compile(
    r"Received stat message: \{Key:(?P<key>\S+) Stat:\{PodName:\S* "
    rf"AverageConcurrentRequests:{_NUMBER} AverageProxiedConcurrentRequests:{_NUMBER} "
    rf"RequestCount:{_NUMBER} ProxiedRequestCount:{_NUMBER} "
)
_TICK: Final = re.compile(
    rf"observed values: stable = {_NUMBER}; panic = {_NUMBER}; .*ReadyEndpointCount = (\d+), .*MaxScaleUp"
)
_BURST: Final = re.compile(rf"TargetBC={_NUMBER} ExcessBC={_NUMBER}$")
_ASKED: Final = re.compile(r"\|OldPods\| = (\d+), \|YoungPods\| = (\d+)")
_PASS: Final = re.compile(r"PA scale got=(\d+), want=(-?\d+), desiredPods=(-?\d+) ebc=(-?\d+)")
_NO_DATA: Final = "No data to scale on yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An activator's message."""

    at: float
    stat: Stat


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """So many pods are about to be scraped."""

    at: float
    pods: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """`averages`: of the stable and the panic window, with three digits; None: there were no data."""

    at: float
    averages: tuple[float, float] | None
    ready: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """What the tick before it left over."""

    at: float
    excess: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """Of its reconciler, with the ready pods that it saw and what the last tick wished for."""

    at: float
    ready: int
    wanted: int
    wished: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Panic:
    at: float
    begins: bool


Line = Told | Asked | Tick | Burst | Pass | Panic


@contextmanager
def talkative(api: Api) -> Iterator[None]:
    """It takes a change of its level while it runs."""
    before = api.get(CONFIG_MAP, _LOGGING, NAMESPACE).get("data", {}).get(_LEVEL)
    api.merge(CONFIG_MAP, _LOGGING, {"data": {_LEVEL: "debug"}}, NAMESPACE)
    try:
        yield
    finally:
        api.merge(CONFIG_MAP, _LOGGING, {"data": {_LEVEL: before}}, NAMESPACE)


def _pod(api: Api) -> str:
    """One that is not going: a test before this one may have ended its forerunner."""
    found = api.items(POD, NAMESPACE, labelSelector="app=autoscaler")
    [name] = [each["metadata"]["name"] for each in found if "deletionTimestamp" not in each["metadata"]]
    return str(name)


@dataclass(slots=True)
class Log:
    """What is written about a namespace's functions from now on."""

    namespace: str
    written: list[str] = field(default_factory=list)

    def follow(self, api: Api) -> None:
        """As it comes: the kubelet begins another file after some megabytes, and shows no earlier one."""
        path = f"{POD.path(NAMESPACE, _pod(api))}/log?container=autoscaler&follow=true&sinceSeconds=1"

        def listen() -> None:
            with contextlib.suppress(OSError):  # nothing was written for a while: all is over
                for line in api.lines(path, seconds=_SILENCE_S):
                    if self.namespace in line:
                        self.written.append(line)

        # A daemon: it ends with the run, or when the autoscaler is silent again.
        threading.Thread(target=listen, daemon=True).start()

    def until_now(self) -> list[str]:
        """Waits for a tick that came after all that is to be in it."""
        now = time.time()
        eventually("the log has come this far", lambda: _moment(json.loads(self.written[-1])), lambda at: at >= now)
        return [*self.written]


def lines(log: Iterable[str], key: str) -> Iterator[Line]:
    """Those about one revision, `namespace/name`."""
    for written in log:
        if key not in written:
            continue
        words = json.loads(written)
        message, at = words["message"], _moment(words)
        if match := _TOLD.match(message):
            if match["key"] == key:
                yield Told(at=at, stat=_stat(*match.groups()[1:]))
        elif words.get("knative.dev/key") == key and (line := _of_it(message, at)):
            yield line


def _moment(words: Object) -> float:
    return datetime.fromisoformat(words["timestamp"]).timestamp()


def _of_it(message: str, at: float) -> Line | None:
    if match := _TICK.search(message):
        return Tick(at=at, averages=(float(match[1]), float(match[2])), ready=int(match[3]))
    if match := _BURST.search(message):
        return Burst(at=at, excess=int(float(match[2])))
    if match := _ASKED.match(message):
        return Asked(at=at, pods=int(match[1]) + int(match[2]))
    if match := _PASS.match(message):
        return Pass(at=at, ready=int(match[1]), wanted=int(match[2]), wished=int(match[3]))
    if message == _NO_DATA:
        return Tick(at=at, averages=None)
    if message in ("PANICKING.", "Un-panicking."):
        return Panic(at=at, begins=message == "PANICKING.")
    return None


def _stat(*values: str) -> Stat:
    concurrency, proxied, requests, proxied_requests = map(float, values)
    return Stat(
        concurrency=concurrency,
        proxied_concurrency=proxied,
        requests=requests,
        proxied_requests=proxied_requests,
    )
