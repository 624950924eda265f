"""Eventing's stand-in over a fake API server, with subscribers on loopback that answer as a test says."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any, Final
from urllib.parse import urlsplit

from knative_mig.adapters.kube.kinds import FUNCTION, Kind
from knative_mig.dev.eventing import __name__ as eventing_package
from knative_mig.dev.eventing.eventing import Eventing
from knative_mig.dev.eventing.objects import BROKER, TRIGGER
from knative_mig.dev.eventing.ports import Place
from knative_mig.dev.eventing.queues import Queues
from knative_mig.ports.kube import Key
from tests.fake_api import FakeApi
from tests.fake_api.store import Id

PATIENCE_S: Final = 30.0
BROKERS_NAME: Final = "default"
_NUMBERS = count(1)
Reply = tuple[int, dict[str, str], bytes]
TAKEN: Final[Reply] = (202, {}, b"")


@dataclass(frozen=True, slots=True)
class Heard:
    path: str
    headers: dict[str, str]  # lower-case names
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["ce-id"]


class Subscriber(ThreadingHTTPServer):
    """Hears events, and answers them in turn; the last answer again and again."""

    daemon_threads = True
    request_queue_size = 128  # all of a Trigger's events that are under way may come at once

    def __init__(self, *replies: Reply) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies = list(replies or (TAKEN,))
        self.heard: list[Heard] = []
        self.changed = threading.Condition()
        self.lets_go = threading.Event()
        self.lets_go.set()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def place(self) -> Place:
        return Place("127.0.0.1", int(self.server_address[1]))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.place.port}/"

    def hears(self, count: int) -> list[Heard]:
        """Waits for so many."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.heard) >= count, PATIENCE_S), self.heard
            return list(self.heard)


class _Handler(BaseHTTPRequestHandler):
    server: Subscriber

    def do_POST(self) -> None:
        server = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        with server.changed:
            server.heard.append(Heard(self.path, headers, body))
            status, said, text = server.replies.pop(0) if len(server.replies) > 1 else server.replies[0]
            server.changed.notify_all()
        server.lets_go.wait(PATIENCE_S)
        self.send_response(status)
        for name, value in said.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's name)
        """Nothing: pytest's output is for the tests."""


def replies_with(type_: str) -> Reply:
    headers = {"Ce-Specversion": "1.0", "Ce-Id": "r", "Ce-Source": "/fn", "Ce-Type": type_}
    return 200, {**headers, "Content-Type": "application/json"}, b'{"n": 2}'


@dataclass
class EventingRig:
    """A namespace of its own in it."""

    api: FakeApi
    eventing: Eventing
    hosts: dict[str, Place]
    namespace: str = "team"
    subscribers: list[Subscriber] = field(default_factory=list)

    def subscriber(self, *replies: Reply) -> Subscriber:
        self.subscribers.append(Subscriber(*replies))
        return self.subscribers[-1]

    def function(self, name: str, at: Place) -> dict[str, Any]:
        """A Knative Service that is served there; a reference to it."""
        host = f"{name}.{self.namespace}.svc.cluster.local"
        self.hosts[host] = at
        self.put(FUNCTION, name, {"status": {"address": {"url": f"http://{host}"}}})
        return {"ref": {"apiVersion": FUNCTION.group, "kind": FUNCTION.kind, "name": name}}

    def broker(self, **delivery: Any) -> None:
        self.put(BROKER, BROKERS_NAME, {"spec": {"delivery": delivery}})
        self.until_ready(BROKER, BROKERS_NAME)

    def trigger(self, name: str, subscriber: dict[str, Any], type_: str = "", **spec: Any) -> None:
        attributes = {"type": type_} if type_ else {}
        whole = {"broker": BROKERS_NAME, "subscriber": subscriber, "filter": {"attributes": attributes}, **spec}
        self.put(TRIGGER, name, {"spec": whole})
        self.until_ready(TRIGGER, name)

    def remove_trigger(self, name: str) -> None:
        """Back when the stand-in has seen it."""
        self.api.remove_object(TRIGGER, Key(self.namespace, name))
        # A Trigger that comes later is ready only after a look at which the other one was gone.
        self.trigger("later", {"uri": "http://127.0.0.1:9/"}, "never")

    def put(self, kind: Kind, name: str, body: dict[str, Any]) -> None:
        metadata = {"namespace": self.namespace, "name": name, "uid": f"{self.namespace}-{name}"}
        self.api.put_object({"apiVersion": kind.group, "kind": kind.kind, "metadata": metadata, **body})

    def status(self, kind: Kind, name: str) -> dict[str, Any]:
        return self.api.store.read(Id(kind.plural, self.namespace, name)).get("status") or {}

    def until_ready(self, kind: Kind, name: str, status: str = "True") -> None:
        store = self.api.store

        def is_ready() -> bool:
            conditions = self.status(kind, name).get("conditions") or ()
            return any(each["type"] == "Ready" and each["status"] == status for each in conditions)

        with store.changed:
            assert store.changed.wait_for(is_ready, PATIENCE_S), self.api.objects(kind)

    def send(self, type_: str = "asked", identity: str = "1", *, path: str = "", **attributes: str) -> int:
        """The status that it is answered with."""
        said = {"Ce-Id": identity, "Ce-Type": type_} | {f"Ce-{key}": value for key, value in attributes.items()}
        at = path or f"/{self.namespace}/{BROKERS_NAME}"
        return post_event(f"http://127.0.0.1:{self.eventing.port}{at}", said)

    def ask(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, str, str]:
        """Status, what is allowed, and what was said."""
        return _asked(f"127.0.0.1:{self.eventing.port}", method, path, headers, body)

    @contextmanager
    def another(self) -> "Iterator[EventingRig]":
        """Namespace; with a Broker."""
        rig = EventingRig(self.api, self.eventing, self.hosts, f"team-{next(_NUMBERS)}")
        rig.broker()
        try:
            yield rig
        finally:
            rig.close()

    def close(self) -> None:
        for each in self.subscribers:
            each.lets_go.set()
            each.shutdown()
            each.server_close()


def post_event(url: str, said: dict[str, str]) -> int:
    """The status that it is answered with."""
    headers = {"Ce-Specversion": "1.0", "Ce-Id": "1", "Ce-Source": "/tests", "Content-Type": "application/json", **said}
    parts = urlsplit(url)
    return _asked(parts.netloc, "POST", parts.path, headers, b'{"n": 1}')[0]


def _asked(at: str, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, str, str]:
    connection = HTTPConnection(at, timeout=PATIENCE_S)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.headers.get("Allow", ""), response.read().decode()
    finally:
        connection.close()


class _Hosts:
    def __init__(self, hosts: dict[str, Place]) -> None:
        self.of: Callable[[str], Place | None] = hosts.get


class _Faults(logging.Handler):
    """Of the stand-in itself: whatever comes, it has none."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(f"{record.getMessage()}: {record.exc_info}")


@contextmanager
def eventing_rig(queues: Queues | None = None) -> Iterator[EventingRig]:
    hosts: dict[str, Place] = {}
    with FakeApi() as api:
        eventing = Eventing(api.client(), _Hosts(hosts), queues=queues)
        rig = EventingRig(api, eventing, hosts)
        faults, log = _Faults(), logging.getLogger(eventing_package)
        log.addHandler(faults)
        eventing.start()
        try:
            assert eventing.wait_synced(PATIENCE_S)
            yield rig
        finally:
            rig.close()
            eventing.stop()
            log.removeHandler(faults)
    assert faults.told == []


def ids(heard: Sequence[Heard]) -> list[str]:
    return [each.id for each in heard]
