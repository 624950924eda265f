"""A gateway on a port of its own, pods that do as a test says, and clients that speak for themselves."""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Final, Self

from knative_mig.dev.gateway import __name__ as gateway_package
from knative_mig.dev.gateway.facts import Pod, PodFacts, RevisionFacts, RouteFacts, Traffic
from knative_mig.dev.gateway.gateway import Gateway
from knative_mig.dev.gateway.hall import Hall
from knative_mig.dev.gateway.load import Told
from knative_mig.dev.gateway.server import GatewayServer
from knative_mig.dev.gateway.timeouts import Limits
from knative_mig.ports.kube import Key

PATIENCE_S: Final = 30.0
OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_ADDRESSES = count(1)


def until(is_so: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < ends, "it does not come"
        time.sleep(0.005)


class Line:
    """One side of a connection."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE_S)
        self.socket = connection
        self.unread = b""

    def say(self, data: bytes) -> Self:
        self.socket.sendall(data)
        return self

    def hear_to(self, end: bytes) -> bytes:
        """All up to there; EOFError: it ended before."""
        while end not in self.unread:
            self.unread += self._piece()
        text, _, self.unread = self.unread.partition(end)
        return text + end

    def hear(self, length: int) -> bytes:
        pieces, left = [self.unread], length - len(self.unread)
        while left > 0:
            pieces.append(self._piece())
            left -= len(pieces[-1])
        heard = b"".join(pieces)
        self.unread = heard[length:]
        return heard[:length]

    def _piece(self) -> bytes:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError(f"it ended, and the last was {self.unread[-100:]!r}")
        return data

    def hear_all(self) -> bytes:
        """To its end."""
        while data := self.socket.recv(65536):
            self.unread += data
        text, self.unread = self.unread, b""
        return text

    def head(self) -> bytes:
        return self.hear_to(b"\r\n\r\n")

    def answer(self) -> tuple[bytes, bytes]:
        """Head and body of an answer that says how long it is, or goes in chunks."""
        head = self.head()
        if b"transfer-encoding: chunked" in head.lower():
            return head, self.chunks()
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return head, self.hear(int(length.partition(b":")[2]))

    def chunks(self) -> bytes:
        body = b""
        while size := int(self.hear_to(b"\r\n"), 16):
            body += self.hear(size)
            assert self.hear(2) == b"\r\n"
        assert self.hear_to(b"\r\n") == b"\r\n"
        return body

    def has_ended(self) -> bool:
        """Waits for that."""
        try:
            return not self.socket.recv(1)
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.socket.close()


Behaviour = Callable[[Line], object]


def answers(answer: bytes = OK) -> Behaviour:
    """The same to each request without a body."""

    def behave(line: Line) -> None:
        while True:
            line.head()
            line.say(answer)

    return behave


class ScriptedPod:
    """Behaves so with whoever connects; `lines` are those who did."""

    def __init__(self, behaviour: Behaviour) -> None:
        number = next(_ADDRESSES)
        self.listener = socket.create_server((f"127.64.9.{number}", 0), backlog=1024)
        host, port = self.listener.getsockname()
        self.at = Pod(host, port, Key("team", f"pod-{number}"))
        self.lines: list[Line] = []
        self.failures: list[BaseException] = []
        self._behaviour = behaviour
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            line = Line(connection)
            self.lines.append(line)
            thread = threading.Thread(target=self._talk, args=(line,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _talk(self, line: Line) -> None:
        try:
            self._behaviour(line)
        except (OSError, EOFError):
            pass
        except AssertionError as failure:
            self.failures.append(failure)
        finally:
            line.close()

    def behave(self, behaviour: Behaviour) -> None:
        """From the next connection on; those that are there end."""
        self._behaviour = behaviour
        self._end_lines()

    def _end_lines(self) -> None:
        for line in self.lines:
            with suppress(OSError):
                line.socket.shutdown(socket.SHUT_RDWR)

    def deafen(self) -> None:
        """Nobody can connect any more."""
        if self.listener.fileno() >= 0:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()

    def close(self) -> None:
        self.deafen()
        self._end_lines()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        assert not self.failures


@dataclass
class GatewayRig:
    gateway: Gateway
    server: GatewayServer
    told: list[Told]
    pods: list[ScriptedPod] = field(default_factory=list)
    clients: list[Line] = field(default_factory=list)

    def function(self, name: str = "fn", *, concurrency: int = 0, limits: Limits | None = None) -> Key:
        """At zero; its one revision has all traffic."""
        revision = Key("team", f"{name}-00001")
        self.gateway.revision_changed(
            revision, RevisionFacts(uid=f"uid-{name}", concurrency=concurrency, limits=limits or Limits())
        )
        traffic = (Traffic(revision=revision.name, percent=100),)
        self.gateway.route_changed(Key("team", name), RouteFacts(traffic=traffic))
        return revision

    def pod(self, revision: Key, behaviour: Behaviour | None = None) -> ScriptedPod:
        """Ready from now on."""
        pod = ScriptedPod(behaviour or answers())
        self.pods.append(pod)
        self.ready(revision, pod.at)
        return pod

    def ready(self, revision: Key, pod: Pod, *, is_ready: bool = True) -> None:
        self.gateway.pod_changed(pod.key, PodFacts(revision=revision, at=pod if is_ready else None))

    def client(self) -> Line:
        line = Line(socket.create_connection(("127.0.0.1", self.server.port)))
        self.clients.append(line)
        return line

    def asks(self, *lines: str, name: str = "fn", method: str = "GET", path: str = "/", body: bytes = b"") -> Line:
        """One request on a connection of its own."""
        return self.client().say(request(*lines, name=name, method=method, path=path) + body)

    def held(self, revision: Key) -> int:
        return self.gateway.loads()[revision].held

    def running(self, revision: Key) -> int:
        return self.gateway.loads()[revision].running


def in_flight(hall: Hall, pod: Key) -> int:
    """What the pod's queue-proxy would count as there."""
    seen = hall._ledger._pods.get(pod)
    return seen.meter.requests if seen is not None else 0


def request(*lines: str, name: str = "fn", method: str = "GET", path: str = "/") -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", f"Host: {name}.team.localhost", *lines, "", "")).encode()


class _Told:
    def __init__(self, told: list[Told]) -> None:
        self._told = told

    def told(self, messages: Sequence[Told]) -> None:
        self._told.extend(messages)


class _Errors(logging.Handler):
    """Of the gateway itself: whatever comes, it has none."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(f"{record.getMessage()}: {record.exc_info}")


@contextmanager
def gateway_rig(*, at_most: int = 200, waits: bool = False, head_within_s: float = PATIENCE_S) -> Iterator[GatewayRig]:
    told: list[Told] = []
    gateway = Gateway(_Told(told))
    listening = socket.create_server(("127.0.0.1", 0), backlog=4096)
    server = GatewayServer(listening, gateway, at_most=at_most, waits=waits, head_within_s=head_within_s)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    rig = GatewayRig(gateway, server, told)
    errors = _Errors()
    logging.getLogger(gateway_package).addHandler(errors)
    try:
        yield rig
    finally:
        for line in rig.clients:
            line.close()
        for pod in rig.pods:
            pod.close()
        assert server.stop(PATIENCE_S)
        thread.join(PATIENCE_S)
        gateway.connections.close()
        logging.getLogger(gateway_package).removeHandler(errors)
    assert errors.records == []
