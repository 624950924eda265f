"""A watch's answer, event by event, that another thread can cut short.

Made by `client.watch`, read by `reflector`. The subtle thing is the cutting: a thread that waits in a read is woken by
shutting down the socket below it, which is the one thing that is safe to do to a connection from outside.
"""

import contextlib
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import urllib3
from urllib3.exceptions import HTTPError

from knative_mig.ports.kube import ApiUnreachable

_MOST_BYTES: Final = 16 * 1024 * 1024  # of one event; etcd holds objects of 1.5 MB
_CHUNK: Final = 65536


@dataclass(frozen=True, slots=True)
class WatchEvent:
    type: str  # ADDED | MODIFIED | DELETED | BOOKMARK | ERROR
    object: dict[str, Any]


class Stream:
    """`quiet_s`: how long the server may say nothing."""

    def __init__(self, response: urllib3.BaseHTTPResponse, quiet_s: float) -> None:
        self._response = response
        # Kept here: urllib3 lets go of the connection when the answer ends, while `interrupt` may be on its way.
        self._socket: socket.socket | None = getattr(getattr(response, "connection", None), "sock", None)
        if self._socket is not None:
            self._socket.settimeout(quiet_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Iterator[WatchEvent]:
        """Ends when the server ends it or somebody interrupts; ApiUnreachable where it breaks off or goes silent."""
        rest = b""
        while True:
            try:
                chunk = self._response.read1(_CHUNK)
            except (HTTPError, OSError, ValueError, AttributeError) as error:
                raise ApiUnreachable(f"the watch broke off: {error}") from error
            if not chunk:
                if rest:
                    raise ApiUnreachable("the watch broke off in the middle of an event")
                return
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > _MOST_BYTES:
                raise ApiUnreachable(f"an event of the watch is larger than {_MOST_BYTES} bytes")
            yield from (_event(line) for line in lines if line.strip())

    def interrupt(self) -> None:
        """From any thread: whoever reads it is woken at once."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # Not SSLSocket's own shutdown, which takes the TLS state away under the reader.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """The connection is not used again: what is left of the answer is not known."""
        with contextlib.suppress(HTTPError, OSError):
            self._response.close()


def _event(line: bytes) -> WatchEvent:
    try:
        event = json.loads(line)
        return WatchEvent(str(event["type"]), event["object"])
    except (ValueError, KeyError, TypeError) as error:
        raise ApiUnreachable(f"the watch sent what is no event: {line[:100]!r}") from error
