"""Heads of requests and answers: what is read of them, and what is refused."""

from http import HTTPStatus

import pytest

from knative_mig.dev.gateway.http_head import (
    AnswerHead,
    Chunked,
    NoAnswer,
    Plain,
    RequestHead,
    ToTheEnd,
    answer_head,
    request_head,
)
from knative_mig.dev.gateway.replies import Reply


def read(*lines: str) -> RequestHead:
    head = request_head("\r\n".join(lines).encode("latin-1"))
    assert isinstance(head, RequestHead)
    return head


def test_a_request_is_read_with_its_names_as_they_came() -> None:
    head = read("POST /v1/completions?a=b HTTP/1.1", "Host: fn.team.localhost", "content-LENGTH:  5 ", "X: ü")
    assert (head.method, head.target, head.host) == ("POST", "/v1/completions?a=b", "fn.team.localhost")
    assert head.fields[1] == ("content-LENGTH", "5")
    assert head.body == Plain(5)
    assert head.has_body
    assert not head.closes


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        ((), Plain(0)),
        (("Content-Length: 0",), Plain(0)),
        (("Content-Length: 7", "Content-Length: 7"), Plain(7)),
        (("Transfer-Encoding: CHUNKED",), Chunked()),
    ],
    ids=["none", "of nothing", "told twice the same", "chunks"],
)
def test_the_body_is_told_by_the_head(lines: tuple[str, ...], body: object) -> None:
    assert read("POST / HTTP/1.1", "Host: h", *lines).body == body


def test_a_client_may_close_expect_and_upgrade() -> None:
    head = read("GET / HTTP/1.1", "Host: h", "Connection: close, x")
    assert head.closes
    head = read("PUT / HTTP/1.1", "Host: h", "Expect: 100-Continue", "Content-Length: 1")
    assert head.awaits_continue
    head = read("GET / HTTP/1.1", "Host: h", "Connection: keep-alive, Upgrade", "Upgrade: WebSocket")
    assert head.upgrade == "websocket"


@pytest.mark.parametrize(
    "lines",
    [("Connection: Upgrade", "Upgrade: h2c"), ("Upgrade: websocket",)],
    ids=["to HTTP/2", "not said to the connection"],
)
def test_some_upgrades_are_none(lines: tuple[str, ...]) -> None:
    assert read("GET / HTTP/1.1", "Host: h", *lines).upgrade == ""


def test_nothing_is_continued_without_a_body() -> None:
    assert not read("GET / HTTP/1.1", "Host: h", "Expect: 100-continue").awaits_continue


@pytest.mark.parametrize(
    ("target", "host", "path"),
    [
        ("http://fn.team.localhost:8080/a?b", "fn.team.localhost:8080", "/a?b"),
        ("HTTP://fn.team.localhost", "fn.team.localhost", "/"),
    ],
)
def test_a_whole_url_says_the_host_better_than_the_header(target: str, host: str, path: str) -> None:
    head = read(f"GET {target} HTTP/1.1", "Host: other")
    assert (head.host, head.target) == (host, path)


def test_all_of_a_server_may_be_asked_for_its_options() -> None:
    assert read("OPTIONS * HTTP/1.1", "Host: h").target == "*"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"", HTTPStatus.BAD_REQUEST),
        (b"GET /", HTTPStatus.BAD_REQUEST),
        (b"GET  / HTTP/1.1", HTTPStatus.BAD_REQUEST),
        (b"GET / a HTTP/1.1", HTTPStatus.BAD_REQUEST),
        (b"G(T / HTTP/1.1", HTTPStatus.BAD_REQUEST),
        (b"GET / HTTP/1.0\r\nHost: h", HTTPStatus.UPGRADE_REQUIRED),
        (b"PRI * HTTP/2.0", HTTPStatus.HTTP_VERSION_NOT_SUPPORTED),
        (b"\x16\x03\x01\x02\x00\x01", HTTPStatus.BAD_REQUEST),
        (b"GET * HTTP/1.1\r\nHost: h", HTTPStatus.BAD_REQUEST),
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a:443", HTTPStatus.BAD_REQUEST),
        (b"GET https://a/ HTTP/1.1\r\nHost: a", HTTPStatus.BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b", HTTPStatus.BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded", HTTPStatus.BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nHost : a", HTTPStatus.BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nHost: a\r\nno header", HTTPStatus.BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nHost: a\nX: y", HTTPStatus.BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nHost: a\x00", HTTPStatus.BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1", HTTPStatus.BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2", HTTPStatus.BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999999999", HTTPStatus.BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked", HTTPStatus.BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked", HTTPStatus.BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: miracles", HTTPStatus.EXPECTATION_FAILED),
        (b"GET / HTTP/1.1\r\nHost: a" + b"\r\nX: y" * 100, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
    ],
)
def test_what_is_no_request_is_refused_with_a_line_that_says_why(head: bytes, status: HTTPStatus) -> None:
    reply = request_head(head)
    assert isinstance(reply, Reply)
    assert reply.status is status
    assert 10 < len(reply.body) < 200
    assert reply.body.count(b"\n") == 1


def an_answer(*lines: str, is_bare: bool = False) -> AnswerHead:
    return answer_head("\r\n".join(lines).encode("latin-1"), is_bare=is_bare)


@pytest.mark.parametrize(
    ("lines", "body", "closes"),
    [
        (("HTTP/1.1 200 OK", "Content-Length: 3"), Plain(3), False),
        (("HTTP/1.1 200 OK", "Content-Length: 3", "Connection: close"), Plain(3), True),
        (("HTTP/1.1 200", "Transfer-Encoding: chunked"), Chunked(), False),
        (("HTTP/1.1 200 OK",), ToTheEnd(), True),
        (("HTTP/1.0 200 OK", "Content-Length: 3"), Plain(3), True),
        (("HTTP/1.0 200 OK", "Content-Length: 3", "Connection: keep-alive"), Plain(3), False),
        (("HTTP/1.1 204 No Content",), Plain(0), False),
        (("HTTP/1.1 304 Not Modified", "Content-Length: 9"), Plain(0), False),
        (("HTTP/1.1 103 Early Hints", "Link: x"), Plain(0), False),
    ],
)
def test_an_answer_says_how_its_body_ends_and_whether_the_connection_does(
    lines: tuple[str, ...], body: object, *, closes: bool
) -> None:
    head = an_answer(*lines)
    assert (head.body, head.closes) == (body, closes)


def test_the_answer_to_a_head_has_no_body_whatever_it_says() -> None:
    assert an_answer("HTTP/1.1 200 OK", "Content-Length: 3", is_bare=True).body == Plain(0)


@pytest.mark.parametrize(
    "lines",
    [
        ("hello",),
        ("HTTP/2 200 OK",),
        ("HTTP/1.1 99 X",),
        ("HTTP/1.1 200 OK", "no header"),
        ("HTTP/1.1 200 OK", "Content-Length: x"),
        ("HTTP/1.1 200 OK", "Content-Length: 1", "Transfer-Encoding: chunked"),
    ],
)
def test_what_is_no_answer_is_said_to_be_none(lines: tuple[str, ...]) -> None:
    with pytest.raises(NoAnswer, match="malformed HTTP response"):
        an_answer(*lines)
