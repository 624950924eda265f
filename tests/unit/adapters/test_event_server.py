"""The HTTP side of the door, over real sockets: who is heard, who is refused, and who cannot hold it up."""

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import pytest

from knative_mig.adapters import bounded_http
from knative_mig.adapters.cloud_events import LARGEST, encode
from knative_mig.adapters.event_server import EventServer, send_on
from knative_mig.core.events import Event, RawEvent, Rejected

EVENT = Event(source="/s", id="1", type="t", data={"a": 1})
HEADERS, BODY = encode(EVENT)
RAW = RawEvent(headers=tuple(HEADERS.items()), body=BODY)
HEAD = b"".join(f"{name}: {value}\r\n".encode() for name, value in HEADERS.items())
PATIENCE_S = 30


@dataclass
class Heard:
    events: list[Event | Rejected] = field(default_factory=list)
    raw: list[RawEvent] = field(default_factory=list)

    def take(self, event: Event | Rejected, raw: RawEvent) -> Rejected | None:
        self.events.append(event)
        self.raw.append(raw)
        return event if isinstance(event, Rejected) else None


@contextmanager
def served(heard: Heard, at_most: int = 128) -> Iterator[int]:
    server = EventServer("127.0.0.1", 0, heard.take, at_most=at_most)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server.port
    finally:
        server.stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def port(heard: Heard) -> Iterator[int]:
    with served(heard) as port:
        yield port


