"""Requests that wait for a pod, over real sockets: held, released, given up, and whose time is over."""

import threading
from collections.abc import Iterator

import pytest

from knative_mig.dev.gateway.load import FIRST
from knative_mig.dev.gateway.timeouts import Limits
from tests.rigs.gateway import OK, GatewayRig, Line, answers, gateway_rig, until

BEGUN_S = 1.0  # a limit within which an answer begins here, whatever else this machine does


@pytest.fixture(name="rig")
def _rig() -> Iterator[GatewayRig]:
    with gateway_rig(at_most=400) as rig:
        yield rig


class Gate:
    """A pod's behaviour that answers when it is opened."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self.opened = threading.Semaphore(0)

    def __call__(self, line: Line) -> None:
        while True:
            line.head()
            self.asked.release()
            assert self.opened.acquire(timeout=30)
            line.say(OK)


def test_a_request_from_zero_pokes_the_autoscaler_and_is_served_by_the_pod_that_comes(rig: GatewayRig) -> None:
    revision = rig.function()
    client = rig.asks()
    until(lambda: rig.held(revision) == 1)
    assert [(told.revision, told.stat) for told in rig.told] == [(revision, FIRST)]
    rig.pod(revision)
    assert client.answer()[1] == b"ok"


def test_many_are_held_and_all_are_served_each_once(rig: GatewayRig) -> None:
    revision = rig.function(concurrency=10)
    clients = [rig.asks(path=f"/{number}") for number in range(300)]
    until(lambda: rig.held(revision) == 300)
    asked: list[bytes] = []

    def notes(line: Line) -> None:
        while True:
            asked.append(line.head().split(b" ")[1])
            line.say(OK)

    rig.pod(revision, notes)
    rig.pod(revision, notes)
    assert [client.answer()[1] for client in clients] == [b"ok"] * 300
    assert sorted(asked) == sorted(b"/%d" % number for number in range(300))
    until(lambda: rig.running(revision) == 0)


def test_a_pod_gets_as_many_as_it_may_and_the_others_wait(rig: GatewayRig) -> None:
    revision = rig.function(concurrency=2)
    gate = Gate()
    rig.pod(revision, gate)
    clients = [rig.asks() for _ in range(3)]
    until(lambda: (rig.running(revision), rig.held(revision)) == (2, 1))
    gate.opened.release()
    until(lambda: rig.held(revision) == 0)
    for _ in range(3):
        assert gate.asked.acquire(timeout=30)
    gate.opened.release(2)
    assert [client.answer()[1] for client in clients] == [b"ok"] * 3


def test_who_hangs_up_while_held_is_no_demand_any_more(rig: GatewayRig) -> None:
    revision = rig.function()
    gone, stays = rig.asks(), rig.asks()
    until(lambda: rig.held(revision) == 2)
    gone.close()
    until(lambda: rig.held(revision) == 1)
    pod = rig.pod(revision)
    assert stays.answer()[1] == b"ok"
    assert len(pod.lines) == 1


def test_who_hangs_up_in_the_middle_ends_it_at_the_pod_and_makes_room(rig: GatewayRig) -> None:
    revision = rig.function(concurrency=1)
    ended = threading.Event()

    def waits(line: Line) -> None:
        if b"GET /next " in line.head():
            line.say(OK)
        elif line.has_ended():
            ended.set()

    rig.pod(revision, waits)
    client = rig.asks()
    until(lambda: rig.running(revision) == 1)
    waiting = rig.asks(path="/next")
    until(lambda: rig.held(revision) == 1)
    client.close()
    assert ended.wait(30)
    assert waiting.answer()[1] == b"ok"


def test_a_held_request_whose_time_is_over_is_told_so_by_the_activator(rig: GatewayRig) -> None:
    revision = rig.function(limits=Limits(whole_s=0.1))
    client = rig.asks()
    head, body = client.answer()
    assert head.startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
    assert body == b"activator request timeout"
    until(lambda: rig.held(revision) == 0)


@pytest.mark.parametrize(
    "limits", [Limits(answer_begins_s=0.1), Limits(idle_s=0.1), Limits(whole_s=0.1)], ids=["begin", "idle", "whole"]
)
def test_an_answer_that_does_not_begin_in_time_is_none(rig: GatewayRig, limits: Limits) -> None:
    ended = threading.Event()

    def is_silent(line: Line) -> None:
        line.head()
        if line.has_ended():
            ended.set()

    rig.pod(rig.function(limits=limits), is_silent)
    assert rig.asks().answer()[1] == b"activator request timeout"
    assert ended.wait(30)


@pytest.mark.parametrize("limits", [Limits(idle_s=BEGUN_S), Limits(whole_s=BEGUN_S)], ids=["idle", "whole"])
def test_a_stream_whose_time_is_over_ends_with_a_word_of_it(rig: GatewayRig, limits: Limits) -> None:
    def stops(line: Line) -> None:
        line.head()
        line.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        assert line.has_ended()

    rig.pod(rig.function(limits=limits), stops)
    client = rig.asks()
    assert client.answer()[1] == b"oneactivator request timeout"
    rig.pod(rig.function("two"))
    rig.asks(name="two").answer()


def test_an_answer_with_a_length_whose_time_is_over_is_cut(rig: GatewayRig) -> None:
    def stops(line: Line) -> None:
        line.head()
        line.say(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + b"one " * 1100)
        assert line.has_ended()

    rig.pod(rig.function(limits=Limits(whole_s=BEGUN_S)), stops)
    client = rig.asks()
    client.head()
    assert client.hear_all() == b"one " * 1100


def test_one_of_which_little_has_come_is_none(rig: GatewayRig) -> None:
    def stops(line: Line) -> None:
        line.head()
        line.say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\none")
        assert line.has_ended()

    rig.pod(rig.function(limits=Limits(whole_s=BEGUN_S)), stops)
    assert rig.asks().answer()[1] == b"activator request timeout"


def test_a_websocket_has_never_begun_an_answer(rig: GatewayRig) -> None:
    def upgrades(line: Line) -> None:
        line.head()
        line.say(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
        assert line.has_ended()

    rig.pod(rig.function(limits=Limits(answer_begins_s=BEGUN_S)), upgrades)
    client = rig.asks("Connection: Upgrade", "Upgrade: websocket")
    client.head()
    assert client.hear_all() == b"hello"


def test_past_the_activator_queue_proxys_places_and_words_count(rig: GatewayRig) -> None:
    revision = rig.function(concurrency=1)
    gate = Gate()
    rig.pod(revision, gate)
    rig.gateway.direct_changed(revision, is_direct=True)
    clients = [rig.asks() for _ in range(11)]
    until(lambda: rig.running(revision) == 11)
    head, body = rig.asks().answer()
    assert head.startswith(b"HTTP/1.1 503 ")
    assert body == b"pending request queue full\n"
    assert rig.told == []
    gate.opened.release(11)
    assert [client.answer()[1] for client in clients] == [b"ok"] * 11


def test_a_pod_that_is_deleted_finishes_what_it_has(rig: GatewayRig) -> None:
    revision = rig.function()
    gate = Gate()
    leaving = rig.pod(revision, gate)
    client = rig.asks()
    assert gate.asked.acquire(timeout=30)
    rig.ready(revision, leaving.at, is_ready=False)
    assert rig.running(revision) == 1
    rig.pod(revision, answers(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother"))
    assert rig.asks().answer()[1] == b"other"
    gate.opened.release()
    assert client.answer()[1] == b"ok"
    until(lambda: rig.running(revision) == 0)
    until(lambda: leaving.lines[0].socket.fileno() < 0)  # nothing keeps it from ending


def test_a_pod_that_is_deleted_while_nobody_asks_it_is_let_go_at_once(rig: GatewayRig) -> None:
    revision = rig.function()
    pod = rig.pod(revision)
    assert rig.asks().answer()[1] == b"ok"
    until(lambda: rig.running(revision) == 0)
    assert pod.lines[0].socket.fileno() >= 0
    rig.ready(revision, pod.at, is_ready=False)
    until(lambda: pod.lines[0].socket.fileno() < 0)


def test_limits_beyond_any_clock_are_limits(rig: GatewayRig) -> None:
    revision = rig.function(limits=Limits(whole_s=1e12, answer_begins_s=1e12, idle_s=1e12))
    client = rig.asks()
    until(lambda: rig.held(revision) == 1)
    rig.pod(revision)
    assert client.answer()[1] == b"ok"


def test_a_body_is_not_read_before_its_turn(rig: GatewayRig) -> None:
    revision = rig.function()
    client = rig.asks("Content-Length: 5", method="POST", body=b"hello")
    until(lambda: rig.held(revision) == 1)

    def reads(line: Line) -> None:
        line.head()
        assert line.hear(5) == b"hello"
        line.say(OK)

    rig.pod(revision, reads)
    assert client.answer()[1] == b"ok"
