"""The KPA between gateway and controllers, on a clock that the test turns."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from knative_mig.core.kpa.reconcile import Mode, Route
from knative_mig.core.kpa.stats import Stat
from knative_mig.core.kpa.status import Active, Activity
from knative_mig.dev.gateway.load import Told
from knative_mig.dev.serving.scaling import Answer, Asked
from knative_mig.dev.whole.autoscaling import Kpa
from knative_mig.ports.kube import Key

TINY = Key("default", "tiny-00001")
PREFIX = "autoscaling.knative.dev/"


@dataclass
class World:
    """One revision. All requests come by the activator, unless its target burst capacity says otherwise."""

    burst: str = "-1"
    now: float = 1000.0
    ready: int = 0
    pods: dict[Key, Stat] = field(default_factory=dict)
    maps: tuple[Mapping[str, str], Mapping[str, str]] = ({}, {})
    woken: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.kpa = Kpa(
            maps=lambda: self.maps,
            requests=lambda: self,
            wake=lambda _: self.woken.append(self.now),
            clock=lambda: self.now,
        )
        self.last = Answer(
            active=Active(activity=Activity.INACTIVE, reason="NoTraffic", since=900.0),
            initialized=True,
            desired=0,
            actual=0,
            mode=Mode.PROXY,
            activators=2,
        )
        self.replicas = 0

    def is_by_activator(self, revision: Key) -> bool:
        return revision == TINY

    def scraped(self, revision: Key) -> Mapping[Key, Stat]:
        assert revision == TINY
        return self.pods

    def asked(self) -> Answer:
        self.last = self.kpa.answer(
            Asked(
                revision=TINY,
                annotations={f"{PREFIX}target-burst-capacity": self.burst, f"{PREFIX}window": "6s"},
                container_concurrency=0,
                reachable=True,
                active=self.last.active,
                initialized=self.last.initialized,
                desired=self.last.desired,
                actual=self.last.actual,
                ready=self.ready,
                replicas=self.replicas,
                way=Route(mode=Mode.PROXY, named=True, ready=True, proxied_since=900.0),
            ),
            self.now,
        )
        self.replicas = self.replicas if self.last.replicas is None else self.last.replicas
        return self.last

    def told(self, concurrency: float) -> None:
        self.kpa.told([Told(revision=TINY, stat=Stat(concurrency=concurrency, requests=concurrency))])

    def passes(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += 1.0
            self.kpa.pass_time(self.now)


def test_the_first_request_wakes_a_revision_at_zero_at_once() -> None:
    world = World()
    assert world.asked().desired == 0
    world.passes(3)
    world.woken.clear()
    world.told(1.0)
    assert world.woken == [1003.0]
    assert world.asked().replicas == 1


def test_without_requests_it_goes_to_zero_after_its_window_and_the_grace_of_the_configmap() -> None:
    world = World(maps=({"scale-to-zero-grace-period": "1s"}, {}))
    world.asked()
    world.told(1.0)
    world.asked()
    world.ready = 1
    world.asked()
    world.woken.clear()
    for _ in range(20):
        world.passes(1)
        world.asked()
    assert world.replicas == 0
    assert world.woken


def test_a_revision_whose_pods_are_asked_directly_is_scraped_each_second() -> None:
    world = World(burst="0", ready=1)
    world.replicas, world.last = 1, World().last
    world.pods = {Key("default", "pod"): Stat(concurrency=250.0)}
    world.asked()
    world.passes(6)
    assert (world.asked().replicas or 0) > 1


def test_what_no_configmap_may_say_changes_nothing() -> None:
    world = World(maps=({"stable-window": "long"}, {}))
    assert world.asked().desired == 0


def test_one_that_is_gone_is_told_of_no_more() -> None:
    world = World()
    world.asked()
    world.kpa.forget(TINY)
    world.told(1.0)
    world.passes(4)
    assert world.woken == []
