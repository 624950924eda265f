"""Our autoscaler beside the one that runs: three functions under load, lived again tick by tick from what it was told.

What both are made of is compared in depth by `make campaign-kpa`, in virtual time. Here it is seen that a real life of
a function has nothing in it that the campaign left out.
"""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from knative_mig.core.kpa.cluster import Cluster, cluster_of
from knative_mig.core.kpa.settings import PREFIX, Settings, settings_of
from tests.cluster import autoscaler_log, scrapes
from tests.cluster.api import AUTOSCALER, CONFIG_MAP, SERVERLESS_SERVICE, Api, Object
from tests.cluster.autoscaler_log import Log, Panic, Pass, talkative
from tests.cluster.conftest import DeployFunction
from tests.cluster.figures import Measured
from tests.cluster.function import Function
from tests.cluster.parity import Input, Life, Made, Reached, Routed, Wanted, apart, likeliest, route_of, wanted_by
from tests.cluster.waits import eventually, recorded


@dataclass(frozen=True, slots=True)
class Held:
    """So many requests that begin at a second and are answered so many seconds later."""

    begin: int
    seconds: int
    requests: int


@dataclass(slots=True, kw_only=True)
class Watched:
    """A function, and what is written down of it. Times are of the wall clock, as the autoscaler's log has them."""

    name: str
    annotations: Mapping[str, str]
    load: tuple[Held, ...]
    passes: tuple[int, ...]  # numbers of pods that it is to want on its way
    rests_at: int  # pods, some time after the last request
    otherwise: Mapping[str, Any]  # settings with which our autoscaler would not be Knative's
    inputs: list[Input] = field(default_factory=list)
    desired: int = -1  # pods, by the status as it is now

    @property
    def revision(self) -> str:
        return f"{self.name}-00001"

    def autoscaler(self, at: float, _event: str, item: Object) -> None:
        if not any(isinstance(each, Made) for each in self.inputs):
            self.inputs.append(Made(at=at))
        self.inputs.append(Reached(at=at, reachable=item["spec"].get("reachability") != "Unreachable"))
        self.desired = item.get("status", {}).get("desiredScale", self.desired)

    def route(self, at: float, _event: str, item: Object) -> None:
        self.inputs.append(Routed(at=at, route=route_of(item)))

    def at_rest(self) -> bool:
        return self.desired == self.rests_at

    @property
    def panicked(self) -> list[bool]:
        """By the log: each time that it began to, or ceased."""
        return [each.begins for each in self.inputs if isinstance(each, Panic)]

    @property
    def passed(self) -> list[Pass]:
        """By Knative's controller."""
        return [each for each in self.inputs if isinstance(each, Pass)]

    def settings(self, cluster: Cluster) -> Settings:
        return settings_of(_named(self.annotations), cluster=cluster)


def _three() -> tuple[Watched, ...]:
    """Each comes to its max-scale with twice the requests that takes: averages miss some where a report comes late."""
    return (
        Watched(
            name="surges",
            annotations={
                "target": "2", "target-utilization-percentage": "100", "window": "12s", "panic-window-percentage": "17",
                "min-scale": "1", "max-scale": "5", "target-burst-capacity": "200",
            },
            load=(Held(0, 34, 1), Held(6, 12, 5), Held(12, 6, 12)),
            passes=(1, 5),
            rests_at=1,
            otherwise={"stable_window_s": 24},
        ),
        Watched(
            name="sleeps",
            annotations={
                "target": "1", "target-utilization-percentage": "100", "panic-threshold-percentage": "1000",
                "max-scale": "3", "target-burst-capacity": "-1",
            },
            load=(Held(0, 10, 2), Held(26, 10, 6)),
            passes=(0, 1, 3),
            rests_at=0,
            otherwise={"stable_window_s": 12},
        ),
        Watched(
            name="stays",
            annotations={
                "target": "2", "window": "10s", "min-scale": "1", "max-scale": "3", "scale-down-delay": "8s",
                "metric-aggregation-algorithm": "weighted-exponential", "target-burst-capacity": "0",
            },
            load=(Held(0, 34, 1), Held(4, 14, 1), Held(12, 6, 8)),
            passes=(1, 3),
            rests_at=1,
            otherwise={"scale_down_delay_s": 0.0},
        ),
    )  # fmt: skip


