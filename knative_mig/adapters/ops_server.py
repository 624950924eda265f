"""/healthz, /readyz and /metrics on a port of their own, which a busy or stuck data path cannot hold up.

Composed in each process of ours, which also makes the thread that runs `serve`. The answers come from two callables
that say why not, or nothing; a probe therefore says in its body what kubectl's events will quote. The subtle thing is
that readiness is about serving others: a node agent that waits for the API server is healthy, and not ready.
"""

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from knative_mig.adapters.bounded_http import TEXT, BoundedHandler, BoundedServer

_log = logging.getLogger(__name__)
WhyNot = Callable[[], str]  # empty: all is well
MOST_CONNECTIONS: Final = 32


class OpsServer(BoundedServer):
    """Bound as soon as it is made, so that a port that is taken fails the start; port 0 takes any."""

    def __init__(
        self, host: str, port: int, registry: CollectorRegistry, *, unhealthy: WhyNot, unready: WhyNot
    ) -> None:
        self.registry = registry
        self.probes = {"/healthz": unhealthy, "/readyz": unready}
        super().__init__(host, port, _Handler, at_most=MOST_CONNECTIONS)


class _Handler(BoundedHandler):
    server: OpsServer
    allowed = "GET, HEAD"
    only_allowed = "this is asked for by GET"

    def do_GET(self) -> None:  # noqa: N802  http.server looks for this name
        self.server.has_come(self.connection)
        self.close_connection = True  # nobody asks often, and a body, which means nothing here, is not read
        path = self.path.partition("?")[0]
        if path == "/metrics":
            encode, content_type = choose_encoder(self.headers.get("Accept", ""))
            self.answer(HTTPStatus.OK, encode(self.server.registry), content_type)
        elif path in self.server.probes:
            why = self._ask(self.server.probes[path])
            status = HTTPStatus.SERVICE_UNAVAILABLE if why else HTTPStatus.OK
            self.answer(status, f"{why or 'ok'}\n".encode(), TEXT)
        else:
            self.answer(HTTPStatus.NOT_FOUND, b"/healthz, /readyz and /metrics are here\n", TEXT)

    def do_HEAD(self) -> None:  # noqa: N802
        self.do_GET()

    def _ask(self, probe: WhyNot) -> str:
        try:
            return probe()
        except Exception as error:  # noqa: BLE001  a probe that fails is an answer, not a dropped connection
            _log.exception("a probe failed")
            return f"the probe failed: {error}"
