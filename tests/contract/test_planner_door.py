"""Two replicas behind one Service, over real sockets: whichever an event comes to, the leader is woken by it once."""

import http.client
import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf

import pytest

from knative_mig.adapters.cloud_events import encode
from knative_mig.adapters.event_server import EventServer, send_on
from knative_mig.core.events import PENDING, Event, PendingRevision
from reconfigurer.planner.door import Door, DoorSettings, Outcome
from reconfigurer.planner.process import Planner
from tests.contract.planner_rig import WITHOUT_RESYNC, planner, pod_object, put_node, read
from tests.fake_api import FakeApi
from tests.rigs.small_cluster import gpu

EVENT = Event(
    source="/apis/v1/namespaces/team/services/tiny",
    id="uid-1/7/3g.20gb/1/0",
    type=PENDING,
    subject="team/tiny-00001",
    extensions={"migprofile": "3g.20gb", "count": "1", "revisionuid": "uid-1"},
)
PATIENCE_S = 60.0


@dataclass
class Replica:
    """A door as the process has it: its server and its forwarder, each in a thread."""

    leads: bool = False
    leader: str = ""
    forward_within_s: float = PATIENCE_S
    woken: list[PendingRevision] = field(default_factory=list)
    counted: list[Outcome] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        self.door = Door(
            leads=lambda: self.leads,
            leader=lambda: self.leader,
            wake=self.woken.append,
            send_on=send_on,
            count=self._count,
            clock=time.monotonic,
            settings=DoorSettings(forward_within_s=self.forward_within_s),
        )
        self.server = EventServer("127.0.0.1", 0, self.door.take)
        self.address = f"127.0.0.1:{self.server.port}"

    def _count(self, outcome: Outcome) -> None:
        with self._changed:
            self.counted.append(outcome)
            self._changed.notify_all()

    def until(self, *outcomes: Outcome) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.counted == [*outcomes], PATIENCE_S), self.counted

    def send(self, event: Event) -> tuple[int, bytes]:
        return sent(self.server.port, *encode(event))


@contextmanager
def running(replica: Replica) -> Iterator[Replica]:
    stop = threading.Event()
    threads = [
        threading.Thread(target=replica.server.serve),
        threading.Thread(target=replica.door.run, args=(stop,)),
    ]
    for thread in threads:
        thread.start()
    try:
        yield replica
    finally:
        stop.set()
        replica.server.stop()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()


