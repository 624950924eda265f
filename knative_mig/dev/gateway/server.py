"""The port of the gateway: who connects gets a thread, as far as there are places.

Made by the composing process; `serve` is a thread's body. The subtle thing is who goes when all places are taken: the
one that has been without a request for longest. One with a request is cut off for nobody, whether it is held or served;
so who finds only such is told to come again.
"""

import errno
import logging
import socket
import threading
import time
from typing import Final

from knative_mig.dev.gateway.connection import Connection
from knative_mig.dev.gateway.gateway import Gateway

HEAD_WITHIN_S: Final = 10.0  # from its first byte to its last
MOST_CONNECTIONS: Final = 12_000  # a thread each, of some tens of KiB
_PAUSE_S: Final = 0.1  # where there are no files left
_ASKS_WITHIN_S: Final = 0.2  # who has just connected, or been answered, may be about to
_NO_ROOM: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: 21\r\nConnection: close\r\n\r\ntoo many connections\n"
)

log = logging.getLogger(__name__)


class GatewayServer:
    """Has the socket for its own from now on."""

    def __init__(
        self,
        listening: socket.socket,
        gateway: Gateway,
        *,
        at_most: int = MOST_CONNECTIONS,
        waits: bool = False,
        head_within_s: float = HEAD_WITHIN_S,
    ) -> None:
        """`waits`: who finds no place stays in the port's queue until there is one, and is not refused."""
        self._gateway = gateway
        self._head_within_s = head_within_s
        self._at_most, self._waits = at_most, waits
        self.is_full = False  # nobody is taken now
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._open: set[socket.socket] = set()
        self._idle: dict[socket.socket, float] = {}  # since when; the longest first
        self._stopping = False
        self._socket = listening

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def serve(self) -> None:
        """Until `stop`."""
        has_files = True
        while True:
            if self._waits:
                self._wait_for_a_place()
            try:
                client, address = self._socket.accept()
            except OSError as error:
                if self._stopping:
                    return
                if error.errno in {errno.EMFILE, errno.ENFILE}:
                    if has_files:
                        log.warning("No connection can be taken: %s.", error.strerror)
                    has_files = False
                    self._gateway.connections.close()
                    with self._lock:
                        self._let_go()
                    time.sleep(_PAUSE_S)
                continue
            has_files = True
            self._take(client, address[0])

    def stop(self, within_s: float) -> bool:
        """Nobody is taken any more, and who has no request goes; whether all others had their answers by then."""
        with self._lock:
            if not self._stopping:
                self._stopping = True
                self._socket.shutdown(socket.SHUT_RDWR)  # which wakes who accepts; closing alone does not
                self._socket.close()
                self._changed.notify_all()
            while self._let_go():
                pass
            done = self._changed.wait_for(lambda: not self._open, within_s)
            for each in self._open:
                _end(each)
        return done

    def _wait_for_a_place(self) -> None:
        with self._lock:
            while not self._stopping and len(self._open) >= self._at_most and not self._let_go(after_s=_ASKS_WITHIN_S):
                self.is_full = True
                self._changed.wait(_PAUSE_S)
            self.is_full = False

    def _take(self, client: socket.socket, address: str) -> None:
        with self._lock:
            has_room = not self._stopping and (len(self._open) < self._at_most or self._let_go())
            if has_room:
                self._open.add(client)
        if not has_room:
            _refuse(client)
            return
        try:
            threading.Thread(target=self._serve_one, args=(client, address), name="gateway client", daemon=True).start()
        except RuntimeError as error:  # there is no room for a thread
            log.warning("A connection was refused: %s.", error)
            _refuse(client)
            self._gone(client)

    def _serve_one(self, client: socket.socket, address: str) -> None:
        try:
            place = _Place(self, client)
            Connection(client, address, self._gateway, place, head_within_s=self._head_within_s).serve()
        except Exception:
            log.exception("A request from %s could not be answered", address)
        finally:
            client.close()
            self._gone(client)

    def _gone(self, client: socket.socket) -> None:
        with self._lock:
            self._open.discard(client)
            self._idle.pop(client, None)
            self._changed.notify_all()

    def _let_go(self, *, after_s: float = 0.0) -> bool:
        """Of the one that has been idle for longest; its own thread closes it. Whether there was one."""
        longest = next(iter(self._idle), None)
        if longest is None or time.monotonic() - self._idle[longest] < after_s:
            return False
        del self._idle[longest]
        self._open.discard(longest)
        _end(longest)
        return True

    # -- what a connection says of itself ------------------------------------------------------------------------------

    def idles(self, client: socket.socket) -> None:
        with self._lock:
            self._idle[client] = time.monotonic()
            if self._stopping:
                self._let_go()

    def is_asked(self, client: socket.socket) -> None:
        with self._lock:
            self._idle.pop(client, None)

    @property
    def is_stopping(self) -> bool:
        return self._stopping


class _Place:
    __slots__ = ("_client", "_server")

    def __init__(self, server: GatewayServer, client: socket.socket) -> None:
        self._server = server
        self._client = client

    def idles(self) -> None:
        self._server.idles(self._client)

    def is_asked(self) -> None:
        self._server.is_asked(self._client)

    def closes(self) -> bool:
        return self._server.is_stopping


def _refuse(client: socket.socket) -> None:
    client.setblocking(False)  # noqa: FBT003  the standard library's
    try:
        client.send(_NO_ROOM)
    except OSError as error:
        log.debug("a connection had ended: %s", error)
    client.close()


def _end(client: socket.socket) -> None:
    try:
        client.shutdown(socket.SHUT_RDWR)
    except OSError as error:
        log.debug("a connection had ended: %s", error)
