"""The HTTP side of a sink for CloudEvents: reads them, answers at once, and sends one on to another sink.

Composed in the planner's process, which makes the thread that runs `serve`; what is read goes to one callable, which
must neither wait nor raise. The subtle thing is who may hold us up: connections are bounded, each request has a
deadline as a whole however slowly its bytes drip, and a client is heard to the end even when its event is refused,
for one that is cut off sends it all again, and Knative ten times.
"""

import http.client
import io
import logging
import re
import socket
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from knative_mig.adapters.cloud_events import LARGEST, decode
from knative_mig.core.events import Event, RawEvent, Rejected, Why, shown

_log = logging.getLogger(__name__)
# The answer is an event's refusal, or None: it is accepted, whatever becomes of it.
Take = Callable[[Event | Rejected, RawEvent], Rejected | None]

FORWARDED: Final = "Knative-Mig-Forwarded"
MOST_CONNECTIONS: Final = 128  # a thread each, which costs some 50 KiB
READ_WITHIN_S: Final = 5.0  # the whole request, from its first byte
IDLE_S: Final = 60.0  # between two requests of one connection
_DISCARDED: Final = 8 * 1024 * 1024  # bytes read and thrown away after a refusal
_CHUNK_SIZE: Final = re.compile(rb"[0-9a-fA-F]{1,8}")


def send_on(address: str, event: RawEvent, within_s: float) -> str:
    """To the sink at host:port, as it came; the answer says why it did not arrive, or nothing."""
    try:
        connection = http.client.HTTPConnection(address, timeout=within_s)
        try:
            connection.request("POST", "/", event.body, {**dict(event.headers), FORWARDED: "1"})
            status = connection.getresponse().status
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"{address}: {error or type(error).__name__}"
    return "" if status == HTTPStatus.ACCEPTED else f"{address} answered {status}"


