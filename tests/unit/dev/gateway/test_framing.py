"""Bodies as their bytes come, in every frame."""

import pytest

from knative_mig.dev.gateway.framing import BodyThrough, BrokenBody
from knative_mig.dev.gateway.http_head import Body, Chunked, Plain, ToTheEnd


def passed(body: Body, *pieces: bytes, chunked: bool) -> list[bytes]:
    through = BodyThrough(body, chunked=chunked)
    return [through.feed(piece) for piece in pieces]


def test_each_piece_of_a_stream_goes_on_at_once_and_its_end_once() -> None:
    pieces = passed(Chunked(), b"3\r\none\r\n", b"3\r\ntwo\r\n", b"0\r\n\r\n", chunked=True)
    assert pieces == [b"3\r\none\r\n", b"3\r\ntwo\r\n", b"0\r\n\r\n"]


def test_a_chunk_that_comes_in_pieces_goes_on_in_pieces() -> None:
    pieces = passed(Chunked(), b"5", b"\r", b"\nab", b"cde", b"\r\n0\r\n", b"\r\n", chunked=True)
    assert pieces == [b"", b"", b"2\r\nab\r\n", b"3\r\ncde\r\n", b"", b"0\r\n\r\n"]


def test_what_is_told_of_a_chunk_and_behind_the_last_is_dropped() -> None:
    pieces = passed(Chunked(), b"2 ;sig=x\r\nab\r\n0\r\nX-Trailer: y\r\n\r\n", chunked=False)
    assert pieces == [b"ab"]


def test_what_has_a_length_ends_with_it_and_the_rest_is_the_next_one() -> None:
    through = BodyThrough(Plain(4), chunked=False)
    assert (through.feed(b"ab"), through.is_over) == (b"ab", False)
    assert (through.feed(b"cdGET /"), through.is_over) == (b"cd", True)
    assert through.rest == b"GET /"
    assert through.feed(b" more") == b""
    assert through.rest == b"GET / more"


def test_what_is_behind_the_last_chunk_is_the_next_one() -> None:
    through = BodyThrough(Chunked(), chunked=True)
    assert through.feed(b"1\r\na\r\n0\r\n\r\nGET /") == b"1\r\na\r\n0\r\n\r\n"
    assert through.rest == b"GET /"


def test_a_body_to_the_connections_end_becomes_chunks() -> None:
    through = BodyThrough(ToTheEnd(), chunked=True)
    assert (through.feed(b"abc"), through.is_over) == (b"3\r\nabc\r\n", False)
    assert (through.end(), through.is_over) == (b"0\r\n\r\n", True)
    assert through.end() == b""


@pytest.mark.parametrize(
    ("body", "begun"), [(Plain(3), b"ab"), (Chunked(), b"3\r\nab"), (Chunked(), b"")], ids=["length", "chunk", "none"]
)
def test_a_connection_that_ends_in_the_middle_breaks_it(body: Body, begun: bytes) -> None:
    through = BodyThrough(body, chunked=True)
    through.feed(begun)
    with pytest.raises(BrokenBody):
        through.end()


@pytest.mark.parametrize(
    "data",
    [
        b"x\r\n",
        b"\r\n",
        b"-1\r\na\r\n",
        b"3\nabc",
        b"1\r\nab\r\n",
        b"1\r\na\n0\r\n\r\n",
        b"fffffffffffffffff\r\n",
        b"1" * 5000,
        b"0\r\n" + b"a: b\r\n" * 200,
    ],
)
def test_what_is_no_frame_breaks_it(data: bytes) -> None:
    with pytest.raises(BrokenBody):
        passed(Chunked(), data, chunked=True)
