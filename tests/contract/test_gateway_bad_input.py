"""Nonsense on the gateway's port: a clear line in answer, and everybody else is served."""

import errno
import os
import random
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.rigs.gateway import GatewayRig, Line, gateway_rig, request, until


@pytest.fixture(name="rig")
def _rig() -> Iterator[GatewayRig]:
    with gateway_rig(at_most=20) as rig:
        rig.pod(rig.function())
        yield rig


def serves(rig: GatewayRig) -> bool:
    return rig.asks("Connection: close").answer()[1] == b"ok"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: \r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: ../../etc\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: " + b"a" * 300 + b"\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: nobody.team.localhost\r\n\r\n", 404),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 404),
        (b"GET / HTTP/1.0\r\nHost: fn.team.localhost\r\n\r\n", 426),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: fn.team.localhost\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: fn.team.localhost\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
    ],
    ids=[
        "no request", "no host", "an empty host", "a path for a host", "an endless host", "bytes for a host",
        "two hosts", "nobody's host", "an address", "HTTP/1.0", "HTTP/2", "https", "an endless path",
        "an endless header", "too many headers",
    ],
)  # fmt: skip
def test_it_is_said_what_is_wrong_and_the_rest_goes_on(rig: GatewayRig, data: bytes, status: int) -> None:
    head, body = rig.client().say(data).answer()
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert 10 < len(body) < 300
    assert body.isascii()
    assert serves(rig)


def test_a_body_that_is_none_is_refused_and_ends_at_the_pod(rig: GatewayRig) -> None:
    has_head, ended = threading.Event(), threading.Event()

    def reads(line: Line) -> None:
        line.head()
        has_head.set()
        if line.has_ended():
            ended.set()

    rig.pod(rig.function("reads"), reads)
    client = rig.asks("Transfer-Encoding: chunked", name="reads", method="POST")
    assert has_head.wait(30)
    head, body = client.say(b"nonsense\r\n").answer()
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"a chunk has no size" in body
    assert ended.wait(30)
    assert serves(rig)


def test_a_refused_request_with_a_large_body_gets_its_answer_all_the_same(rig: GatewayRig) -> None:
    client = rig.asks("Content-Length: 3000000", name="nobody", method="POST")
    client.socket.recv(1, socket.MSG_PEEK)
    for _ in range(30):
        client.say(b"x" * 100_000)
    assert client.answer()[0].startswith(b"HTTP/1.1 404 ")
    assert client.has_ended()


def test_a_client_that_ends_in_the_middle_of_its_body_ends_it_at_the_pod(rig: GatewayRig) -> None:
    has_head, ended = threading.Event(), threading.Event()

    def reads(line: Line) -> None:
        line.head()
        has_head.set()
        line.hear_all()
        ended.set()

    revision = rig.function("reads")
    rig.pod(revision, reads)
    client = rig.asks("Content-Length: 100", name="reads", method="POST", body=b"x")
    assert has_head.wait(30)
    client.close()
    assert ended.wait(30)
    until(lambda: rig.running(revision) == 0)


def test_a_head_that_does_not_come_to_its_end_is_not_waited_for() -> None:
    with gateway_rig(head_within_s=0.2) as rig:
        head, body = rig.client().say(b"GET / HTTP/1.1\r\nHost: ").answer()
        assert head.startswith(b"HTTP/1.1 408 ")
        assert body == b"the head of the request does not come to its end\n"


def test_random_bytes_are_answered_or_ended(rig: GatewayRig) -> None:
    chance = random.Random(7)
    for _ in range(100):
        data = bytearray(request("Content-Length: 3", method="POST") + b"abc")
        for _ in range(chance.randrange(1, 5)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        client = rig.client().say(bytes(data))
        client.socket.shutdown(1)
        client.hear_all()
        client.close()
    assert serves(rig)


def test_when_places_are_short_who_has_no_request_goes_first(rig: GatewayRig) -> None:
    revision = rig.function("slow")
    held = [rig.asks(name="slow") for _ in range(10)]
    until(lambda: rig.held(revision) == 10)
    idle = []
    for number in range(1, 11):
        idle.append(rig.client())
        until(lambda number=number: len(rig.server._idle) == number)  # type: ignore[misc]
    assert serves(rig)
    assert idle[0].has_ended()
    rig.pod(revision)
    assert [client.answer()[1] for client in held] == [b"ok"] * 10


def test_when_all_places_have_requests_the_next_is_told_so(rig: GatewayRig) -> None:
    revision = rig.function("slow")
    held = [rig.asks(name="slow") for _ in range(20)]
    until(lambda: rig.held(revision) == 20)
    head, body = rig.client().answer()
    assert head.startswith(b"HTTP/1.1 503 ")
    assert body == b"too many connections\n"
    rig.pod(revision)
    assert [client.answer()[1] for client in held] == [b"ok"] * 20
    until(lambda: rig.running(revision) == 0)
    assert serves(rig)


def test_a_gateway_that_stops_lets_everybody_have_an_answer(rig: GatewayRig) -> None:
    revision = rig.function("slow")
    held = rig.asks(name="slow")
    idle = rig.client()
    idle.say(request()).answer()
    until(lambda: rig.held(revision) == 1)
    stopped: list[bool] = []
    stopping = threading.Thread(target=lambda: stopped.append(rig.server.stop(30)))
    stopping.start()
    assert idle.has_ended()
    rig.pod(revision)
    head, body = held.answer()
    assert b"Connection: close" in head
    assert body == b"ok"
    stopping.join(30)
    assert stopped == [True]


def test_where_files_are_few_who_finds_no_place_waits_for_one() -> None:
    with gateway_rig(at_most=20, waits=True) as rig:
        revision = rig.function("slow")
        held = [rig.asks(name="slow") for _ in range(60)]
        until(lambda: rig.held(revision) == 20)
        until(lambda: rig.server.is_full)
        rig.pod(revision)
        assert [client.answer()[1] for client in held] == [b"ok"] * 60
        until(lambda: not rig.server.is_full)


def test_who_cannot_be_held_for_want_of_a_file_is_told_so(rig: GatewayRig, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_file(*_: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    revision = rig.function("slow")
    with monkeypatch.context() as patched:
        patched.setattr(os, "eventfd", no_file)
        head, body = rig.asks(name="slow").answer()
    assert head.startswith(b"HTTP/1.1 503 ")
    assert body == b"too many connections\n"
    assert rig.held(revision) == 0
    assert serves(rig)
