"""Heads as they are sent on: what the container sees, and what the client."""

from knative_mig.dev.gateway.forwarding import answer_bytes, request_bytes, switched_bytes
from knative_mig.dev.gateway.http_head import RequestHead, answer_head, request_head


def sent(*lines: str, by_activator: bool = True, first: str = "GET / HTTP/1.1") -> list[str]:
    head = request_head("\r\n".join((first, "Host: fn.team.localhost:8080", *lines)).encode("latin-1"))
    assert isinstance(head, RequestHead)
    data = request_bytes(head, client="127.0.0.7", request_id="an-id", by_activator=by_activator)
    assert data.endswith(b"\r\n\r\n")
    return data.decode("latin-1").split("\r\n")[:-2]


def test_the_container_sees_who_asked_through_whom_and_under_which_name() -> None:
    assert sent("User-Agent: curl", "Accept: */*") == [
        "GET / HTTP/1.1",
        "Host: fn.team.localhost:8080",
        "User-Agent: curl",
        "Accept: */*",
        "Forwarded: for=127.0.0.7;proto=http",
        "X-Forwarded-For: 127.0.0.7, 127.0.0.1",
        "X-Forwarded-Proto: http",
        "X-Request-Id: an-id",
        "K-Proxy-Request: activator",
    ]


def test_without_the_activator_there_is_one_hop_less_and_no_word_of_it() -> None:
    lines = sent(by_activator=False)
    assert "X-Forwarded-For: 127.0.0.7" in lines
    assert not any(line.startswith("K-Proxy-Request") for line in lines)


def test_what_proxies_before_have_said_is_kept() -> None:
    lines = sent(
        "X-Forwarded-For: 10.0.0.1, ::1",
        "x-forwarded-for: 10.0.0.2",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: shop",
        "X-Request-ID: theirs",
    )
    assert "X-Forwarded-For: 10.0.0.1, ::1, 10.0.0.2, 127.0.0.7, 127.0.0.1" in lines
    expected = 'Forwarded: for=10.0.0.1;host=shop;proto=https, for="[::1]", for=10.0.0.2, for=127.0.0.7'
    assert expected in lines
    assert "X-Request-Id: theirs" in lines
    assert lines.count("X-Forwarded-Host: shop") == 1


def test_a_forwarded_header_that_is_there_is_left_alone() -> None:
    lines = sent("Forwarded: for=_hidden")
    assert [line for line in lines if line.startswith("Forwarded")] == ["Forwarded: for=_hidden"]


def test_what_is_knatives_own_nobody_else_can_say() -> None:
    lines = sent(
        "K-Proxy-Request: me",
        "Knative-Serving-Revision: other",
        "K-Original-Host: x",
        "K-Network-Hash: y",
        by_activator=False,
    )
    assert not any(line.lower().startswith(("k-", "knative-")) for line in lines)


def test_what_belongs_to_the_clients_connection_ends_with_it() -> None:
    lines = sent("Connection: keep-alive, X-Mine", "Keep-Alive: 5", "X-Mine: 1", "TE: trailers, gzip", "Upgrade: h2c")
    assert not any(line.startswith(("Connection", "Keep-Alive", "X-Mine", "Upgrade")) for line in lines)
    assert "Te: trailers" in lines


def test_a_connection_header_cannot_take_the_frame_away() -> None:
    lines = sent("Connection: Content-Length, Host", "Content-Length: 3", first="POST / HTTP/1.1")
    assert "Content-Length: 3" in lines
    assert "Host: fn.team.localhost:8080" in lines


def test_a_body_is_told_as_it_will_come() -> None:
    assert "Transfer-Encoding: chunked" in sent("Transfer-Encoding: chunked", first="POST / HTTP/1.1")
    assert "Content-Length: 0" in sent("Content-Length: 0", first="POST / HTTP/1.1")
    assert not any(line.startswith("Expect") for line in sent("Expect: 100-continue", "Content-Length: 1"))


def test_an_upgrade_is_asked_for_anew() -> None:
    lines = sent("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: k")
    assert lines[-2:] == ["Connection: Upgrade", "Upgrade: websocket"]
    assert "Sec-WebSocket-Key: k" in lines


def answered(*lines: str, closes: bool = False, has_no_body: bool = False) -> list[str]:
    head = answer_head("\r\n".join(lines).encode("latin-1"), is_bare=has_no_body)
    return answer_bytes(head, closes=closes, has_no_body=has_no_body).decode("latin-1").split("\r\n")[:-2]


def test_an_answer_keeps_its_length_or_goes_in_chunks() -> None:
    assert answered("HTTP/1.1 201 Made", "content-length: 3", "Server: x") == [
        "HTTP/1.1 201 Made",
        "Server: x",
        "Content-Length: 3",
    ]
    assert answered("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") == [
        "HTTP/1.1 200 OK",
        "Transfer-Encoding: chunked",
    ]
    assert answered("HTTP/1.0 200 OK", "Connection: close", closes=True) == [
        "HTTP/1.1 200 OK",
        "Transfer-Encoding: chunked",
        "Connection: close",
    ]


def test_an_answer_without_a_body_says_how_long_it_would_be() -> None:
    assert answered("HTTP/1.1 200 OK", "Content-Length: 30", has_no_body=True) == [
        "HTTP/1.1 200 OK",
        "Content-Length: 30",
    ]
    assert answered("HTTP/1.1 204 No Content", has_no_body=True) == ["HTTP/1.1 204 No Content"]


def test_the_answer_to_an_upgrade_is_the_pods() -> None:
    head = answer_head(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: a",
        is_bare=False,
    )
    assert switched_bytes(head) == (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: a\r\n\r\n"
    )
