"""A sink for CloudEvents as a test wants it: over real sockets, with or without TLS, and with any answer."""

import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from knative_mig.adapters.cloud_events import decode
from knative_mig.core.events import Event
from tests.cluster.tls import Certificate, listen

PATIENCE_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int = 202
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: bool = False  # no answer: the connection is closed
    hang: bool = False  # no answer, as long as the sink is there


@dataclass
class Sink:
    """What came, and what is answered: the planned answers first, each once, then `answer`."""

    url: str = ""
    answer: Answer = field(default_factory=Answer)
    planned: deque[Answer] = field(default_factory=deque)
    events: list[Event] = field(default_factory=list)  # each time that one came
    taken: list[Event] = field(default_factory=list)  # those that were answered with 2xx
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)  # path and headers
    at: list[float] = field(default_factory=list)
    connections: list[socket.socket] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.changed = threading.Condition()
        self.closing = threading.Event()

    def until(self, true: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
        with self.changed:
            assert self.changed.wait_for(true, seconds), [(each.id, each.data) for each in self.events]

    def heard(self, path: str, headers: dict[str, str], pairs: list[tuple[str, str]], body: bytes) -> Answer:
        event = decode(pairs, body)
        assert isinstance(event, Event), event
        with self.changed:
            answer = self.planned.popleft() if self.planned else self.answer
            self.events.append(event)
            self.requests.append((path, headers))
            self.at.append(time.monotonic())
            if 200 <= answer.status < 300 and not (answer.cut or answer.hang):
                self.taken.append(event)
            self.changed.notify_all()
        return answer


@contextmanager
def sink(certificate: Certificate | None = None, port: int = 0) -> Iterator[Sink]:
    made = Sink()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            made.connections.append(self.connection)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = made.heard(self.path, dict(self.headers.items()), self.headers.items(), body)
            if answer.hang:
                made.closing.wait(PATIENCE_S)
            if answer.hang or answer.cut:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is http.server's
            """Nothing: pytest's output is for the tests."""

    address = ("127.0.0.1", port)
    server = listen(address, Handler, certificate.server()) if certificate else ThreadingHTTPServer(address, Handler)
    server.daemon_threads = True
    server.block_on_close = False
    made.url = f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        made.closing.set()
        server.shutdown()
        server.server_close()
        for each in made.connections:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        thread.join(60)
        assert not thread.is_alive()
