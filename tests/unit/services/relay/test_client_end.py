"""A client's end: framed as it asked, seen when it leaves, and not taken for gone because it is ahead."""

import select
import socket
from collections.abc import Iterator

import pytest

from services.relay.client_end import ClientEnd

Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_a_stream_has_one_head_its_events_and_its_end(ends: Ends) -> None:
    client = ClientEnd(ends[0], chunked=True, keeps=True)
    client.begin()
    client.send(('{"a": 1}', '{"b": 2}'))
    client.finish()
    head, _, body = ends[1].recv(65536).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert b"Connection: close" not in head
    assert body == (
        b'20\r\ndata: {"a": 1}\n\ndata: {"b": 2}\n\n\r\n'  # both in one chunk
        b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
    )


def test_an_old_client_sees_the_end_by_the_connections(ends: Ends) -> None:
    client = ClientEnd(ends[0], chunked=False, keeps=True)
    client.finish()
    head, _, body = ends[1].recv(65536).partition(b"\r\n\r\n")
    assert b"Connection: close" in head
    assert body == b"data: [DONE]\n\n"


def test_what_broke_off_says_why_and_has_no_end(ends: Ends) -> None:
    client = ClientEnd(ends[0], chunked=True, keeps=True)
    client.begin()
    client.break_off("it died")
    data = ends[1].recv(65536)
    assert b"it died" in data
    assert b"[DONE]" not in data
    assert not data.endswith(b"0\r\n\r\n")


def test_who_is_ahead_is_there_and_waited_for_no_more(ends: Ends) -> None:
    client = ClientEnd(ends[0], chunked=True, keeps=True)
    assert client.awaits == select.POLLIN
    assert not client.is_gone()
    ends[1].sendall(b"POST /next")
    assert not client.is_gone()
    assert client.awaits == 0


def test_who_has_left_is_gone(ends: Ends) -> None:
    client = ClientEnd(ends[0], chunked=True, keeps=True)
    ends[1].close()
    assert client.is_gone()
