"""/healthz, /readyz and /metrics on a port of their own, which a busy or stuck data path cannot hold up.

Composed in each process of ours, which also makes the thread that runs `serve`. The answers come from two callables
that say why not, or nothing; a probe therefore says in its body what kubectl's events will quote. The subtle thing is
that readiness is about serving others: a node agent that waits for the API server is healthy, and not ready.
"""

import logging
import sys
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

_log = logging.getLogger(__name__)
WhyNot = Callable[[], str]  # empty: all is well
SLOW_CLIENT_S: Final = 5.0


class OpsServer:
    """Bound as soon as it is made, so that a port that is taken fails the start; port 0 takes any."""

    def __init__(
        self, host: str, port: int, registry: CollectorRegistry, *, unhealthy: WhyNot, unready: WhyNot
    ) -> None:
        self._server = _Server((host, port), _Handler)
        self._server.registry = registry
        self._server.probes = {"/healthz": unhealthy, "/readyz": unready}

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def serve(self) -> None:
        """Until `stop`."""
        self._server.serve_forever(poll_interval=0.2)

    def stop(self) -> None:
        """From another thread than `serve`'s, which must have begun."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    registry: CollectorRegistry
    probes: dict[str, WhyNot]

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002  as socketserver calls it
        """A probe whose patience is over hangs up, and that is nobody's error."""
        if isinstance(sys.exception(), ConnectionError):
            _log.debug("%s hung up", client_address)
        else:
            _log.exception("a request of %s failed", client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = SLOW_CLIENT_S
    disable_nagle_algorithm = True  # head and body are two writes, and the second would wait for the client
    server_version = "knative-mig"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            encode, content_type = choose_encoder(self.headers.get("Accept", ""))
            self._answer(HTTPStatus.OK, content_type, encode(self.server.registry))
        elif path in self.server.probes:
            why = self._ask(self.server.probes[path])
            status = HTTPStatus.SERVICE_UNAVAILABLE if why else HTTPStatus.OK
            self._answer(status, "text/plain; charset=utf-8", f"{why or 'ok'}\n".encode())
        else:
            self._answer(
                HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"/healthz, /readyz and /metrics are here\n"
            )

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is http.server's
        """A line for each probe would bury the rest."""
        _log.debug("%s: " + format, self.client_address[0], *args)

    def _ask(self, probe: WhyNot) -> str:
        try:
            return probe()
        except Exception as error:  # noqa: BLE001  a probe that fails is an answer, not a dropped connection
            _log.exception("a probe failed")
            return f"the probe failed: {error}"

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