class EventServer:
    """Bound as soon as it is made, so that a port that is taken fails the start; port 0 takes any."""

    def __init__(self, host: str, port: int, take: Take, *, at_most: int = MOST_CONNECTIONS) -> None:
        self._server = _Server((host, port), _Handler)
        self._server.take = take
        self._server.places = at_most

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def serve(self) -> None:
        """Until `stop`."""
        self._server.serve_forever(poll_interval=0.2)

    def stop(self) -> None:
        """From another thread than `serve`'s, which must have begun. Events that have been read are still answered."""
        self._server.shutdown()
        self._server.server_close()
        self._server.hear_no_more()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    take: Take
    places: int

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()

    @property
    def is_crowded(self) -> bool:
        """From here on nobody keeps a connection that it does not use."""
        return len(self._open) > self.places // 2

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            full = len(self._open) >= self.places
            if not full:
                self._open.add(request)
        if full:
            # The one answer of ours that asks for the event again: nobody has looked at it.
            request.settimeout(0)
            try:
                request.send(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            except OSError as error:
                _log.debug("%s: %s", client_address, error)
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def hear_no_more(self) -> None:
        with self._lock:
            for each in self._open:
                try:
                    each.shutdown(socket.SHUT_RD)
                except OSError as error:
                    _log.debug("a connection had ended: %s", error)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - socketserver's
        _log.exception("An event from %s could not be answered", client_address)


class _Deadlined(io.RawIOBase):
    """What a socket receives until a point in time, however many pieces it comes in."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        self._connection = connection
        self.until = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        return self._connection.recv_into(into)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    rfile: io.BufferedReader
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes, and the second would wait for the client
    server_version = "knative-mig"
    sys_version = ""

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self._incoming = _Deadlined(self.connection)
        self.rfile = io.BufferedReader(self._incoming)

    def handle_one_request(self) -> None:
        self.close_connection = True
        try:
            self._incoming.until = time.monotonic() + IDLE_S
            if self.rfile.peek(1):
                self._incoming.until = time.monotonic() + READ_WITHIN_S
                super().handle_one_request()
        except OSError as error:
            self.close_connection = True
            _log.debug("%s: %s", self.client_address, error or type(error).__name__)

    def do_POST(self) -> None:
        read = self._read()
        if isinstance(read, Rejected):
            # Where the request ends is not known: nothing after it can be read as another.
            self.close_connection = True
            told: Event | Rejected = read
            raw = RawEvent(headers=())
        else:
            headers = [(name, value) for name, value in self.headers.items() if _of_an_event(name)]
            raw = RawEvent(headers=tuple(headers), body=read, forwarded=FORWARDED in self.headers)
            told = decode(headers, read)
        refused = self.server.take(told, raw)
        if refused:
            _log.info("An event from %s is refused: %s", self.client_address[0], refused.reason)
            self._answer(HTTPStatus(refused.status), refused.reason)
        else:
            self._answer(HTTPStatus.ACCEPTED)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """What http.server itself refuses. A method that is not POST is no fault of ours, so it is no 501."""
        self.close_connection = True
        self.request_version = self.protocol_version  # else what could not be parsed is answered without a head
        status = HTTPStatus(code)
        if status is HTTPStatus.NOT_IMPLEMENTED:
            status = HTTPStatus.METHOD_NOT_ALLOWED
        elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            status = HTTPStatus.BAD_REQUEST
        self._answer(status, "events are sent by POST" if status is HTTPStatus.METHOD_NOT_ALLOWED else status.phrase)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is http.server's
        """A line for each event would bury the rest."""
        _log.debug("%s: " + format, self.client_address[0], *args)

    # -- reading -------------------------------------------------------------------------------------------------------

    def _read(self) -> bytes | Rejected:
        if self.path.partition("?")[0] != "/":
            return _malformed("events are taken at /")
        if self.headers.defects:
            return _malformed("a header is not one")
        encodings = self.headers.get_all("Transfer-Encoding", [])
        lengths = self.headers.get_all("Content-Length", [])
        if encodings:
            if lengths or [each.strip().lower() for each in encodings] != ["chunked"]:
                return _malformed("the body's length is told in two ways, or in none that is known")
            return self._chunks()
        if not lengths:
            return b""
        if len(lengths) > 1 or not (lengths[0].isascii() and lengths[0].isdecimal()):
            return _malformed(f"Content-Length is {shown(', '.join(lengths))}")
        if len(lengths[0]) > 9 or int(lengths[0]) > LARGEST:
            return _too_large()
        return self._exactly(int(lengths[0]))

    def _chunks(self) -> bytes | Rejected:
        body = bytearray()
        while True:
            size = _CHUNK_SIZE.match(line := self.rfile.readline(256))
            if not size or not line.endswith(b"\n") or line[size.end() :].lstrip(b" \t")[:1] not in b";\r\n":
                return _malformed("a chunk has no size")
            length = int(size[0], 16)
            if length == 0:
                break
            if len(body) + length > LARGEST:
                return _too_large()
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
            raise ConnectionResetError("the client ended in the middle of an event")
        return read

    # -- answering -----------------------------------------------------------------------------------------------------

    def _answer(self, status: HTTPStatus, reason: str = "") -> None:
        """An accepted event has an empty body: a Broker takes anything else for a reply, and a bad one."""
        self.connection.settimeout(READ_WITHIN_S)
        self.close_connection = self.close_connection or self.server.is_crowded
        body = f"{reason}\n".encode() if reason else b""
        self.send_response(status)
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "POST")
        if body:
            self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        if self.close_connection and reason:
            self._hear_out()

    def _hear_out(self) -> None:
        """To close on a client that still sends would take the answer from it."""
        self.connection.shutdown(socket.SHUT_WR)
        left = _DISCARDED
        while left > 0 and (piece := self.rfile.read1(min(left, LARGEST))):
            left -= len(piece)


def _of_an_event(name: str) -> bool:
    return name.lower() == "content-type" or name.lower().startswith("ce-")


def _malformed(reason: str) -> Rejected:
    return Rejected(status=Why.MALFORMED, reason=reason)


def _too_large() -> Rejected:
    return Rejected(status=Why.TOO_LARGE, reason=f"the body is too big: legal are {LARGEST} bytes")
