"""Posts AdmissionReviews to a webhook as a Kubernetes API server does: over TLS, in its Service's name, believing the
authorities of its configuration and no others.

Called by the API server of `dev`, on the threads that answer its writes. The subtle thing is a webhook that was started
anew: a connection that is kept is tried once, and then a new one is made.
"""

import http.client
import socket
import ssl
import threading
from typing import Final

_JSON: Final = {"Content-Type": "application/json", "Accept": "application/json"}


class WebhookFailed(Exception):
    """It did not answer, or with something else than a review."""


class WebhookCaller:
    """One address. Any thread may call: each has a connection of its own."""

    def __init__(self, address: tuple[str, int], name: str) -> None:
        """`name`: of its Service, which its certificate is to have."""
        self._address, self._name = address, name
        self._own = threading.local()
        self._lock = threading.Lock()
        self._trusted: tuple[str, ssl.SSLContext] | None = None

    def ask(self, path: str, review: bytes, *, authorities: str, within_s: float) -> bytes:
        """`authorities`: in PEM. WebhookFailed."""
        if not authorities:
            raise WebhookFailed(f"nothing says yet whom to believe that is {self._name}")
        try:
            return self._asked(path, review, self._context(authorities), within_s)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._forget()
            raise WebhookFailed(f"Post https://{self._name}:443{path}: {error or type(error).__name__}") from error

    def _asked(self, path: str, review: bytes, context: ssl.SSLContext, within_s: float) -> bytes:
        kept = getattr(self._own, "connection", None)
        if kept is not None and kept[0] is context:
            try:
                return _posted(kept[1], path, review, within_s)
            except (ConnectionError, http.client.BadStatusLine):
                self._forget()  # it was started anew
        connection = _Connection(self._address, self._name, context, within_s)
        self._own.connection = context, connection
        return _posted(connection, path, review, within_s)

    def _context(self, authorities: str) -> ssl.SSLContext:
        with self._lock:
            if self._trusted is None or self._trusted[0] != authorities:
                self._trusted = authorities, ssl.create_default_context(cadata=authorities)
            return self._trusted[1]

    def _forget(self) -> None:
        kept = getattr(self._own, "connection", None)
        self._own.connection = None
        if kept is not None:
            kept[1].close()


class _Connection(http.client.HTTPSConnection):
    """A subclass, for that is how http.client is told to connect elsewhere than to the name."""

    def __init__(self, address: tuple[str, int], name: str, context: ssl.SSLContext, within_s: float) -> None:
        super().__init__(name, 443, timeout=within_s, context=context)
        self._address, self._tls = address, context

    def connect(self) -> None:
        raw = socket.create_connection(self._address, self.timeout)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self._tls.wrap_socket(raw, server_hostname=self.host)


def _posted(connection: _Connection, path: str, review: bytes, within_s: float) -> bytes:
    if connection.sock is not None:
        connection.sock.settimeout(within_s)
    connection.request("POST", f"{path}?timeout={within_s:.0f}s", review, _JSON)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise WebhookFailed(f"the server answered {answer.status}: {body[:200].decode(errors='replace').strip()}")
    return body
