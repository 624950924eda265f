"""Requests of a function over virtual time: what its clients, its pods and the autoscaler see."""

from dataclasses import dataclass, field
from http import HTTPStatus

import pytest

from knative_mig.core.kpa.stats import Stat
from knative_mig.dev.gateway.facts import Pod, PodFacts, RevisionFacts, RouteFacts, Traffic
from knative_mig.dev.gateway.hall import Entered, Hall, Load
from knative_mig.dev.gateway.load import FIRST, Told
from knative_mig.dev.gateway.replies import Reply
from knative_mig.dev.gateway.throttle import MOST_HELD, Stand, Ticket
from knative_mig.dev.gateway.timeouts import Limits
from knative_mig.ports.kube import Key

FN = Key("team", "fn-00001")


def a_pod(number: int) -> Pod:
    return Pod(f"127.64.0.{number}", 8080, Key("team", f"pod-{number}"))


@dataclass
class Story:
    concurrency: int = 1
    now: float = 100.0
    hall: Hall = field(default_factory=lambda: Hall(lambda _: 0))

    def __post_init__(self) -> None:
        self.hall.revision_changed(FN, self.facts("uid-1"), self.now)
        self.hall.route_changed(Key("team", "fn"), RouteFacts(traffic=(Traffic(revision=FN.name, percent=100),)))

    def facts(self, uid: str) -> RevisionFacts:
        return RevisionFacts(uid=uid, concurrency=self.concurrency, limits=Limits())

    def enter(self) -> Entered:
        entered = self.hall.enter(FN, lambda: None, self.now)
        assert isinstance(entered, Entered)
        return entered

    def pod(self, number: int, *, is_ready: bool = True) -> list[Ticket]:
        at = a_pod(number)
        return self.hall.pod_changed(at.key, PodFacts(revision=FN, at=at if is_ready else None), self.now)


def test_from_zero_the_autoscaler_is_poked_and_the_request_runs_when_the_pod_is_ready() -> None:
    story = Story()
    entered = story.enter()
    assert entered.poke == Told(revision=FN, stat=FIRST)
    assert entered.ticket.stand is Stand.HELD
    assert story.enter().poke is None
    assert story.hall.loads()[FN] == Load(held=2, running=0)
    story.now += 5
    assert story.pod(1, is_ready=False) == []
    assert story.pod(1) == [entered.ticket]
    assert entered.ticket.pod == a_pod(1)
    assert story.hall.loads()[FN] == Load(held=1, running=1)


def test_a_function_whose_route_is_not_there_yet_is_there_itself() -> None:
    hall = Hall(lambda _: 0, is_function={Key("team", "new")}.__contains__)
    for host, said in (
        ("new.team.localhost", "team/new is there, but nothing of it is ready yet: knative-mig ls shows why"),
        ("old.team.localhost", "no function has the host 'old.team.localhost': there is none"),
    ):
        answer = hall.revision_at(host)
        assert isinstance(answer, Reply)
        assert (answer.status, answer.body.decode()) == (HTTPStatus.NOT_FOUND, f"{said}\n")


def test_held_requests_are_demand_each_second_and_are_no_more_once_they_give_up() -> None:
    story = Story()
    tickets = [story.enter().ticket for _ in range(3)]
    assert story.hall.report(101.0) == [Told(revision=FN, stat=Stat(concurrency=2, requests=2))]
    assert story.hall.report(102.0) == [Told(revision=FN, stat=Stat(concurrency=3))]
    for ticket in tickets:
        assert story.hall.leave(ticket, 102.0) == []
    assert story.hall.report(103.0) == [Told(revision=FN, stat=Stat())]
    assert story.hall.report(104.0) == []


def test_a_deleted_pod_finishes_what_it_has_and_says_when_its_last_request_came() -> None:
    story = Story(concurrency=0)
    story.pod(1)
    ticket = story.enter().ticket
    story.pod(1, is_ready=False)
    assert story.enter().ticket.stand is Stand.HELD
    assert (story.hall.loads()[FN].running, story.hall.last_came(a_pod(1).key)) == (1, 100.0)
    story.hall.leave(ticket, 130.0)
    assert story.hall.last_came(a_pod(1).key) == 100.0
    story.hall.pod_changed(a_pod(1).key, None, 131.0)
    assert story.hall.last_came(a_pod(1).key) is None


def test_what_pods_answer_to_the_autoscaler_was_counted_by_the_activator() -> None:
    story = Story(concurrency=0)
    story.pod(1)
    story.enter()
    story.hall.report(101.0)
    seen = Stat(concurrency=1, proxied_concurrency=1, requests=1, proxied_requests=1)
    assert story.hall.scraped(FN) == {a_pod(1).key: seen}


