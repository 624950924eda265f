"""A request to an engine, or to another replica, and what comes of it: tokens, or an answer that is none of ours.

Made by `conversation`, `arrival` and `passing`, and read by the same thread whenever its socket has something.
"""

import select
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from knative_mig.core.errors import BadInput, KnativeMigError
from services.relay.http_answer import AnswerBroken, Head, HttpAnswer
from services.relay.stream_events import EngineStream, Piece, Reading

SENT_ON: Final = "Knative-Mig-Sent-On"  # set on what a relay asks elsewhere, so that nobody sends it on again
_CONNECTS_WITHIN_S: Final = 5.0
_PIECE: Final = 64 * 1024
_HTTP: Final = 80
# They are about one connection, and this is another; and an answer that is packed could not be read.
_NOT_PASSED: Final = frozenset({
    "host", "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
    "transfer-encoding", "upgrade", "content-length", "accept-encoding", "expect",
})  # fmt: skip


class CallFailed(KnativeMigError):
    """It gives no tokens, or no more."""

    reason = "CallFailed"


class NotAStream(KnativeMigError):
    """It is answered with something else than a stream: an error, as a rule."""

    reason = "NotAStream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    host: str
    port: int
    path: str = ""  # before all paths
    gateway: tuple[str, int] | None = None  # who is connected to, where the host's name is known to nobody else

    @classmethod
    def of(cls, url: str, gateway: str = "") -> "Address":
        """BadInput: it is no plain HTTP address, or the gateway none like 127.0.0.1:8080."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
            (host or "").encode("idna")  # as a socket will, whose error for a name that is none is no OSError
        except ValueError:
            host, port = None, None
        if not host or not parts.path.isascii() or parts.scheme != "http" or parts.query or parts.fragment:
            raise BadInput(f"{url[:128]!r} is no address like http://name:8080")
        return cls(host=host, port=port or _HTTP, path=parts.path.rstrip("/"), gateway=_gateway(gateway))

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def authority(self) -> str:
        """As browsers and curl write it: a gateway need not know its hosts with a port."""
        return self.host if self.port == _HTTP else str(self)

    def connect(self) -> socket.socket:
        """OSError."""
        connection = socket.create_connection(self.gateway or (self.host, self.port), timeout=_CONNECTS_WITHIN_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


def _gateway(text: str) -> tuple[str, int] | None:
    if not text:
        return None
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise BadInput(f"{text[:128]!r} is no gateway like 127.0.0.1:8080")
    return host, int(port)


def request_bytes(
    method: str, address: Address, path: str, headers: Iterable[tuple[str, str]], body: bytes, *, sent_on: bool = False
) -> bytes:
    """Of one request on a connection of its own."""
    passed = [(name, value) for name, value in headers if name.lower() not in _NOT_PASSED]
    lines = [f"{method} {address.path}{path} HTTP/1.1", f"Host: {address.authority}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in passed]
    if body or method not in {"GET", "HEAD"}:
        lines.append(f"Content-Length: {len(body)}")
    if sent_on:
        lines.append(f"{SENT_ON}: 1")
    return "\r\n".join((*lines, "", "")).encode("latin-1") + body


class EngineCall:
    awaits = select.POLLIN

    def __init__(self, address: Address, request: bytes, reading: Reading | None = None) -> None:
        """OSError: nobody takes it."""
        self.answer = HttpAnswer()
        self.stream = EngineStream(reading)
        self.body = b""  # of what is no stream
        self._is_stream = False
        self.socket = address.connect()
        try:
            self.socket.sendall(request)
        except ConnectionError:
            return  # it has hung up on the request, and may have said why
        except OSError:
            self.socket.close()
            raise

    def fileno(self) -> int:
        return self.socket.fileno()

    def read(self) -> list[Piece]:
        """To be called when something has come. CallFailed; NotAStream: the answer is in `answer` and `body`."""
        try:
            data = self.socket.recv(_PIECE)
            body = self.answer.feed(data)
            if not data:
                self.answer.end()
        except (OSError, AnswerBroken) as error:
            raise CallFailed(str(error) or type(error).__name__) from error
        head = self.answer.head
        if head is None:
            return []
        if not (self._is_stream or _begins_stream(head)):
            self.body = body
            raise NotAStream(f"it answered {head.status}")
        self._is_stream = True
        pieces = self.stream.feed(body)
        if self.answer.is_over and not self.stream.is_done:
            raise CallFailed("its stream ended without [DONE]")
        return pieces

    def close(self) -> None:
        self.socket.close()


def _begins_stream(head: Head) -> bool:
    return head.status == 200 and head.get("content-type").startswith("text/event-stream")
