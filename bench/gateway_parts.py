"""The two processes that `bench.gateway` measures between: a pod that costs nothing, and a gateway before it.

python -m bench.gateway_parts pod                  says its port; answers at once, or streams stamps of the time
python -m bench.gateway_parts gateway HOST PORT    says its port; then each line that it reads is a question of
                                                   the bench's, or the word that the pod is ready
"""

import json
import select
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from knative_mig.dev.gateway.facts import Pod, PodFacts, RevisionFacts, RouteFacts, Traffic
from knative_mig.dev.gateway.gateway import Gateway
from knative_mig.dev.gateway.load import Told
from knative_mig.dev.gateway.server import GatewayServer
from knative_mig.dev.gateway.timeouts import Limits
from knative_mig.ports.kube import Key

HOST: Final = "fn.bench.localhost"
REVISION: Final = Key("bench", "fn-00001")
ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n"
TOKEN_S: Final = 0.005
_STREAM: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def pod() -> None:
    """On one thread: a thousand connections shall not slow it."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    _say({"port": listener.getsockname()[1]})
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    lines: dict[int, socket.socket] = {}
    while True:
        for number, _ in poll.poll():
            if number == listener.fileno():
                line, _ = listener.accept()
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                lines[line.fileno()] = line
                poll.register(line, select.POLLIN)
            elif asked := lines[number].recv(65536):
                _answer(lines[number], asked)
            else:
                poll.unregister(number)
                lines.pop(number).close()


def _answer(line: socket.socket, asked: bytes) -> None:
    path = asked.split(b" ", 2)[1]
    if not path.startswith(b"/stream/"):
        line.sendall(ANSWER)
        return
    line.sendall(_STREAM)
    due = time.monotonic()
    for _ in range(int(path.removeprefix(b"/stream/"))):
        due += TOKEN_S
        time.sleep(max(0.0, due - time.monotonic()))
        event = b"data: %d\n\n" % time.monotonic_ns()
        line.sendall(b"%x\r\n%b\r\n" % (len(event), event))
    line.sendall(b"0\r\n\r\n")


class _Nobody:
    def told(self, messages: Sequence[Told]) -> None:
        """There is no autoscaler to be measured."""


def gateway(host: str, port: int) -> None:
    at = Pod(host, port, Key("bench", "pod"))
    serving = Gateway(_Nobody())
    serving.revision_changed(REVISION, RevisionFacts(uid="u", concurrency=0, limits=Limits()))
    serving.route_changed(Key("bench", "fn"), RouteFacts(traffic=(Traffic(revision=REVISION.name, percent=100),)))
    server = GatewayServer(socket.create_server(("127.0.0.1", 0), backlog=4096), serving)
    threading.Thread(target=server.serve, daemon=True).start()
    threading.Thread(target=serving.tell, args=(threading.Event(),), daemon=True).start()
    _say({"port": server.port})
    for line in sys.stdin:
        if line.strip() in {"ready", "gone"}:
            is_ready = line.strip() == "ready"
            serving.pod_changed(at.key, PodFacts(revision=REVISION, at=at if is_ready else None))
        load = serving.loads()[REVISION]
        _say({"held": load.held, "running": load.running, "resident_kib": _resident_kib()})


def _resident_kib() -> int:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


def _say(said: dict[str, int]) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["pod"]:
            pod()
        case ["gateway", where, at]:
            gateway(where, int(at))
