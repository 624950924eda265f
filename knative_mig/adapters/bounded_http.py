"""An HTTP server whose clients cannot hold it up: the common part of the servers that anybody in the cluster reaches.

Extended by `event_server`, `webhook_server` and `ops_server`, which say what is done with a request. Connections are
bounded, and so is what a head and a body may weigh; each request has a deadline as a whole however slowly its bytes
drip, which servers that take uploads put off by what has come; and a client is heard to the end even when it is
refused, for one that is cut off does not get the answer, and sends it all again.

The subtle thing is who goes when all places are taken: the one whose request has been awaited longest. A request is
read in milliseconds, so whoever fills the places with connections that say nothing pushes out its own.
"""

import errno
import http.client
import io
import logging
import re
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, Final

from knative_mig.core.events import shown

_log = logging.getLogger(__name__)

MOST_CONNECTIONS: Final = 128  # a thread each, which costs some 50 KiB
READ_WITHIN_S: Final = 5.0  # the whole request, from its first byte
UPLOADED_WITHIN_S: Final = 60.0  # where uploads are taken, and no pause is longer than the above
LEAST_RATE: Final = 64 * 1024  # bytes a second of an upload, after the first seconds
_TAKES_REFUSAL_WITHIN_S: Final = 1.0  # who has been too slow already
IDLE_S: Final = 60.0  # between two requests of one connection
LARGEST_HEAD: Final = 64 * 1024  # bytes of all its headers; http.server itself would take a hundred lines of as many
TEXT: Final = "text/plain; charset=utf-8"
_DISCARDED: Final = 64 * 1024 * 1024  # bytes read and thrown away after a refusal, within the request's own time
_PIECE: Final = 64 * 1024
_PAUSE_S: Final = 0.1  # where there are no files left
_CHUNK_SIZE: Final = re.compile(rb"[0-9a-fA-F]{1,8}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NotRead:
    """A body that was not taken. Where the request ends is not known: nothing after it is read as another."""

    status: HTTPStatus
    reason: str  # one line


class BoundedServer(ThreadingHTTPServer):
    """Bound as soon as it is made, so that a port that is taken fails the start; port 0 takes any."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, handler: "type[BoundedHandler]", *, at_most: int) -> None:
        self._lock = threading.Lock()
        self._open: dict[socket.socket, socket.socket] = {}  # as accepted, and as spoken with
        self._awaited: dict[socket.socket, None] = {}  # as spoken with: no whole request has come, the longest first
        self._places = at_most
        super().__init__((host, port), handler)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def is_crowded(self) -> bool:
        """From here on nobody keeps a connection that it does not use."""
        return len(self._open) > self._places // 2

    def serve(self) -> None:
        """Until `stop`."""
        self.serve_forever(poll_interval=0.2)

    def stop(self) -> None:
        """From another thread than `serve`'s, which must have begun. What has been read is still answered."""
        self.shutdown()
        self.server_close()
        with self._lock:
            for each in self._open.values():
                try:
                    socket.socket.shutdown(each, socket.SHUT_RD)  # past TLS, which would go on in plain text
                except OSError as error:
                    _log.debug("a connection had ended: %s", error)

    def no_room(self, request: socket.socket) -> None:
        """The one answer of ours that asks for all of it again: nobody has looked at it."""
        request.send(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    def spoken_with(self, request: socket.socket, through: socket.socket) -> None:
        """What was accepted as `request` goes on through another socket object."""
        with self._lock:
            self._open[request] = through
            if self._awaited.pop(request, self) is None:
                self._awaited[through] = None

    def awaits(self, connection: socket.socket) -> None:
        """A request on this connection."""
        with self._lock:
            self._awaited[connection] = None

    def has_come(self, connection: socket.socket) -> None:
        """The whole request has: its answer is not cut off for anybody."""
        with self._lock:
            self._awaited.pop(connection, None)

    def get_request(self) -> tuple[Any, Any]:
        """Where there is no file left for a connection, it is asked for again at once: that would take a whole core."""
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE}:
                time.sleep(_PAUSE_S)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            if len(self._open) >= self._places:
                self._let_go()
            full = len(self._open) >= self._places
            if not full:
                self._open[request] = request
                self._awaited[request] = None
        if full:
            request.settimeout(0)
            try:
                self.no_room(request)
            except OSError as error:
                _log.debug("%s: %s", client_address, error)
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def _let_go(self) -> None:
        """Of the one whose request has been awaited longest; its own thread closes it."""
        longest = next(iter(self._awaited), None)
        if longest is None:
            return
        del self._awaited[longest]
        self._open = {accepted: through for accepted, through in self._open.items() if through is not longest}
        try:
            socket.socket.shutdown(longest, socket.SHUT_RDWR)
        except OSError as error:
            _log.debug("a connection had ended: %s", error)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._awaited.pop(self._open.pop(request, request), None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - socketserver's
        _log.exception("A request from %s could not be answered", client_address)


class _Deadlined(io.RawIOBase):
    """What a socket receives until a point in time, which what comes puts off as far as `latest`."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        self._connection = connection
        self.until = self.latest = 0.0

    def allow(self, within_s: float, at_most_s: float = 0.0) -> None:
        self.until = time.monotonic() + within_s
        self.latest = max(self.until, time.monotonic() + at_most_s)

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        count = self._connection.recv_into(into)
        # Nothing is saved up: who was fast at first may not be silent for long after.
        put_off = min(self.until + count / LEAST_RATE, time.monotonic() + READ_WITHIN_S, self.latest)
        self.until = max(self.until, put_off)
        return count


class _Incoming(io.BufferedReader):
    """Gives lines of a head only until they weigh too much together."""

    head_left: int | None = None  # None: no head is being read

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        if self.head_left is not None:
            self.head_left -= len(line)
            if self.head_left < 0:
                raise http.client.LineTooLong("head")
        return line


class BoundedHandler(BaseHTTPRequestHandler):
    rfile: _Incoming
    server: BoundedServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes, and the second would wait for the client
    server_version = "knative-mig"
    sys_version = ""
    allowed = "POST"
    only_allowed = "this is sent by POST"
    keeps_idle_s: float | None = None  # None: IDLE_S
    uploaded_within_s: float | None = None  # None: as anything else, in READ_WITHIN_S

    def setup(self) -> None:
        super().setup()
        self._first = True
        self.rfile.close()
        self._incoming = _Deadlined(self.connection)
        self.rfile = _Incoming(self._incoming)

    def handle_one_request(self) -> None:
        self.close_connection = True
        try:
            patience_s = READ_WITHIN_S if self._first else self.keeps_idle_s or IDLE_S
            self._incoming.allow(patience_s)
            self._first = False
            self.server.awaits(self.connection)
            if self.rfile.peek(1):
                self._incoming.allow(READ_WITHIN_S, self.uploaded_within_s or 0.0)
                super().handle_one_request()
        except OSError as error:
            self.close_connection = True
            _log.debug("%s hung up: %s", self.client_address, error or type(error).__name__)

    def parse_request(self) -> bool:
        self.rfile.head_left = LARGEST_HEAD
        try:
            return super().parse_request()
        finally:
            self.rfile.head_left = None

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """What http.server itself refuses. A method that is none here is no fault of ours, so it is no 501."""
        self.close_connection = True
        status = HTTPStatus(code)
        if status is HTTPStatus.NOT_IMPLEMENTED:
            status = HTTPStatus.METHOD_NOT_ALLOWED
        elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            status = HTTPStatus.BAD_REQUEST
        self.refuse(status, self.only_allowed if status is HTTPStatus.METHOD_NOT_ALLOWED else status.phrase)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is http.server's
        """A line for each request would bury the rest."""
        _log.debug("%s: " + format, self.client_address[0], *args)

    # -- reading -------------------------------------------------------------------------------------------------------

    def read_body(self, largest: int) -> bytes | NotRead:
        try:
            read = self._read(largest)
        except TimeoutError:
            read = NotRead(status=HTTPStatus.REQUEST_TIMEOUT, reason="the body comes too slowly")
            self._incoming.allow(_TAKES_REFUSAL_WITHIN_S)
        self.server.has_come(self.connection)
        if isinstance(read, NotRead):
            self.close_connection = True
        return read

    def _read(self, largest: int) -> bytes | NotRead:
        if self.headers.defects:
            return _malformed("a header is not one")
        encodings = self.headers.get_all("Transfer-Encoding", [])
        lengths = self.headers.get_all("Content-Length", [])
        if encodings:
            if lengths or [each.strip().lower() for each in encodings] != ["chunked"]:
                return _malformed("the body's length is told in two ways, or in none that is known")
            return self._chunks(largest)
        if not lengths:
            return b""
        if len(lengths) > 1 or not (lengths[0].isascii() and lengths[0].isdecimal()):
            return _malformed(f"Content-Length is {shown(', '.join(lengths))}")
        if len(lengths[0]) > 9 or int(lengths[0]) > largest:
            return _too_large(largest)
        return self._exactly(int(lengths[0]))

    def _chunks(self, largest: int) -> bytes | NotRead:
        body = bytearray()
        while True:
            size = _CHUNK_SIZE.match(line := self.rfile.readline(256))
            if not size or not line.endswith(b"\n") or line[size.end() :].lstrip(b" \t")[:1] not in b";\r\n":
                return _malformed("a chunk has no size")
            length = int(size[0], 16)
            if length == 0:
                break
            if len(body) + length > largest:
                return _too_large(largest)
            body += self._exactly(length)
            if self.rfile.readline(3).rstrip(b"\r\n"):
                return _malformed("a chunk is longer than its size")
        for _ in range(16):
            if not self.rfile.readline(1024).rstrip(b"\r\n"):
                return bytes(body)
        return _malformed("too much after the last chunk")

    def _exactly(self, length: int) -> bytes:
        read = self.rfile.read(length)
        if len(read) < length:
            raise ConnectionResetError("the client ended in the middle of a request")
        return read

    # -- answering -----------------------------------------------------------------------------------------------------

    def refuse(self, status: HTTPStatus, reason: str) -> None:
        """In the words of whom this port is for: plain ones, unless it is said otherwise."""
        self.answer_last(status, f"{reason}\n".encode(), TEXT)

    def answer_last(
        self, status: HTTPStatus, body: bytes, content_type: str, headers: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Of a connection that may end with it."""
        self.answer(status, body, content_type, headers)
        if self.close_connection:
            self._hear_out()

    def answer(
        self,
        status: HTTPStatus,
        body: bytes = b"",
        content_type: str = "",
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.connection.settimeout(READ_WITHIN_S)
        self.close_connection = self.close_connection or self.server.is_crowded
        # Else what could not be parsed, and who says that it speaks HTTP/0.9, is answered without a head.
        self.request_version = self.protocol_version
        self.send_response(status)
        allow = {"Allow": self.allowed} if status is HTTPStatus.METHOD_NOT_ALLOWED else {}
        for name, value in {**allow, **headers}.items():
            self.send_header(name, value)
        if body:
            self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _hear_out(self) -> None:
        """To close on a client that still sends would take the answer from it."""
        self._incoming.latest = self._incoming.until
        socket.socket.shutdown(self.connection, socket.SHUT_WR)
        left = _DISCARDED
        while left > 0 and (piece := self.rfile.read1(min(left, _PIECE))):
            left -= len(piece)


def _malformed(reason: str) -> NotRead:
    return NotRead(status=HTTPStatus.BAD_REQUEST, reason=reason)


def _too_large(largest: int) -> NotRead:
    return NotRead(status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE, reason=f"the body is too big: legal are {largest} bytes")