def sent(port: int, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request("POST", "/", body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.fixture
def pair() -> Iterator[tuple[Replica, Replica]]:
    with ExitStack() as stack:
        leader = stack.enter_context(running(Replica(leads=True)))
        standby = stack.enter_context(running(Replica(leader=leader.address)))
        yield leader, standby


def test_an_event_that_comes_to_the_standby_wakes_the_leader(pair: tuple[Replica, Replica]) -> None:
    leader, standby = pair
    assert standby.send(EVENT) == (202, b"")
    standby.until(Outcome.FORWARDED)
    assert leader.woken == [PendingRevision.of(EVENT)]


def test_an_event_that_comes_to_both_wakes_the_leader_once(pair: tuple[Replica, Replica]) -> None:
    leader, standby = pair
    assert leader.send(EVENT) == (202, b"")
    assert standby.send(EVENT) == (202, b"")
    standby.until(Outcome.FORWARDED)
    assert leader.counted == [Outcome.WOKE, Outcome.DUPLICATE]


def test_a_structured_event_is_sent_on_as_it_came(pair: tuple[Replica, Replica]) -> None:
    leader, standby = pair
    whole = {"specversion": "1.0", "source": EVENT.source, "id": EVENT.id, "type": EVENT.type, "subject": EVENT.subject}
    body = json.dumps({**whole, "migprofile": "3g.20gb", "count": 1, "revisionuid": "uid-1"}).encode()
    assert sent(standby.server.port, {"Content-Type": "application/cloudevents+json"}, body) == (202, b"")
    standby.until(Outcome.FORWARDED)
    assert leader.woken == [PendingRevision.of(EVENT)]


def test_two_standbys_that_take_each_other_for_the_leader_do_not_play_ball() -> None:
    one, other = Replica(), Replica()
    one.leader, other.leader = other.address, one.address
    with running(one), running(other):
        assert one.send(EVENT) == (202, b"")
        other.until(Outcome.NO_LEADER)
        one.until(Outcome.FORWARDED)


def test_without_a_leader_and_with_one_that_is_gone_events_are_accepted() -> None:
    with running(Replica()) as gone:
        address = gone.address
        assert gone.send(EVENT) == (202, b"")
        gone.until(Outcome.NO_LEADER)
    with running(Replica(leader=address)) as standby:
        assert standby.send(EVENT) == (202, b"")
        standby.until(Outcome.NOT_FORWARDED)


def test_a_leader_that_hangs_holds_up_no_answer() -> None:
    entered, go_on = threading.Event(), threading.Event()

    def hang() -> bool:
        entered.set()
        return go_on.wait(PATIENCE_S)

    hanging = Replica()
    hanging.door._leads = hang
    with running(hanging), running(Replica(leader=hanging.address)) as standby:
        assert standby.send(EVENT) == (202, b"")
        assert entered.wait(PATIENCE_S)
        # The first is on its way to a leader that does not answer; the second is accepted none the less.
        assert standby.send(replace(EVENT, id="2")) == (202, b"")
        assert standby.counted == []
        go_on.set()
        standby.until(Outcome.FORWARDED, Outcome.FORWARDED)


def test_poison_is_refused_by_both_with_a_status_that_knative_does_not_send_again(
    pair: tuple[Replica, Replica],
) -> None:
    again = {404, 408, 409, 429}
    headers, body = encode(EVENT)
    bad: list[tuple[dict[str, str], bytes]] = [
        ({}, b""),
        ({**headers, "ce-id": ""}, body),
        ({**headers, "ce-count": "many"}, body),
        (headers, b"{"),
        (headers, b"{" + b" " * 70_000 + b"}"),
        ({"Content-Type": "application/cloudevents-batch+json"}, b"[]"),
    ]
    for replica in pair:
        for each in bad:
            status, why = sent(replica.server.port, *each)
            assert 400 <= status < 500
            assert status not in again
            assert why.endswith(b"\n")
            assert why.count(b"\n") == 1
        assert replica.counted == [Outcome.REJECTED] * len(bad)
        assert replica.woken == []


# -- how quickly it answers ------------------------------------------------------------------------------------------

QUICK_S = 0.050
TRIES = 80


def p99_of_answers(ports: Sequence[int], name: str) -> float:
    """Seconds: 400 events that are all different, by 8 clients at once."""
    took: list[float] = []

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", ports[number % len(ports)], timeout=PATIENCE_S)
        for at in range(50):
            headers, body = encode(replace(EVENT, id=f"{name}/{number}/{at}"))
            began = time.perf_counter()
            connection.request("POST", "/", body, headers)
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (202, b"")
            took.append(time.perf_counter() - began)
        connection.close()

    clients = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    assert len(took) == 400
    p99 = sorted(took)[395]
    print(f"400 events by 8 clients: p50 {statistics.median(took) * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms")
    return p99


def are_quick(*ports: int) -> bool:
    """In one of some tries, as most may show what else runs on these cores; or, where they are never free, in at most
    twice what a door takes there that does nothing.
    """
    took = p99s(ports, TRIES, enough_s=QUICK_S)
    return min(took) <= QUICK_S or statistics.median(took) <= 2 * statistics.median(p99s_of_nothing())


def p99s(ports: Sequence[int], tries: int, *, enough_s: float = 0.0) -> list[float]:
    took: list[float] = []
    while len(took) < tries and min(took, default=inf) > enough_s:
        took.append(p99_of_answers(ports, f"try-{len(took)}"))
    return took


def p99s_of_nothing() -> list[float]:
    server = EventServer("127.0.0.1", 0, lambda _event, _raw: None)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        return p99s([server.port], TRIES // 4)
    finally:
        server.stop()
        thread.join()


def test_answers_are_quick_also_when_all_come_at_once(pair: tuple[Replica, Replica]) -> None:
    leader, standby = pair
    assert are_quick(leader.server.port, standby.server.port)


# -- the whole process -------------------------------------------------------------------------------------------------

# No resync and no change of the cluster comes to help: what wakes the leader is the event.
replica = partial(planner, settings=WITHOUT_RESYNC, advertise="127.0.0.1")


def figure(each: Planner, line: str) -> float:
    lines = dict(one.rsplit(" ", 1) for one in read(each, "/metrics").splitlines() if one[0] != "#")
    return float(lines.get(f"knative_mig_planner_{line}", 0))


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_event_at_the_standby_has_the_leader_plan_a_round() -> None:
    with FakeApi() as api, replica(api, "planner-a") as leader:
        until(lambda: figure(leader, 'rounds_total{outcome="planned"}') > 0)
        with replica(api, "planner-b") as standby:
            until(lambda: standby.leader.elsewhere == f"127.0.0.1:{leader.events.port}")
            before = figure(leader, 'rounds_total{outcome="planned"}')
            assert sent(standby.events.port, *encode(EVENT)) == (202, b"")
            until(lambda: figure(leader, 'rounds_total{outcome="planned"}') > before)
            until(lambda: figure(standby, 'events_total{outcome="forwarded"}') == 1)
            assert figure(leader, 'events_total{outcome="woke"}') == 1
            assert leader.leader.elsewhere == ""


def test_answers_are_quick_while_the_leader_plans() -> None:
    """Each event is news to it, and there is something to decide: pods that wait, of which few find a place."""
    with FakeApi() as api:
        put_node(api, gpu("g", {}), gpu("h", {"7g.40gb@0": "full"}))
        for number in range(40):
            api.put_object(pod_object(f"waits-{number}", "2g.10gb", gated=True))
        with replica(api, "planner-a") as leader:
            until(lambda: figure(leader, 'rounds_total{outcome="planned"}') > 0)
            before = figure(leader, 'rounds_total{outcome="planned"}')
            assert are_quick(leader.events.port)
            assert figure(leader, 'rounds_total{outcome="planned"}') > before
