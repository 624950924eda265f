"""The HTTP side of a sink for CloudEvents: reads them, answers at once, and sends one on to another sink.

Composed in the planner's process, which makes the thread that runs `serve`; what is read goes to one callable, which
must neither wait nor raise. The subtle thing is who may hold us up, which is `bounded_http`'s business; and that a
Broker repeats a 5xx ten times, so that nothing is answered with one but a connection that nobody has looked at.
"""

import http.client
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from knative_mig.adapters.bounded_http import MOST_CONNECTIONS, BoundedHandler, BoundedServer, NotRead
from knative_mig.adapters.cloud_events import LARGEST, decode
from knative_mig.core.events import Event, RawEvent, Rejected, Why

_log = logging.getLogger(__name__)
# The answer is an event's refusal, or None: it is accepted, whatever becomes of it.
Take = Callable[[Event | Rejected, RawEvent], Rejected | None]

FORWARDED: Final = "Knative-Mig-Forwarded"


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


class EventServer(BoundedServer):
    def __init__(self, host: str, port: int, take: Take, *, at_most: int = MOST_CONNECTIONS) -> None:
        super().__init__(host, port, _Handler, at_most=at_most)
        self.take = take


class _Handler(BoundedHandler):
    server: EventServer
    only_allowed = "events are sent by POST"

    def do_POST(self) -> None:  # noqa: N802  http.server looks for this name
        read = self.read_body(LARGEST)
        if isinstance(read, NotRead) and read.status is HTTPStatus.REQUEST_TIMEOUT:
            self.refuse(read.status, read.reason)  # no event yet: a Broker sends it again
            return
        if self.path.partition("?")[0] != "/":
            self.close_connection = True
            read = NotRead(status=HTTPStatus.BAD_REQUEST, reason="events are taken at /")
        if isinstance(read, NotRead):
            told: Event | Rejected = Rejected(status=Why(read.status), reason=read.reason)
            raw = RawEvent(headers=())
        else:
            headers = [(name, value) for name, value in self.headers.items() if _of_an_event(name)]
            raw = RawEvent(headers=tuple(headers), body=read, forwarded=FORWARDED in self.headers)
            told = decode(headers, read)
        refused = self.server.take(told, raw)
        if refused:
            _log.info("An event from %s is refused: %s", self.client_address[0], refused.reason)
            self.refuse(HTTPStatus(refused.status), refused.reason)
        else:
            # With an empty body: a Broker takes anything else for a reply, and a bad one.
            self.answer(HTTPStatus.ACCEPTED)


def _of_an_event(name: str) -> bool:
    return name.lower() == "content-type" or name.lower().startswith("ce-")