def test_without_the_activator_in_the_way_only_the_pods_count() -> None:
    story = Story(concurrency=1)
    story.pod(1)
    story.hall.direct_changed(FN, is_direct=True)
    assert not story.hall.is_by_activator(FN)
    runs, queues = story.enter(), story.enter()
    assert (runs.poke, queues.ticket.stand) == (None, Stand.QUEUES)
    assert story.hall.report(101.0) == []
    assert story.hall.scraped(FN)[a_pod(1).key] == Stat(concurrency=2, requests=2)
    assert story.hall.leave(runs.ticket, 101.0) == [queues.ticket]
    assert story.hall.leave(queues.ticket, 102.0) == []
    assert story.hall.loads()[FN].running == 0


def test_without_the_activator_a_pod_that_is_full_says_so_and_the_request_was_demand() -> None:
    story = Story(concurrency=1)
    story.pod(1)
    story.hall.direct_changed(FN, is_direct=True)
    for _ in range(11):
        story.enter()
    refused = story.hall.enter(FN, lambda: None, story.now)
    assert isinstance(refused, Reply)
    assert (refused.status, refused.body) == (HTTPStatus.SERVICE_UNAVAILABLE, b"pending request queue full\n")
    story.hall.report(101.0)
    assert story.hall.scraped(FN)[a_pod(1).key] == Stat(concurrency=11, requests=12)


def test_without_a_pod_there_is_always_the_activator() -> None:
    story = Story()
    story.hall.direct_changed(FN, is_direct=True)
    assert story.hall.is_by_activator(FN)
    entered = story.enter()
    assert entered.poke is not None
    assert story.pod(1) == [entered.ticket]


def test_when_as_many_are_held_as_may_be_the_next_is_told_to_come_again() -> None:
    story = Story()
    for _ in range(MOST_HELD):
        story.enter()
    refused = story.hall.enter(FN, lambda: None, story.now)
    assert isinstance(refused, Reply)
    assert (refused.status, refused.body) == (HTTPStatus.SERVICE_UNAVAILABLE, b"pending request queue full\n")
    told = story.hall.report(101.0)[0].stat
    assert (told.concurrency, told.requests) == (MOST_HELD - 1, MOST_HELD)  # one was told of at once


def test_who_is_held_for_a_revision_that_is_deleted_stays_and_a_new_one_of_that_name_is_another() -> None:
    story = Story()
    held = story.enter().ticket
    story.hall.revision_changed(FN, None, story.now)
    refused = story.hall.enter(FN, lambda: None, story.now)
    assert isinstance(refused, Reply)
    assert refused.status is HTTPStatus.NOT_FOUND
    story.hall.revision_changed(FN, story.facts("uid-2"), story.now)
    assert story.pod(1) == []
    assert held.stand is Stand.HELD
    assert story.enter().ticket.stand is Stand.RUNS
    assert story.hall.leave(held, story.now) == []


def test_a_revision_that_was_made_anew_between_two_looks_is_another() -> None:
    story = Story(concurrency=1)
    story.pod(1)
    busy = story.enter().ticket
    story.concurrency = 0
    story.hall.revision_changed(FN, story.facts("uid-2"), story.now)
    assert story.enter().ticket.stand is Stand.RUNS
    assert story.enter().ticket.stand is Stand.RUNS
    assert story.hall.leave(busy, story.now) == []
    assert story.hall.loads()[FN] == Load(held=0, running=2)


def test_pods_that_are_there_before_their_revision_count_once_it_comes() -> None:
    hall = Hall(lambda _: 0)
    at = a_pod(1)
    hall.pod_changed(at.key, PodFacts(revision=FN, at=at), 100.0)
    hall.revision_changed(FN, RevisionFacts(uid="u", concurrency=1, limits=Limits()), 100.0)
    entered = hall.enter(FN, lambda: None, 100.0)
    assert isinstance(entered, Entered)
    assert entered.ticket.pod == at


def test_changed_limits_count_for_the_next_request() -> None:
    story = Story()
    story.hall.revision_changed(FN, RevisionFacts(uid="uid-1", concurrency=1, limits=Limits(whole_s=7)), story.now)
    assert story.enter().limits == Limits(whole_s=7)


@pytest.mark.parametrize(
    ("host", "status"),
    [("other.team.localhost", HTTPStatus.NOT_FOUND), ("?", HTTPStatus.BAD_REQUEST), ("", HTTPStatus.BAD_REQUEST)],
)
def test_a_host_that_is_nobodys_is_answered(host: str, status: HTTPStatus) -> None:
    reply = Story().hall.revision_at(host)
    assert isinstance(reply, Reply)
    assert reply.status is status


def test_traffic_is_split_by_what_is_drawn() -> None:
    drawn = iter((0, 299_999, 300_000, 999_999))
    hall = Hall(lambda _: next(drawn))
    traffic = (Traffic(revision="old", percent=30), Traffic(revision="new", percent=70))
    hall.route_changed(Key("team", "fn"), RouteFacts(traffic=traffic))
    chosen = [hall.revision_at("fn.team.localhost") for _ in range(4)]
    assert chosen == [Key("team", name) for name in ("old", "old", "new", "new")]
