"""Posts AdmissionReviews to a webhook as a Kubernetes API server does: over TLS, in its Service's name, believing the
authorities of its configuration and no others.

Called by the API server of `dev`, on the threads that answer its writes. The subtle thing is a webhook that was started
anew: a connection that is kept is tried once, and then a new one is made.
"""

import contextlib
import http.client
import socket
import ssl
import threading
from http import HTTPStatus
from math import ceil
from typing import Final

# What a connection says that was kept, and whose other side was started anew; of its end TLS tells by an alert, or not.
_ENDED: Final = (ConnectionError, ssl.SSLError, http.client.BadStatusLine)
_JSON: Final = {"Content-Type": "application/json", "Accept": "application/json"}


class WebhookFailed(Exception):
    """It did not answer, or with something else than a review."""


class WebhookCaller:
    """One address. Any thread may call; a connection is one call's at a time."""

    def __init__(self, address: tuple[str, int], name: str) -> None:
        """`name`: of its Service, which its certificate is to have."""
        self._address, self._name = address, name
        self._lock = threading.Lock()
        self._idle: list[_Connection] = []
        self._trusted: tuple[str, ssl.SSLContext] | None = None

    def ask(self, path: str, review: bytes, *, authorities: str, within_s: float) -> bytes:
        """`authorities`: in PEM. WebhookFailed."""
        if not authorities:
            raise WebhookFailed(f"nothing says yet whom to believe that is {self._name}")
        try:
            context = self._context(authorities)
            connection = self._taken(context)
            if connection is not None:
                with contextlib.suppress(*_ENDED):
                    return self._answered(connection, path, review, within_s)
            return self._answered(_Connection(self._address, self._name, context, within_s), path, review, within_s)
        except (OSError, http.client.HTTPException, ValueError) as error:
            asked = f'Post "https://{self._name}:443{_asked(path, within_s)}"'
            raise WebhookFailed(f"failed to call webhook: {asked}: {self._told(error)}") from error

    def close(self) -> None:
        """When nobody calls any more."""
        while self._idle:
            self._idle.pop().close()

    def _answered(self, connection: "_Connection", path: str, review: bytes, within_s: float) -> bytes:
        try:
            status, body = _posted(connection, path, review, within_s)
        except BaseException:
            connection.close()
            raise
        with self._lock:
            self._idle.append(connection)
        if status != HTTPStatus.OK:
            said = body[:200].decode(errors="replace").strip()
            raise WebhookFailed(f"failed to call webhook: the server answered {status}: {said}")
        return body

    def _told(self, error: Exception) -> str:
        """In an API server's words, where it is what an API server meets too."""
        match error:
            case TimeoutError():
                return "context deadline exceeded"
            case ConnectionRefusedError():
                host, port = self._address
                return f"dial tcp {host}:{port}: connect: connection refused"
            case _:
                return str(error) or type(error).__name__

    def _taken(self, context: ssl.SSLContext) -> "_Connection | None":
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is not None and connection.tls is not context:
            connection.close()
            return None
        return connection

    def _context(self, authorities: str) -> ssl.SSLContext:
        with self._lock:
            if self._trusted is None or self._trusted[0] != authorities:
                self._trusted = authorities, ssl.create_default_context(cadata=authorities)
            return self._trusted[1]


class _Connection(http.client.HTTPSConnection):
    """A subclass, for that is how http.client is told to connect elsewhere than to the name."""

    def __init__(self, address: tuple[str, int], name: str, context: ssl.SSLContext, within_s: float) -> None:
        super().__init__(name, 443, timeout=within_s, context=context)
        self._address, self.tls = address, context

    def connect(self) -> None:
        raw = socket.create_connection(self._address, self.timeout)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self.tls.wrap_socket(raw, server_hostname=self.host)


def _posted(connection: _Connection, path: str, review: bytes, within_s: float) -> tuple[int, bytes]:
    if connection.sock is not None:
        connection.sock.settimeout(within_s)
    connection.request("POST", _asked(path, within_s), review, _JSON)
    answer = connection.getresponse()
    return answer.status, answer.read()


def _asked(path: str, within_s: float) -> str:
    return f"{path}?timeout={ceil(within_s)}s"