@pytest.mark.alone  # among others Knative's controller may take longer than a tick to do what its autoscaler wants
@pytest.mark.testbed_only
@pytest.mark.slow(60)
def test_our_autoscaler_wants_what_the_running_one_wants_at_each_tick(
    function: DeployFunction, api: Api, namespace: str, measured: Measured
) -> None:
    functions = _three()
    log = Log(namespace)
    with ExitStack() as stack:
        stack.enter_context(talkative(api))
        log.follow(api)
        capture = stack.enter_context(scrapes.captured("system"))
        _write_down(stack, api, namespace, functions)
        pool = stack.enter_context(ThreadPoolExecutor(max_workers=64))
        running = list(pool.map(lambda one: function(one.name, annotations=_named(one.annotations)), functions))
        held = [_hold(pool, which, each) for which, one in zip(running, functions, strict=True) for each in one.load]
        assert {answer.result() for answers in held for answer in answers} == {200}
        for one in functions:
            eventually(f"{one.name} is at rest", one.at_rest)
        written = log.until_now()

    cluster = _cluster(api)
    for one in functions:
        one.inputs += autoscaler_log.lines(written, f"{namespace}/{one.revision}")
        one.inputs += [answer for answer in capture.answers if answer.pod.startswith(f"{one.revision}-deployment-")]
        _compare(one, one.settings(cluster), measured)


def _compare(one: Watched, settings: Settings, measured: Measured) -> None:
    ours = likeliest(settings, one.inputs)
    measured(f"{one.name}: ticks compared", len(ours.ticks), "ticks")
    theirs, controlled = wanted_by(one.passed), [each.at for each in one.passed]
    measured(f"{one.name}: changes of what is wanted", len(theirs), "changes")
    measured(f"{one.name}: ticks with other averages or room for bursts", len(ours.strayed), "ticks")
    assert _differences(ours, theirs, controlled) == []
    assert ours.panicked == one.panicked
    assert set(one.passes) <= {each.pods for each in theirs}, "the load did not do what it is there for"
    # With another setting it would have been told apart.
    assert _differences(likeliest(replace(settings, **one.otherwise), one.inputs), theirs, controlled) != []


def _differences(ours: Life, theirs: Sequence[Wanted], controlled: Sequence[float]) -> list[str]:
    """Where ours is not Knative's. A report that counted in another second strays in each average for a window's time:
    a few such are not ours to explain, many are.
    """
    strayed = ours.strayed if len(ours.strayed) >= len(ours.ticks) / 5 else []
    return [*apart(ours.wanted, theirs, ours.ticks, controlled), *strayed]


def _cluster(api: Api) -> Cluster:
    autoscaler, deployment = (
        api.get(CONFIG_MAP, name, autoscaler_log.NAMESPACE)["data"]
        for name in ("config-autoscaler", "config-deployment")
    )
    return cluster_of(autoscaler, deployment)


def _named(annotations: Mapping[str, str]) -> dict[str, str]:
    return {PREFIX + name: value for name, value in annotations.items()}


def _write_down(stack: ExitStack, api: Api, namespace: str, functions: tuple[Watched, ...]) -> None:
    """All changes of all of them by two watches that begin before there are any."""
    by_revision = {one.revision: one for one in functions}
    to_wall = time.time() - time.monotonic()

    def autoscaler(at: float, event: str, item: Object) -> None:
        by_revision[item["metadata"]["name"]].autoscaler(at + to_wall, event, item)

    def route(at: float, event: str, item: Object) -> None:
        by_revision[item["metadata"]["name"]].route(at + to_wall, event, item)

    stack.enter_context(recorded(api, AUTOSCALER, namespace, autoscaler))
    stack.enter_context(recorded(api, SERVERLESS_SERVICE, namespace, route))


def _hold(pool: ThreadPoolExecutor, function: Function, held: Held) -> list[Future[int]]:
    def ask() -> int:
        time.sleep(held.begin)
        return function.ask(f"/?sleep={held.seconds}s").status

    return [pool.submit(ask) for _ in range(held.requests)]
