"""A function from its first request to its last pod, in virtual time: all of the autoscaler together."""

from dataclasses import dataclass, field

from knative_mig.core.kpa.autoscaler import Autoscaler
from knative_mig.core.kpa.reconcile import Mode, Route, Seen, reconcile
from knative_mig.core.kpa.settings import Settings, settings_of
from knative_mig.core.kpa.stats import Observed, Stat
from knative_mig.core.kpa.status import Activity, Status

BEGAN = 1000
PREFIX = "autoscaling.knative.dev/"


@dataclass
class Function:
    """Pods are ready two seconds after they are asked for, and all requests come by the activator."""

    settings: Settings
    load: float = 0.0
    now: int = BEGAN
    replicas: int = 0
    asked: list[int] = field(default_factory=list)  # when each pod was asked for
    history: dict[int, int] = field(default_factory=dict)  # replicas, where they changed

    def __post_init__(self) -> None:
        self.status = Status.fresh(self.now)
        self.autoscaler = Autoscaler(self.settings, 0, self.now)
        self.route = Route(mode=Mode.PROXY, named=True, ready=True, proxied_since=self.now)

    @property
    def ready(self) -> int:
        return sum(self.now - each >= 2 for each in self.asked)

    def run(self, seconds: int, load: float | None = None) -> "Function":
        self.load = self.load if load is None else load
        for _ in range(seconds):
            self.now += 1
            told = self.autoscaler.told(Stat(concurrency=self.load), self.now, self.ready, self.now)
            if (self.now - BEGAN) % 2 == 0:
                told |= self.autoscaler.tick(self.ready, self.now)
            self.reconcile()
        return self

    def reconcile(self) -> None:
        seen = Seen(route=self.route, ready=self.ready, replicas=self.replicas, activator_answers=True)
        done = reconcile(self.status, self.settings, self.autoscaler.decider, seen, self.now)
        self.status = done.status
        if done.replicas is not None:
            self.replicas = self.history[self.now - BEGAN] = done.replicas
            self.asked = [*self.asked, *[self.now] * (done.replicas - len(self.asked))][: done.replicas]


def function(**annotations: str) -> Function:
    words = {"target": "10", "target-utilization-percentage": "100", "target-burst-capacity": "-1", "window": "20s"}
    words |= {name.replace("_", "-"): text for name, text in annotations.items()}
    return Function(settings_of({PREFIX + name: text for name, text in words.items()}))


def test_from_zero_by_one_request_and_back_to_zero() -> None:
    story = function(initial_scale="1").run(5)
    story.status = Status(
        active=Status.fresh(BEGAN).active.now_said(Activity.INACTIVE, "NoTraffic", "", BEGAN), initialized=True
    )
    assert story.autoscaler.decider.desired == 0
    story.run(1, load=1)
    assert story.history == {6: 1}  # with the request, not with the next tick
    assert story.status.active.reason == "Queued"
    story.run(2)
    assert story.status.active.activity is Activity.ACTIVE
    story.run(100, load=0)
    # Active since 8, idle for a window at 28; at 30 requests have been by the activator for the grace period.
    assert story.history == {6: 1, 30: 0}
    assert story.status.active.reason == "NoTraffic"


def test_a_burst_is_met_at_once_and_left_slowly() -> None:
    story = function(min_scale="1").run(40, load=5).run(8, load=100).run(32, load=5)
    assert story.history == {
        1: 1,
        42: 10,  # by the panic window of 2 s: the stable one says 2
        64: 5,  # nothing goes down in a panic, which lasts for a window beyond its last tick over the threshold
        66: 2,  # nor by more than a half at once
        68: 1,
    }


def test_a_function_keeps_its_least_pods_however_idle() -> None:
    story = function(min_scale="2").run(200, load=0)
    assert story.replicas == 2
    assert story.status.active.activity is Activity.ACTIVE


def test_another_window_counts_from_the_moment_it_is_set() -> None:
    story = function(min_scale="1", window="1m").run(60, load=0)
    story.run(6, load=60)
    slow = story.autoscaler.observed
    assert slow is not None
    assert slow.stable < 7
    story.settings = settings_of(
        {PREFIX + "target": "10", PREFIX + "window": "6s", PREFIX + "target-burst-capacity": "-1"}
    )
    story.autoscaler.settle(story.settings, story.now)
    story.run(2)
    assert story.autoscaler.observed == Observed(60, 60)


def test_what_pods_were_asked_counts_as_what_an_activator_told() -> None:
    told, asked = (Autoscaler(settings_of({}), 1, BEGAN) for _ in range(2))
    told.told(Stat(concurrency=140), BEGAN + 1, 1, BEGAN + 1.5)
    asked.scraped(Stat(concurrency=140), BEGAN + 1.5)
    assert told.tick(1, BEGAN + 2) == asked.tick(1, BEGAN + 2) is True
    assert told.decider == asked.decider
    assert told.decider.desired == 2
