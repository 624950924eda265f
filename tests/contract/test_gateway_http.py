"""HTTP/1.1 through the gateway, over real sockets: everything goes on as it comes, in both directions."""

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.rigs.gateway import OK, GatewayRig, Line, answers, gateway_rig, request, until


@pytest.fixture(name="rig")
def _rig() -> Iterator[GatewayRig]:
    with gateway_rig() as rig:
        yield rig


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


def test_requests_of_a_client_share_its_connection_and_one_to_the_pod(rig: GatewayRig) -> None:
    revision = rig.function()
    pod = rig.pod(revision)
    client = rig.client()
    for _ in range(3):
        head, body = client.say(request()).answer()
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert body == b"ok"
    assert len(pod.lines) == 1
    until(lambda: rig.running(revision) == 0)
    assert rig.asks().answer()[1] == b"ok"  # another client's
    assert len(pod.lines) == 1


def test_the_container_sees_a_request_as_behind_knative(rig: GatewayRig) -> None:
    seen: list[bytes] = []

    def listens(line: Line) -> None:
        seen.append(line.head())
        line.say(OK)

    rig.pod(rig.function(), listens)
    rig.asks("X-A: b", path="/v1/models?x=%20").answer()
    lines = seen[0].split(b"\r\n")
    assert lines[:3] == [b"GET /v1/models?x=%20 HTTP/1.1", b"Host: fn.team.localhost", b"X-A: b"]
    assert b"K-Proxy-Request: activator" in lines
    assert b"Forwarded: for=127.0.0.1;proto=http" in lines


