"""Links that are slow, silent, or cut in the middle of a message: nobody else waits for them."""

import socket
from collections.abc import Iterator

import pytest

from services.relay.link_messages import LONGEST_LINE, Alive, Go, Leave, Misunderstood, Warm, line_of
from services.relay.wire import ALIVE_EACH_S, SILENT_FOR_S, LinkLost, RelayLink, Wire, wait


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_messages_come_whole_however_they_are_cut(ends: tuple[socket.socket, socket.socket]) -> None:
    link, peer = RelayLink(ends[0], 0.0, b'{"leave": '), ends[1]
    data = b"{}}\n" + line_of(Alive()) + line_of(Warm(count=3)) + line_of(Go(at=4, ids=(5,)))[:5]
    peer.sendall(data)
    assert link.hear(0.0) == [Leave(), Warm(count=3)]
    assert link.hear(0.0) == []
    peer.sendall(line_of(Go(at=4, ids=(5,)))[5:])
    assert link.hear(0.0) == [Go(at=4, ids=(5,))]


def test_a_peer_that_ends_or_says_what_is_no_message_is_lost(ends: tuple[socket.socket, socket.socket]) -> None:
    link, peer = RelayLink(ends[0], 0.0, b"x" * LONGEST_LINE), ends[1]
    peer.sendall(b"x")
    with pytest.raises(Misunderstood):
        link.hear(0.0)
    peer.close()
    with pytest.raises(LinkLost):
        link.hear(0.0)


def test_who_has_nothing_to_say_says_so_and_who_says_nothing_is_dead(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    link, peer = RelayLink(ends[0], 100.0), ends[1]
    link.tick(100.0 + ALIVE_EACH_S / 2)
    link.tick(100.0 + ALIVE_EACH_S)
    link.tick(100.5 + ALIVE_EACH_S)
    assert peer.recv(4096) == line_of(Alive())
    peer.sendall(line_of(Alive()))
    assert link.hear(103.0) == []
    link.tick(103.0 + SILENT_FOR_S)
    with pytest.raises(LinkLost):
        link.tick(103.1 + SILENT_FOR_S)


def test_what_a_peer_does_not_take_waits_and_holds_up_nobody(ends: tuple[socket.socket, socket.socket]) -> None:
    wire, peer = Wire(ends[0]), ends[1]
    data = b"x" * 4_000_000
    wire.send(data)
    assert wait([wire], 0) == set()
    took = len(peer.recv(1_000_000))
    assert wait([wire], 5.0) == {wire.fileno()}
    while took < len(data):
        wire.flush()
        took += len(peer.recv(1_000_000))
    assert not wire.is_behind
    peer.close()
    with pytest.raises(OSError, match="Broken pipe"):
        wire.send(b"x")


def test_a_peer_that_takes_nothing_for_long_is_gone(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("services.relay.wire.time.monotonic", lambda: now[0])
    wire = Wire(ends[0])
    wire.send(b"x" * 4_000_000)
    now[0] = 5.0
    wire.flush()
    now[0] = 5.1
    with pytest.raises(TimeoutError):
        wire.flush()
