"""Requests through any order of pods that come, go and come back: none is lost, none is served twice, no pod has more
than it may.

A model of what each request was told is kept beside the hall; after each happening the two are compared. Pods finish
what they have, as real ones do.
"""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from knative_mig.core.kpa.stats import Stat
from knative_mig.dev.gateway.facts import Pod, PodFacts, RevisionFacts
from knative_mig.dev.gateway.hall import Entered, Hall
from knative_mig.dev.gateway.throttle import Stand, Ticket
from knative_mig.dev.gateway.timeouts import Limits
from knative_mig.ports.kube import Key
from tests.rigs.gateway import in_flight

FN = Key("team", "fn-00001")
PODS = [Pod(f"127.64.0.{number}", 8080, Key("team", f"pod-{number}")) for number in range(4)]

HAPPENINGS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "request",
                "request",
                "request",
                "answer",
                "answer",
                "gives up",
                "pod ready",
                "pod ready",
                "pod not ready",
                "pod gone",
                "mode",
                "second",
            ]
        ),
        st.integers(0, 1000),
    ),
    max_size=120,
)


@dataclass
class World:
    concurrency: int
    draws: int = 0
    now: float = 100.0
    ready: set[Pod] = field(default_factory=set)
    running: dict[Ticket, Pod] = field(default_factory=dict)
    waiting: list[Ticket] = field(default_factory=list)
    direct: bool = False
    came: int = 0
    told: float = 0.0

    def __post_init__(self) -> None:
        self.hall = Hall(self._draw)
        self.hall.revision_changed(FN, RevisionFacts(uid="u", concurrency=self.concurrency, limits=Limits()), self.now)

    def _draw(self, below: int) -> int:
        self.draws += 1
        return self.draws * 7919 % below

    def happen(self, what: str, how: int) -> None:
        self.now += how / 1000
        match what:
            case "request":
                self.request()
            case "answer" if self.running:
                ticket = list(self.running)[how % len(self.running)]
                del self.running[ticket]
                self.begun(self.hall.leave(ticket, self.now))
            case "gives up" if self.waiting:
                ticket = self.waiting.pop(how % len(self.waiting))
                self.begun(self.hall.leave(ticket, self.now))
            case "pod ready" | "pod not ready" | "pod gone":
                self.pod(PODS[how % len(PODS)], what)
            case "mode":
                self.direct = not self.direct
                self.hall.direct_changed(FN, is_direct=self.direct)
            case "second":
                self.told += sum(each.stat.requests for each in self.hall.report(self.now))

    def request(self) -> None:
        entered = self.hall.enter(FN, lambda: None, self.now)
        if not isinstance(entered, Entered):
            assert self.direct, "so few are held that there is a place"
            assert self.concurrency
            return
        if entered.poke is not None:
            self.told += entered.poke.stat.requests
        self.came += entered.ticket.by_activator
        if entered.ticket.stand is Stand.RUNS:
            self.begun([entered.ticket], is_new=True)
        else:
            self.waiting.append(entered.ticket)

    def begun(self, tickets: list[Ticket], *, is_new: bool = False) -> None:
        for ticket in tickets:
            assert ticket not in self.running, "it is served twice"
            if not is_new:
                self.waiting.remove(ticket)  # ValueError: it had given up, or was never there
            assert ticket.pod is not None
            assert not ticket.by_activator or ticket.pod in self.ready
            self.running[ticket] = ticket.pod

    def pod(self, pod: Pod, what: str) -> None:
        self.ready.discard(pod)
        facts = PodFacts(revision=FN, at=pod if what == "pod ready" else None)
        if what == "pod ready":
            self.ready.add(pod)
        self.begun(self.hall.pod_changed(pod.key, None if what == "pod gone" else facts, self.now))

    def check(self) -> None:
        at = list(self.running.values())
        if self.concurrency:
            assert all(at.count(pod) <= self.concurrency for pod in PODS)
        held = [ticket for ticket in self.waiting if ticket.stand is Stand.HELD]
        assert len(held) + sum(ticket.stand is Stand.QUEUES for ticket in self.waiting) == len(self.waiting)
        if held:
            assert all(self.concurrency and at.count(pod) == self.concurrency for pod in self.ready), "room, and unused"
        queued = [ticket.pod for ticket in self.waiting if ticket.stand is Stand.QUEUES]
        for pod in PODS:
            assert in_flight(self.hall, pod.key) == at.count(pod) + queued.count(pod)
        load = self.hall.loads()[FN]
        assert (load.held, load.running) == (len(held), len(at) + len(queued))

    def finish(self) -> None:
        """One pod comes for good, and everybody is answered."""
        self.pod(PODS[0], "pod ready")
        while self.running:
            self.happen("answer", 0)
            self.check()
        assert not self.waiting, "somebody was forgotten"
        self.happen("second", 1000)
        self.happen("second", 1000)
        assert self.told == self.came, "the autoscaler counted another number of requests"
        assert all(stat == Stat() for stat in self.hall.scraped(FN).values())


@settings(max_examples=300)
@given(concurrency=st.sampled_from([0, 1, 2, 3, 4, 7]), happenings=HAPPENINGS)
def test_nothing_is_lost_served_twice_or_too_much(concurrency: int, happenings: list[tuple[str, int]]) -> None:
    world = World(concurrency)
    for what, how in happenings:
        world.happen(what, how)
        world.check()
    world.finish()


@settings(max_examples=100)
@given(concurrency=st.sampled_from([0, 1, 2, 5]), happenings=HAPPENINGS)
def test_who_is_held_is_served_in_the_order_of_coming(concurrency: int, happenings: list[tuple[str, int]]) -> None:
    world = World(concurrency)
    for what, how in happenings:
        held = [ticket for ticket in world.waiting if ticket.stand is Stand.HELD]
        world.happen(what, how)
        served = [ticket for ticket in held if ticket in world.running]
        still = [ticket for ticket in held if ticket.stand is Stand.HELD]
        assert [ticket for ticket in held if ticket in served or ticket in still] == served + still
