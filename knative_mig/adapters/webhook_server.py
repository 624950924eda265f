"""The HTTPS side of the admission webhooks: takes AdmissionReviews from API servers, and is given its certificate anew
while it serves.

Composed in the webhook's process, which makes the thread that runs `serve`. A certificate is good for the connections
that begin after it came; those that are open go on. It is never written to a disk: OpenSSL reads it from memory that
has a file's name.

The subtle thing is memory. Anybody in the cluster may send a body as large as the largest review, and many at once; so
only a few large ones are read at a time, and who has to wait for that longer than an API server would is turned away.
"""

import logging
import os
import socket
import ssl
import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from knative_mig.adapters.admission import Webhook
from knative_mig.adapters.bounded_http import BoundedHandler, BoundedServer, NotRead
from knative_mig.core.errors import BadInput

_log = logging.getLogger(__name__)
Answer = Callable[[Webhook, bytes], bytes]  # BadInput: a 400

# Two objects of the 1.5 MiB that etcd takes, which are longer as JSON than as they are stored.
LARGEST: Final = 6 * 1024 * 1024
ORDINARY: Final = 256 * 1024
MOST_CONNECTIONS: Final = 64  # an API server opens one for each review that is under way
HANDSHAKE_WITHIN_S: Final = 3.0
LARGE_AT_ONCE: Final = 4
LARGE_WAITS_S: Final = 2.0
KEPT_IDLE_S: Final = 120.0  # longer than an API server keeps one (90 s), so that none is closed under a review


class WebhookServer(BoundedServer):
    """Until `identify` was called each connection is closed at once."""

    def __init__(self, host: str, port: int, answer: Answer, *, at_most: int = MOST_CONNECTIONS) -> None:
        super().__init__(host, port, _Handler, at_most=at_most)
        self.answer_to = answer
        self.large = threading.BoundedSemaphore(LARGE_AT_ONCE)
        self._context: ssl.SSLContext | None = None

    def identify(self, certificate: bytes, key: bytes) -> None:
        """In PEM, as whom we answer from now on. BadInput: OpenSSL does not take them."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        memory = os.memfd_create("certificate", os.MFD_CLOEXEC)
        try:
            with os.fdopen(os.dup(memory), "wb") as file:
                file.write(certificate.rstrip() + b"\n" + key)
            context.load_cert_chain(f"/proc/self/fd/{memory}")
        except (ssl.SSLError, ValueError) as error:
            raise BadInput(f"the certificate cannot be used: {error}") from error
        finally:
            os.close(memory)
        self._context = context

    def finish_request(self, request: Any, client_address: Any) -> None:
        """On the connection's own thread: a client that is slow to shake hands holds up nobody else."""
        context = self._context
        if context is None:
            return
        try:
            connection = context.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
        except OSError as error:  # it left as soon as it had come
            _log.debug("%s: %s", client_address, error)
            return
        self.spoken_with(request, connection)
        try:
            connection.settimeout(HANDSHAKE_WITHIN_S)
            connection.do_handshake()
            super().finish_request(connection, client_address)
        except OSError as error:
            _log.debug("%s: %s", client_address, error)
        finally:
            connection.close()

    def no_room(self, request: socket.socket) -> None:
        """Plain text would be no answer to one that begins a handshake: it sees the connection closed."""


class _Handler(BoundedHandler):
    server: WebhookServer
    only_allowed = "reviews are sent by POST"
    keeps_idle_s = KEPT_IDLE_S

    def do_POST(self) -> None:  # noqa: N802  http.server looks for this name
        path = self.path.partition("?")[0]  # an API server adds its timeout
        webhook = next((each for each in Webhook if each == path), None)
        content_type = self.headers.get_content_type()
        length = self.headers.get("Content-Length", "")
        ordinary = length.isascii() and length.isdecimal() and len(length) < 9 and int(length) <= ORDINARY
        if not ordinary and not self.server.large.acquire(timeout=LARGE_WAITS_S):
            self.close_connection = True
            self.refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many large reviews at once: try again")
            return
        try:
            read = self.read_body(LARGEST)
            if isinstance(read, NotRead):
                self.refuse(read.status, read.reason)
            elif webhook is None:
                self.refuse(HTTPStatus.NOT_FOUND, f"reviews are taken at {' and '.join(Webhook)}")
            elif "Content-Type" not in self.headers or content_type != "application/json":
                self.refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a review is application/json")
            else:
                self._review(webhook, read)
        finally:
            if not ordinary:
                self.server.large.release()

    def _review(self, webhook: Webhook, body: bytes) -> None:
        try:
            answer = self.server.answer_to(webhook, body)
        except BadInput as bad:
            _log.info("A review from %s is refused: %s", self.client_address[0], bad)
            self.refuse(HTTPStatus.BAD_REQUEST, str(bad))
        except Exception:  # noqa: BLE001  whatever it is, it is answered
            # Without an answer the API server would wait for its whole timeout, and not know that it is our fault.
            _log.exception("A review from %s could not be answered", self.client_address[0])
            self.refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "the webhook failed: its log says why")
        else:
            self.answer(HTTPStatus.OK, answer, "application/json")
