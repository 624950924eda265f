"""Pods that fail: what the client is told, what is asked again, and that nothing else is."""

import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from tests.rigs.gateway import OK, GatewayRig, Line, answers, gateway_rig, request, until


@pytest.fixture(name="rig")
def _rig() -> Iterator[GatewayRig]:
    with gateway_rig() as rig:
        yield rig


def resets(line: Line) -> None:
    line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_a_pod_that_does_not_listen_is_a_bad_gateway_and_no_other_is_asked(rig: GatewayRig) -> None:
    revision = rig.function(concurrency=1)
    dead, other = sorted((rig.pod(revision) for _ in range(2)), key=lambda each: each.at)  # the first one is asked
    dead.deafen()
    head, body = rig.asks().answer()
    assert head.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert body == f"dial tcp {dead.at}: connect: connection refused\n".encode()
    assert other.lines == []


def test_a_pod_that_hangs_up_without_an_answer_is_a_bad_gateway(rig: GatewayRig) -> None:
    pod = rig.pod(rig.function(), Line.head)
    head, body = rig.asks().answer()
    assert head.startswith(b"HTTP/1.1 502 ")
    assert body == b"EOF\n"
    assert len(pod.lines) == 1


def test_a_client_whose_request_had_come_as_a_whole_goes_on_after_an_error(rig: GatewayRig) -> None:
    rig.pod(rig.function(), Line.head)
    rig.pod(rig.function("two"))
    client = rig.client()
    client.say(request("Content-Length: 2", method="POST") + b"{}" + request(name="two"))
    assert client.answer()[0].startswith(b"HTTP/1.1 502 ")
    assert client.answer()[1] == b"ok"


@pytest.mark.parametrize(
    "nonsense",
    [b"hello\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000],
    ids=["no head", "no length", "no end"],
)
def test_what_is_no_answer_is_a_bad_gateway(rig: GatewayRig, nonsense: bytes) -> None:
    def talks(line: Line) -> None:
        line.head()
        line.say(nonsense)
        line.has_ended()

    rig.pod(rig.function(), talks)
    head, body = rig.asks().answer()
    assert head.startswith(b"HTTP/1.1 502 ")
    assert body.startswith(b"net/http: HTTP/1.x transport connection broken: ")


@pytest.mark.parametrize(
    "begun",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + b"half" * 1100,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nnonsense\r\n",
    ],
    ids=["length", "chunks", "nonsense"],
)
def test_an_answer_that_breaks_off_breaks_off_for_the_client(rig: GatewayRig, begun: bytes) -> None:
    def dies(line: Line) -> None:
        line.head()
        line.say(begun)

    revision = rig.function()
    rig.pod(revision, dies)
    client = rig.asks()
    client.head()
    with pytest.raises((EOFError, AssertionError, ValueError)):
        client.chunks() if b"chunked" in begun else client.hear(9000)
    until(lambda: rig.running(revision) == 0)


def test_an_answer_of_which_little_has_come_can_still_become_an_error(rig: GatewayRig) -> None:
    def dies(line: Line) -> None:
        line.head()
        line.say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")

    rig.pod(rig.function(), dies)
    head, body = rig.asks().answer()
    assert head.startswith(b"HTTP/1.1 502 ")
    assert body == b"EOF\n"


class Stale:
    """Answers once; on a connection that it kept, it takes the next request and is gone. Others it serves."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self._is_first = True

    def __call__(self, line: Line) -> None:
        is_first, self._is_first = self._is_first, False
        self.heard.append(line.head())
        line.say(OK)
        self.heard.append(line.head())
        if is_first:
            resets(line)
            return
        line.say(OK)


def test_a_read_that_meets_a_connection_just_as_it_ends_is_asked_again(rig: GatewayRig) -> None:
    stale = Stale()
    rig.pod(rig.function(), stale)
    client = rig.client()
    assert client.say(request()).answer()[1] == b"ok"
    assert client.say(request(path="/again")).answer()[1] == b"ok"
    assert sum(b"/again" in head for head in stale.heard) == 2


@pytest.mark.parametrize(
    ("method", "lines"),
    [("POST", ()), ("POST", ("Content-Length: 0",)), ("GET", ("Content-Length: 2",))],
    ids=["without a body", "with an empty one", "a read with a body"],
)
def test_one_that_may_do_something_is_not(rig: GatewayRig, method: str, lines: tuple[str, ...]) -> None:
    stale = Stale()
    rig.pod(rig.function(), stale)
    client = rig.client()
    assert client.say(request()).answer()[1] == b"ok"
    head, body = client.say(request(*lines, method=method, path="/once") + b"hi" * ("2" in str(lines))).answer()
    assert head.startswith(b"HTTP/1.1 502 ")
    assert body == b"EOF\n" or body.endswith(b": read: connection reset by peer\n")
    assert sum(b"/once" in head for head in stale.heard) == 1


def test_one_that_says_it_may_be_repeated_is(rig: GatewayRig) -> None:
    rig.pod(rig.function(), Stale())
    client = rig.client()
    client.say(request()).answer()
    assert client.say(request("Idempotency-Key: k", method="POST")).answer()[1] == b"ok"


def test_a_read_on_a_new_connection_is_not_asked_again(rig: GatewayRig) -> None:
    def hangs_up(line: Line) -> None:
        line.head()
        resets(line)

    pod = rig.pod(rig.function(), hangs_up)
    assert rig.asks().answer()[0].startswith(b"HTTP/1.1 502 ")
    assert len(pod.lines) == 1


def test_a_connection_that_ended_while_nobody_used_it_is_not_used(rig: GatewayRig) -> None:
    served = threading.Semaphore(0)

    def once(line: Line) -> None:
        line.head()
        line.say(OK)
        line.close()
        served.release()

    pod = rig.pod(rig.function(), once)
    client = rig.client()
    for number in range(3):
        head, body = client.say(request("Content-Length: 2", method="POST") + b"hi").answer()
        assert body == b"ok", head
        assert served.acquire(timeout=30)
        assert len(pod.lines) == number + 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more than that",
    ],
    ids=["says that it closes", "says more than its answer"],
)
def test_a_connection_that_is_not_at_the_end_of_an_answer_is_not_used_again(rig: GatewayRig, answer: bytes) -> None:
    pod = rig.pod(rig.function(), answers(answer))
    client = rig.client()
    for number in range(3):
        assert client.say(request()).answer()[1] == b"ok"
        assert len(pod.lines) == number + 1


def test_a_pod_that_takes_no_body_may_still_say_why(rig: GatewayRig) -> None:
    def refuses(line: Line) -> None:
        line.head()
        line.say(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nno!")
        line.socket.shutdown(socket.SHUT_RDWR)

    rig.pod(rig.function(), refuses)
    client = rig.asks("Content-Length: 30000000", method="POST")
    sender = threading.Thread(target=lambda: _sends(client, b"x" * 30_000_000))
    sender.start()
    assert client.answer()[1] == b"no!"
    client.socket.shutdown(socket.SHUT_RDWR)
    sender.join(30)


def _sends(client: Line, data: bytes) -> None:
    try:
        client.say(data)
    except OSError:
        return  # it has its answer
