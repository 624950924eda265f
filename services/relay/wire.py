"""Connections that one thread has several of: it waits for whichever has something, and for none of them alone.

Used by `conversation`, `arrival` and `passing`, each on the thread that serves its client or its link. The
subtle thing is a peer that does not read: what it does not take waits here, so that nobody else is held up by it.
"""

import select
import socket
import time
from collections.abc import Iterable
from typing import Final, Protocol

from services.relay.link_messages import LONGEST_LINE, Alive, Message, Misunderstood, line_of, message_of

TAKES_WITHIN_S: Final = 5.0  # a peer that takes nothing for so long is gone
ALIVE_EACH_S: Final = 1.0
SILENT_FOR_S: Final = 5.0  # a link on which nothing comes for so long is dead
_PIECE: Final = 64 * 1024


class Waited(Protocol):
    """What can be waited for."""

    def fileno(self) -> int: ...

    @property
    def awaits(self) -> int:
        """Of poll's events."""


class Wire:
    """What it cannot send at once goes out when it can."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(0.0)
        self.socket = connection
        self._unsent = bytearray()
        self._took_at = 0.0  # when the peer last took something, or had nothing to take

    def fileno(self) -> int:
        return self.socket.fileno()

    @property
    def is_behind(self) -> bool:
        """Something is still to be sent."""
        return bool(self._unsent)

    @property
    def awaits(self) -> int:
        return select.POLLIN | (select.POLLOUT if self._unsent else 0)

    def send(self, data: bytes) -> None:
        """OSError: the peer is gone."""
        if not self._unsent:
            self._took_at = time.monotonic()
        self._unsent += data
        self.flush()

    def flush(self) -> None:
        """As much as goes. OSError: the peer is gone, or takes nothing."""
        while self._unsent:
            try:
                sent = self.socket.send(self._unsent)
            except BlockingIOError:
                if time.monotonic() - self._took_at > TAKES_WITHIN_S:
                    raise TimeoutError("it takes nothing any more") from None
                return
            del self._unsent[:sent]
            self._took_at = time.monotonic()

    def forget_rest(self) -> None:
        """What it was not sent, it is not to be sent."""
        self._unsent.clear()

    def flush_all(self) -> None:
        """Waits until all is sent. OSError: that does not come."""
        while self._unsent:
            wait([self], TAKES_WITHIN_S)
            self.flush()

    def receive(self) -> bytes:
        """What has come; nothing: the peer has ended. BlockingIOError: nothing has come."""
        return self.socket.recv(_PIECE)

    def close(self) -> None:
        self.socket.close()


def wait(whom: Iterable[Waited], within_s: float | None) -> set[int]:
    """The file numbers of those who have something, have ended, or take something again."""
    poll = select.poll()
    for each in whom:
        if awaits := each.awaits:
            poll.register(each.fileno(), awaits)
    return {number for number, _ in poll.poll(None if within_s is None else within_s * 1000)}


class LinkLost(ConnectionError):
    """The other relay is gone, or silent for too long."""


class RelayLink:
    """Messages to and from the other relay of a move, and that it is there while nobody has anything to say."""

    def __init__(self, connection: socket.socket, now: float, unread: bytes = b"") -> None:
        self.wire = Wire(connection)
        self._unread = unread
        self._heard_at = now
        self._said_at = now

    def fileno(self) -> int:
        return self.wire.fileno()

    @property
    def awaits(self) -> int:
        return self.wire.awaits

    def say(self, message: Message, now: float) -> None:
        """OSError: nobody is there."""
        self._said_at = now
        self.wire.send(line_of(message))

    def hear(self, now: float) -> list[Message]:
        """What has come since. LinkLost, OSError; Misunderstood: the peer says what it cannot say."""
        self.wire.flush()
        try:
            data = self.wire.receive()
        except BlockingIOError:
            return []
        if not data:
            raise LinkLost("it hung up")
        self._heard_at = now
        *lines, self._unread = (self._unread + data).split(b"\n")
        if len(self._unread) > LONGEST_LINE:
            raise Misunderstood("a message does not end")
        return [message for message in map(message_of, lines) if not isinstance(message, Alive)]

    def tick(self, now: float) -> None:
        """To be called twice a second. LinkLost, OSError."""
        if now - self._heard_at > SILENT_FOR_S:
            raise LinkLost(f"nothing was heard for {SILENT_FOR_S:g} s")
        if now - self._said_at >= ALIVE_EACH_S:
            self.say(Alive(), now)

    def close(self) -> None:
        self.wire.close()