def test_each_piece_of_a_stream_comes_before_the_next_is_written(rig: GatewayRig) -> None:
    heard = threading.Semaphore(0)

    def streams(line: Line) -> None:
        line.head()
        line.say(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(5):
            line.say(chunked(b"data: %d\n\n" % number))
            assert heard.acquire(timeout=30)
        line.say(b"0\r\n\r\n").head()

    rig.pod(rig.function(), streams)
    client = rig.asks()
    assert b"Content-Type: text/event-stream" in client.head()
    for number in range(5):
        assert client.hear_to(b"\n\n\r\n").endswith(b"data: %d\n\n\r\n" % number)
        heard.release()
    assert client.hear_to(b"0\r\n\r\n") == b"0\r\n\r\n"


def test_an_answer_to_the_connections_end_comes_in_chunks_and_leaves_the_clients_open(rig: GatewayRig) -> None:
    def old(line: Line) -> None:
        line.head()
        line.say(b"HTTP/1.0 200 OK\r\n\r\nall of it")

    pod = rig.pod(rig.function(), old)
    client = rig.client()
    for _ in range(2):
        assert client.say(request()).answer()[1] == b"all of it"
    assert len(pod.lines) == 2


def test_a_body_goes_to_the_pod_as_it_comes(rig: GatewayRig) -> None:
    heard = threading.Semaphore(0)

    def reads(line: Line) -> None:
        assert b"Content-Length: 6" in line.head()
        for piece in (b"abc", b"def"):
            assert line.hear(3) == piece
            heard.release()
        line.say(OK)

    rig.pod(rig.function(), reads)
    client = rig.asks("Content-Length: 6", method="POST")
    for piece in (b"abc", b"def"):
        client.say(piece)
        assert heard.acquire(timeout=30)
    assert client.answer()[1] == b"ok"


def test_a_body_in_chunks_stays_in_chunks_and_more_than_a_buffer_goes_through(rig: GatewayRig) -> None:
    large = bytes(range(256)) * 4096 * 4

    def echoes(line: Line) -> None:
        assert b"Transfer-Encoding: chunked" in line.head()
        body = line.chunks()
        line.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    rig.pod(rig.function(), echoes)
    client = rig.asks("Transfer-Encoding: chunked", method="POST")
    client.say(chunked(large[:5], large[5:]) + b"0\r\n\r\n")
    assert client.answer()[1] == large


def test_who_expects_it_is_told_to_continue_and_the_pod_is_not_asked(rig: GatewayRig) -> None:
    def reads(line: Line) -> None:
        assert b"expect" not in line.head().lower()
        assert line.hear(2) == b"hi"
        line.say(OK)

    rig.pod(rig.function(), reads)
    client = rig.asks("Expect: 100-continue", "Content-Length: 2", method="POST")
    assert client.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert client.say(b"hi").answer()[1] == b"ok"


def test_who_expects_it_of_a_function_that_is_not_there_need_not_send_its_body(rig: GatewayRig) -> None:
    client = rig.asks("Expect: 100-continue", "Content-Length: 2", method="POST", name="other")
    assert client.answer()[0].startswith(b"HTTP/1.1 404 ")


def test_heads_alone_have_no_body_and_leave_the_connection_open(rig: GatewayRig) -> None:
    rig.pod(rig.function(), answers(b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n"))
    client = rig.client()
    for _ in range(2):
        assert b"Content-Length: 30" in client.say(request(method="HEAD")).head()
    assert client.unread == b""


def test_answers_without_a_body_leave_the_connection_open(rig: GatewayRig) -> None:
    pod = rig.pod(rig.function(), answers(b"HTTP/1.1 204 No Content\r\n\r\n"))
    client = rig.client()
    for _ in range(2):
        assert client.say(request(method="DELETE")).head() == b"HTTP/1.1 204 No Content\r\n\r\n"
    assert len(pod.lines) == 1


def test_informational_answers_are_kept_from_the_client(rig: GatewayRig) -> None:
    rig.pod(rig.function(), answers(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + OK))
    assert rig.asks().answer()[0].startswith(b"HTTP/1.1 200 OK")


def test_requests_sent_before_their_turn_are_answered_in_turn(rig: GatewayRig) -> None:
    def counts(line: Line) -> None:
        while True:
            path = line.head().split(b" ")[1]
            line.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(path) + path)

    rig.pod(rig.function(), counts)
    client = rig.client()
    client.say(b"".join(request(path=f"/{number}") for number in range(4)))
    assert [client.answer()[1] for _ in range(4)] == [b"/0", b"/1", b"/2", b"/3"]


def test_a_request_behind_a_body_is_not_part_of_it(rig: GatewayRig) -> None:
    def reads(line: Line) -> None:
        while True:
            line.head()
            assert line.hear(2) == b"hi"
            line.say(OK)

    rig.pod(rig.function(), reads)
    client = rig.client()
    client.say((request("Content-Length: 2", method="POST") + b"hi") * 2)
    assert [client.answer()[1] for _ in range(2)] == [b"ok", b"ok"]


def test_empty_lines_before_a_request_are_none(rig: GatewayRig) -> None:
    rig.pod(rig.function())
    client = rig.client().say(b"\r\n\r\n" + request())
    assert client.answer()[1] == b"ok"
    assert client.say(b"\r\n").say(request()).answer()[1] == b"ok"


def test_a_client_that_wants_to_close_is_closed_with_its_answer(rig: GatewayRig) -> None:
    rig.pod(rig.function())
    client = rig.asks("Connection: close")
    assert b"Connection: close" in client.answer()[0]
    assert client.has_ended()


def test_an_answer_before_the_body_is_whole_reaches_the_client_and_ends_the_connection(rig: GatewayRig) -> None:
    def refuses(line: Line) -> None:
        line.head()
        line.say(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!")

    rig.pod(rig.function(), refuses)
    client = rig.asks("Content-Length: 1000000000", method="POST")
    client.say(b"x" * 100_000)
    head, body = client.answer()
    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"Connection: close" in head
    assert body == b"no!"
    assert client.has_ended()


def test_a_client_that_sends_all_of_its_body_first_reads_what_a_pod_said_that_hung_up_on_it(rig: GatewayRig) -> None:
    def hangs_up(line: Line) -> None:
        """With the rest unread, so that it is reset."""
        line.head()
        line.say(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno!")

    rig.pod(rig.function(), hangs_up)
    for _ in range(5):
        client = rig.asks("Content-Length: 20000000", method="POST")
        client.socket.sendall(bytes(20_000_000))
        head, body = client.answer()
        assert head.startswith(b"HTTP/1.1 413 ")
        assert body == b"no!"


def test_a_websocket_is_the_clients_and_the_pods_until_one_of_them_ends(rig: GatewayRig) -> None:
    def upgrades(line: Line) -> None:
        head = line.head()
        assert b"Connection: Upgrade\r\nUpgrade: websocket\r\n" in head
        line.say(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n<hello>")
        assert line.hear(4) == b"\x00ab\xff"
        line.say(b"\x01cd\xfe")

    rig.pod(rig.function(), upgrades)
    client = rig.asks("Connection: Upgrade", "Upgrade: websocket")
    assert client.head().startswith(b"HTTP/1.1 101 ")
    assert client.hear(7) == b"<hello>"
    client.say(b"\x00ab\xff")
    assert client.hear(4) == b"\x01cd\xfe"
    assert client.has_ended()


def test_the_end_of_a_websockets_client_is_its_pods(rig: GatewayRig) -> None:
    ended = threading.Event()

    def upgrades(line: Line) -> None:
        line.head()
        line.say(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert line.hear_all() == b"bye"
        ended.set()

    rig.pod(rig.function(), upgrades)
    client = rig.asks("Connection: Upgrade", "Upgrade: websocket")
    client.head()
    client.say(b"bye").close()
    assert ended.wait(30)


def test_any_other_upgrade_is_refused_and_one_to_http_2_goes_on_without(rig: GatewayRig) -> None:
    rig.pod(rig.function())
    assert rig.asks("Connection: Upgrade", "Upgrade: foo").answer()[0].startswith(b"HTTP/1.1 403 ")
    assert rig.asks("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c").answer()[1] == b"ok"


def test_a_slow_reader_holds_up_its_pod_and_nobody_else_and_misses_nothing(rig: GatewayRig) -> None:
    large = b"0123456789ab" * 1024 * 1024
    written = threading.Event()

    def gives(line: Line) -> None:
        line.head()
        line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        line.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(large) + large)
        written.set()

    revision = rig.function()
    rig.pod(revision, gives)
    slow = rig.client()
    slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    slow.say(request()).head()
    rig.pod(rig.function("two"))
    assert rig.asks(name="two").answer()[1] == b"ok"
    assert rig.running(revision) == 1
    assert not written.wait(1.5), "all of it lies in the gateway's memory"
    is_whole = slow.hear(len(large)) == large
    assert is_whole
    until(lambda: rig.running(revision) == 0)


@pytest.mark.parametrize(
    ("lines", "status", "body"),
    [
        (("User-Agent: kube-probe/1.34",), 200, b""),
        (("K-Network-Probe: activator",), 200, b"activator"),
        (("K-Network-Probe: probe", "K-Network-Hash: abc"), 200, b""),
        (("K-Network-Probe: probe",), 400, b'a probe request must contain a non-empty "K-Network-Hash" header\n'),
        (("K-Network-Probe: queue",), 400, b'unexpected probe header value: "queue"\n'),
    ],
    ids=["kubelet's", "activator's", "network's", "without hash", "another's"],
)
def test_probes_are_answered_here_and_are_no_demand(
    rig: GatewayRig, lines: tuple[str, ...], status: int, body: bytes
) -> None:
    revision = rig.function()
    head, came = rig.asks(*lines).answer()
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert came == body
    assert (b"K-Network-Hash: abc" in head) == ("K-Network-Hash: abc" in lines)
    assert rig.held(revision) == 0
    assert rig.told == []
