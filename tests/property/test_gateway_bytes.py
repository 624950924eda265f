"""Bytes that come in any pieces: a body is the same however it is cut, and nonsense breaks nothing."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from knative_mig.dev.gateway.forwarding import request_bytes
from knative_mig.dev.gateway.framing import BodyThrough, BrokenBody, framed
from knative_mig.dev.gateway.http_head import Chunked, NoAnswer, Plain, RequestHead, answer_head, request_head
from knative_mig.dev.gateway.replies import Reply
from knative_mig.dev.gateway.routing import host_of

BODY = st.binary(max_size=300)
CUTS = st.lists(st.integers(0, 400), max_size=8)
NEXT = b"GET /next HTTP/1.1\r\n"


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({0, *(each for each in cuts if each < len(data)), len(data)})
    return [data[begin:end] for begin, end in pairwise(at)]


def whole(pieces: list[bytes]) -> tuple[bytes, bytes]:
    """Of what was framed: the body, and what is behind it."""
    through = BodyThrough(Chunked(), chunked=False)
    return b"".join(through.feed(piece) for piece in pieces), through.rest


@given(chunks=st.lists(st.binary(min_size=1, max_size=60), max_size=6), cuts=CUTS)
def test_chunks_are_the_same_body_however_they_are_cut(chunks: list[bytes], cuts: list[int]) -> None:
    data = b"".join(map(framed, chunks)) + b"0\r\n\r\n" + NEXT
    through = BodyThrough(Chunked(), chunked=True)
    sent_on = [through.feed(piece) for piece in cut(data, cuts)]
    assert through.is_over
    assert through.rest == NEXT
    assert whole(sent_on) == (b"".join(chunks), b"")


@given(body=BODY, cuts=CUTS)
def test_a_length_is_the_same_body_however_it_is_cut(body: bytes, cuts: list[int]) -> None:
    through = BodyThrough(Plain(len(body)), chunked=False)
    assert b"".join(through.feed(piece) for piece in cut(body + NEXT, cuts)) == body
    assert through.rest == NEXT


@given(data=st.binary(max_size=200), cuts=CUTS)
def test_nonsense_is_a_broken_body_or_a_body(data: bytes, cuts: list[int]) -> None:
    through = BodyThrough(Chunked(), chunked=True)
    try:
        for piece in cut(data, cuts):
            through.feed(piece)
    except BrokenBody:
        return
    assert whole([data])[1] == through.rest


@given(st.binary(max_size=200) | st.text("GETPOS /hHost:1.\r\n\t\x00,", max_size=60).map(str.encode))
def test_nonsense_is_a_request_or_is_answered(data: bytes) -> None:
    head = request_head(data)
    if isinstance(head, Reply):
        assert head.status >= 400
        assert head.body.isascii()
        return
    sent = request_bytes(head, client="127.0.0.1", request_id="i", by_activator=True)
    assert sent.count(b"\r\n\r\n") == 1
    again = request_head(sent.removesuffix(b"\r\n\r\n"))
    assert isinstance(again, RequestHead)
    assert (again.method, again.target, again.host, again.body) == (head.method, head.target, head.host, head.body)


@given(st.binary(max_size=200))
def test_nonsense_is_no_answer_or_one(data: bytes) -> None:
    try:
        head = answer_head(b"HTTP/1.1 200 OK\r\n" + data, is_bare=False)
    except NoAnswer:
        return
    assert all(name.isascii() and "\n" not in value for name, value in head.fields)


@given(st.text(max_size=80))
def test_a_host_is_none_or_one_that_could_be_anybodys(header: str) -> None:
    host = host_of(header)
    assert host is None or (host == host_of(host) and host.isascii() and len(host) <= 253)
