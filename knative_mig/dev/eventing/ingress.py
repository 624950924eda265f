"""The port that takes events for all Brokers: POST at /NAMESPACE/NAME, as the multi-tenant Broker's ingress has it.

Made by `eventing`; the server itself is `bounded_http`'s. The subtle thing is the order of what is looked at, for it is
to be seen in the answer: the path, the event, and only then whether there is such a Broker. An answer is empty, but for
a line where it is a no.
"""

import logging
from http import HTTPStatus
from typing import Final

from knative_mig.adapters.bounded_http import MOST_CONNECTIONS, BoundedHandler, BoundedServer, NotRead
from knative_mig.adapters.cloud_events import LARGEST
from knative_mig.core.events import Rejected
from knative_mig.dev.eventing.post import Post
from knative_mig.dev.eventing.wire import read as read_event
from knative_mig.ports.kube import Key

_PASSED: Final = frozenset({"x-request-id", "retry-after"})
_PASSED_BEGINNINGS: Final = ("knative-", "x-b3-")
_ANYBODY: Final = {"WebHook-Allowed-Origin": "*", "WebHook-Allowed-Rate": "*"}

log = logging.getLogger(__name__)


class Ingress(BoundedServer):
    def __init__(self, host: str, port: int, post: Post, *, at_most: int = MOST_CONNECTIONS) -> None:
        super().__init__(host, port, _Handler, at_most=at_most)
        self.post = post


class _Handler(BoundedHandler):
    server: Ingress
    allowed = "POST, OPTIONS"
    only_allowed = "events are sent by POST"

    def do_OPTIONS(self) -> None:  # noqa: N802  http.server looks for this name
        if isinstance(read := self.read_body(LARGEST), NotRead):
            self.refuse(read.status, read.reason)
        else:
            self.answer(HTTPStatus.OK, headers={"Allow": self.allowed, **_ANYBODY})

    def do_POST(self) -> None:  # noqa: N802
        read = self.read_body(LARGEST)
        if isinstance(read, NotRead):
            self.refuse(read.status, read.reason)
            return
        broker = _broker_at(self.path)
        if isinstance(broker, HTTPStatus):
            self.refuse(broker, "a Broker takes events at /NAMESPACE/NAME")
            return
        event = read_event(self.headers.items(), read)
        if isinstance(event, Rejected):
            log.info("An event from %s is refused: %s", self.client_address[0], event.reason)
            self.refuse(HTTPStatus(event.status), event.reason)
            return
        passed = tuple((name, value) for name, value in self.headers.items() if _is_passed(name.lower()))
        refused = self.server.post.publish(broker, event, passed)
        if refused is None:
            self.answer(HTTPStatus.ACCEPTED)
        else:
            log.info("An event from %s is refused: %s", self.client_address[0], refused.why)
            self.refuse(HTTPStatus(refused.status), refused.why)


def _broker_at(path: str) -> Key | HTTPStatus:
    if path == "/":
        return HTTPStatus.NOT_FOUND
    parts = path.removesuffix("/").split("/")
    return Key(parts[1], parts[2]) if len(parts) == 3 else HTTPStatus.BAD_REQUEST


def _is_passed(name: str) -> bool:
    return name in _PASSED or name.startswith(_PASSED_BEGINNINGS)