def said(port: int, request: bytes) -> tuple[int, bytes, dict[str, str]]:
    """To one request, whatever it is; the connection's end is waited for where the answer says that it ends."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client:
        client.sendall(request)
        return answer_on(client)


def answer_on(client: socket.socket) -> tuple[int, bytes, dict[str, str]]:
    answer = http.client.HTTPResponse(client)
    try:
        answer.begin()
        return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
    finally:
        answer.close()


def post(*headers: str, body: bytes = BODY, path: str = "/", event: bytes = HEAD) -> bytes:
    lines = "".join(f"{line}\r\n" for line in headers or (f"Content-Length: {len(body)}",))
    return f"POST {path} HTTP/1.1\r\nHost: planner\r\n{lines}".encode() + event + b"\r\n" + body


def test_an_event_is_accepted_with_an_empty_body(port: int, heard: Heard) -> None:
    status, body, headers = said(port, post())
    assert (status, body, headers["content-length"]) == (202, b"", "0")
    assert heard.events == [EVENT]
    assert heard.raw == [RAW]


def test_one_connection_carries_many_events(port: int, heard: Heard) -> None:
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client:
        for _ in range(3):
            client.sendall(post())
            status, _, headers = answer_on(client)
            assert (status, headers.get("connection")) == (202, None)
    assert heard.events == [EVENT] * 3


def test_a_body_may_come_in_chunks(port: int, heard: Heard) -> None:
    chunks = b"3;name=value\r\n" + BODY[:3] + b"\r\n%x\r\n" % len(BODY[3:]) + BODY[3:] + b"\r\n0\r\nTrailer: x\r\n\r\n"
    assert said(port, post("Transfer-Encoding: chunked", body=chunks) + post())[0] == 202
    assert heard.raw[0] == RAW


@pytest.mark.parametrize(
    ("request_", "status", "why"),
    [
        pytest.param(post(event=b""), 400, b"ce-specversion is missing", id="no event"),
        pytest.param(post(event=HEAD + b"ce-id: 2\r\n"), 400, b"came twice", id="two ids"),
        pytest.param(post(event=HEAD + b"rubbish\r\n"), 400, b"a header is not one", id="no header"),
        pytest.param(post(path="/events"), 400, b"taken at /", id="another path"),
        pytest.param(post("Content-Length: -1"), 400, b"Content-Length", id="a negative length"),
        pytest.param(post("Content-Length: 1_0"), 400, b"Content-Length", id="no length"),
        pytest.param(post("Content-Length: 7", "Content-Length: 8"), 400, b"Content-Length", id="two lengths"),
        pytest.param(post("Content-Length: 7", "Transfer-Encoding: chunked"), 400, b"two ways", id="length and chunks"),
        pytest.param(post("Transfer-Encoding: gzip"), 400, b"two ways", id="an unknown encoding"),
        pytest.param(post("Transfer-Encoding: chunked", body=b"x\r\n"), 400, b"no size", id="a chunk of no size"),
        pytest.param(post("Transfer-Encoding: chunked", body=b"1\r\n{}}\r\n"), 400, b"longer", id="a chunk too long"),
        pytest.param(post("Transfer-Encoding: chunked", body=b"fffff\r\n"), 413, b"too big", id="a chunk too big"),
        pytest.param(post(f"Content-Length: {LARGEST + 1}"), 413, b"too big", id="too big"),
        pytest.param(post(f"Content-Length: {'9' * 5000}"), 413, b"too big", id="longer than Python counts"),
        pytest.param(post(event=b"content-type: application/cloudevents-batch+json\r\n"), 415, b"batch", id="a batch"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", 405, b"POST", id="GET"),
        pytest.param(b"BREW / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", 405, b"POST", id="an unknown method"),
        pytest.param(b"POST / HTTP/9.9\r\n\r\n", 400, b"\n", id="an unknown protocol"),
        pytest.param(b"rubbish\r\n\r\n", 400, b"\n", id="no HTTP"),
        pytest.param(b"POST / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431, b"\n", id="too many headers"),
        pytest.param(b"POST / HTTP/1.1\r\na: " + b"b" * 70_000 + b"\r\n\r\n", 431, b"\n", id="a header too long"),
        pytest.param(b"POST / HTTP/1.1\r\n" + b"a: %b\r\n" % (b"b" * 999) * 70, 431, b"\n", id="too long a head"),
        pytest.param(b"POST /" + b"b" * 70_000 + b" HTTP/1.1\r\n\r\n", 414, b"\n", id="a path too long"),
    ],
)
def test_what_is_wrong_is_said_on_one_line_and_the_connection_ends(
    port: int, heard: Heard, request_: bytes, status: int, why: bytes
) -> None:
    answered, body, headers = said(port, request_)
    assert (answered, why in body, body.count(b"\n")) == (status, True, 1), body
    assert not [each for each in heard.events if isinstance(each, Event)]
    assert headers.get("connection", "") == (
        "" if b"ce-spec" in body or b"twice" in body or b"batch" in body else "close"
    )
    assert said(port, post())[0] == 202


def test_one_whose_event_is_too_big_hears_so_though_it_sends_it_all(port: int) -> None:
    """Else it sees a broken connection, and sends it again."""
    size = 4 * 1024 * 1024
    assert said(port, post(f"Content-Length: {size}", body=b"x" * size))[0] == 413


def test_head_is_told_without_a_body(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client:
        client.sendall(b"HEAD / HTTP/1.1\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        head, _, rest = b"".join(iter(lambda: client.recv(4096), b"")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 405")
    assert b"Allow: POST" in head
    assert rest == b""


@pytest.mark.parametrize("version", [b"HTTP/0.9", b"HTTP/1.0"])
def test_one_that_speaks_an_older_http_is_answered_in_ours(port: int, version: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client:
        client.sendall(b"POST / %b\r\nContent-Length: 0\r\n\r\n" % version)
        received = b"".join(iter(lambda: client.recv(4096), b""))
    assert received.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nConnection: close\r\n" in received


def test_one_that_ends_in_the_middle_is_no_event(port: int, heard: Heard) -> None:
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client:
        client.sendall(post("Content-Length: 1000"))
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b""
    assert heard.events == []


def test_one_whose_body_does_not_come_is_told_so_and_is_no_event(monkeypatch: pytest.MonkeyPatch, heard: Heard) -> None:
    monkeypatch.setattr(bounded_http, "READ_WITHIN_S", 0.05)
    with served(heard) as port, socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client:
        client.sendall(post("Content-Length: 1000"))
        assert answer_on(client)[0] == 408
        assert client.recv(100) == b""
    assert heard.events == []


def test_one_that_says_nothing_is_let_go_as_soon_as_one_that_drips(
    monkeypatch: pytest.MonkeyPatch, heard: Heard
) -> None:
    monkeypatch.setattr(bounded_http, "READ_WITHIN_S", 0.05)
    with served(heard) as port, socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client:
        assert client.recv(100) == b""


def test_one_that_is_kept_and_says_no_more_is_let_go(monkeypatch: pytest.MonkeyPatch, heard: Heard) -> None:
    monkeypatch.setattr(bounded_http, "IDLE_S", 0.05)
    with served(heard) as port, socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client:
        client.sendall(post())
        assert answer_on(client)[0] == 202
        assert client.recv(100) == b""


def test_those_who_keep_a_connection_or_are_still_sending_do_not_hold_up_the_end(heard: Heard) -> None:
    with ExitStack() as clients:
        with served(heard) as port:
            keeps, sends = (
                clients.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE_S)) for _ in range(2)
            )
            keeps.sendall(post())
            assert answer_on(keeps)[0] == 202
            sends.sendall(post("Content-Length: 1000"))
        assert _ended(keeps)
        assert _ended(sends)
    assert heard.events == [EVENT]


def _ended(connection: socket.socket) -> bool:
    """What was sent and not read any more makes a close a reset."""
    try:
        return connection.recv(100) == b""
    except ConnectionResetError:
        return True


def test_where_places_are_short_nobody_keeps_one_between_two_events(heard: Heard) -> None:
    with served(heard, at_most=2) as port, socket.create_connection(("127.0.0.1", port), PATIENCE_S) as first:
        first.sendall(post())
        assert answer_on(first)[2].get("connection") is None
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as second:
            second.sendall(post())
            status, _, headers = answer_on(second)
            assert (status, headers["connection"]) == (202, "close")


@pytest.mark.parametrize("begun", [b"", post()[:10], post("Content-Length: 1000")], ids=["silent", "head", "body"])
def test_who_has_kept_all_waiting_for_its_request_makes_room_for_another(heard: Heard, begun: bytes) -> None:
    with served(heard, at_most=2) as port, ExitStack() as clients:
        first, second = (
            clients.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE_S)) for _ in range(2)
        )
        first.sendall(begun)
        second.sendall(begun)
        assert said(port, post())[0] == 202
        assert _ended(first)
        assert said(port, post())[0] == 202
    assert heard.events == [EVENT] * 2


def test_one_too_many_is_told_to_come_again(heard: Heard) -> None:
    """All others have sent what they want, and wait for their answers: none of them is cut off."""
    asked, answer = threading.Event(), threading.Event()

    class Slow(Heard):
        def take(self, event: Event | Rejected, raw: RawEvent) -> Rejected | None:
            asked.set()
            answer.wait(PATIENCE_S)
            return super().take(event, raw)

    with served(Slow(), at_most=1) as port, socket.create_connection(("127.0.0.1", port), PATIENCE_S) as first:
        first.sendall(post())
        assert asked.wait(PATIENCE_S)
        assert said(port, post())[0] == 503
        answer.set()
        assert answer_on(first)[0] == 202


def test_an_event_that_is_sent_on_says_so(port: int, heard: Heard) -> None:
    assert send_on(f"127.0.0.1:{port}", RAW, PATIENCE_S) == ""
    assert [raw.forwarded for raw in heard.raw] == [True]
    assert heard.events == [EVENT]


def test_why_it_cannot_be_sent_on_is_said(port: int) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{closed.getsockname()[1]}"
        assert "refused" in send_on(nobody, RAW, PATIENCE_S)
    assert "x y" in send_on("x y:80", RAW, PATIENCE_S)
    assert "port" in send_on("127.0.0.1:many", RAW, PATIENCE_S)
    assert send_on(f"127.0.0.1:{port}", RawEvent(headers=()), PATIENCE_S).endswith("answered 400")


def test_a_leader_that_hangs_is_waited_for_until_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "timed out" in send_on(f"127.0.0.1:{silent.getsockname()[1]}", RAW, 0.05)
