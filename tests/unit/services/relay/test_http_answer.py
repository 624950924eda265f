"""An answer that comes in pieces: the same head and body however it is cut, and what is broken is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.relay.http_answer import AnswerBroken, HttpAnswer

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n"


def read(data: bytes, size: int = 1 << 20) -> tuple[HttpAnswer, bytes]:
    answer = HttpAnswer()
    return answer, b"".join(answer.feed(data[at : at + size]) for at in range(0, len(data), size))


@given(st.lists(st.binary(min_size=1), max_size=6), st.integers(1, 30))
def test_chunks_come_out_as_they_were_however_they_are_cut(pieces: list[bytes], size: int) -> None:
    data = CHUNKED + b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in pieces) + b"0\r\n\r\n"
    answer, body = read(data, size)
    assert body == b"".join(pieces)
    assert answer.is_over
    assert answer.head
    assert (answer.head.status, answer.head.get("x-a")) == (200, "1")


@given(st.binary(), st.integers(1, 30))
def test_a_length_says_where_it_ends(body: bytes, size: int) -> None:
    answer, out = read(b"HTTP/1.1 404 Not Found\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body), size)
    assert out == body
    assert answer.is_over


def test_else_the_connections_end_does() -> None:
    answer, body = read(b"HTTP/1.0 200 OK\r\n\r\nabc", 2)
    assert not answer.is_over
    answer.end()
    assert (body, answer.is_over) == (b"abc", True)


def test_an_answer_that_only_says_go_on_is_none() -> None:
    answer, body = read(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", 7)
    assert answer.head
    assert (answer.head.status, body) == (200, b"ab")


def test_what_comes_behind_a_change_of_protocol_is_kept() -> None:
    answer, body = read(b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n{"alive": {}}\n')
    assert (body, answer.rest, answer.is_over) == (b"", b'{"alive": {}}\n', True)


@pytest.mark.parametrize("cut", [b"", b"HTTP/1.1 200", CHUNKED, CHUNKED + b"5\r\nab"])
def test_an_end_in_the_middle_is_no_end(cut: bytes) -> None:
    answer, _ = read(cut)
    with pytest.raises(AnswerBroken):
        answer.end()


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 999 No\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        CHUNKED + b"five\r\nabcde\r\n",
        CHUNKED + b"1\r\nabcd\r\n",
        b"x" * 70_000,
    ],
)
def test_what_is_no_answer_is_broken(data: bytes) -> None:
    with pytest.raises(AnswerBroken):
        read(data)
