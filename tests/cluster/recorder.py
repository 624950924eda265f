"""Records what clients ask of the API server and the shape of what they get: `kn`, kubectl, the Python client.

    python -m tests.cluster.recorder FILE -- kn service list

runs a command against the cluster that is up, through a proxy, and writes one JSON line an exchange. The shape is all
that a stand-in of the API server must bring and all that may be committed: keys and types, not values. It reads what
passes, so upgraded connections (`kubectl exec`, `port-forward`) are not served.
"""

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Final

from tests.cluster.api import Api
from tests.cluster.driver import attach
from tests.cluster.testbed.errors import BadInputError, ClusterError
from tests.cluster.tls import listen, self_signed

_KEPT: Final = frozenset({"kind", "apiVersion"})  # their values say which of many shapes it is
_OPAQUE: Final = frozenset({"managedFields"})  # long, and its keys are other objects' paths
# Not passed on: what belongs to one connection, the token that clients are given so that they do not ask for one, and
# the wish for compression, which would have to be undone to be read.
_DROPPED: Final = frozenset(
    {"connection", "transfer-encoding", "content-length", "host", "authorization", "accept-encoding"}
)


def shape(value: Any, key: str = "") -> Any:
    """Keys and types of a JSON value; a list is the shape that all of its items fit in."""
    if isinstance(value, dict):
        return {name: "…" if name in _OPAQUE else shape(item, name) for name, item in value.items()}
    if isinstance(value, list):
        fits: Any = None
        for item in value:
            fits = merged(fits, shape(item))
        return [] if fits is None else [fits]
    if key in _KEPT and isinstance(value, str):
        return value
    names = {bool: "boolean", int: "number", float: "number", str: "string"}
    return names.get(type(value), "null")


def merged(one: Any, other: Any) -> Any:
    """The shape that both fit in."""
    if one is None or one == other:
        return other
    if isinstance(one, dict) and isinstance(other, dict):
        return {key: merged(one.get(key), other.get(key, one.get(key))) for key in {**one, **other}}
    if isinstance(one, list) and isinstance(other, list):
        return [merged(*pair) for pair in zip(one, other, strict=True)] if one and other else one or other
    if isinstance(one, str) and isinstance(other, str):
        return "|".join(sorted({*one.split("|"), *other.split("|")}))
    return one if isinstance(one, dict | list) else other  # null beside something


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One line of the record. Lines are written as exchanges end; `number` is the order in which they began."""

    client: str
    method: str
    path: str
    accept: str
    content_type: str
    asked: Any
    number: int = 0
    status: int = 0
    answer_type: str = ""
    answer: Any = None
    events: int = 0  # of a watch; its answer is the shape that all of them fit in


@dataclass(slots=True)
class Recording:
    """Written when an exchange ends; a watch that nobody ended is written with what came so far."""

    path: Path
    open: list[Exchange] = field(default_factory=list)
    begun: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, exchange: Exchange) -> None:
        with self._lock:
            self.begun += 1
            exchange.number = self.begun
            self.open.append(exchange)

    def end(self, exchange: Exchange) -> None:
        with self._lock, self.path.open("a") as file:
            if exchange in self.open:
                self.open.remove(exchange)
                file.write(json.dumps(asdict(exchange), ensure_ascii=False) + "\n")

    def lines(self) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.path.read_text().splitlines()]
        return sorted(found, key=lambda line: int(line["number"]))


@contextlib.contextmanager
def recording(upstream: Api, path: Path) -> Iterator[tuple[Recording, Path]]:
    """(the recording, a kubeconfig that leads through it), with the rights of `upstream`."""
    recorded = Recording(path)
    try:
        path.touch()
    except OSError as error:
        raise BadInputError(f"{path} cannot be written ({error.strerror}): name another file") from None
    with tempfile.TemporaryDirectory() as folder:
        certificate = self_signed(Path(folder), "recorder", "127.0.0.1")
        handler = type("Handler", (_Proxy,), {"upstream": upstream, "recorded": recorded})
        server = listen(("127.0.0.1", 0), handler, certificate.server())
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        kubeconfig = Path(folder, "kubeconfig")
        kubeconfig.write_text(_kubeconfig(f"https://127.0.0.1:{server.server_address[1]}", certificate.path))
        try:
            yield recorded, kubeconfig
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
            for unfinished in tuple(recorded.open):
                recorded.end(unfinished)


def _kubeconfig(server: str, authority: Path) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "recorded", "cluster": {"server": server, "certificate-authority": str(authority)}}],
            "users": [{"name": "recorded", "user": {"token": "unused"}}],
            "contexts": [{"name": "recorded", "context": {"cluster": "recorded", "user": "recorded"}}],
            "current-context": "recorded",
        }
    )


class _Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream: Api
    recorded: Recording

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        exchange = Exchange(
            client=self.headers.get("User-Agent", "").partition(" ")[0],
            method=self.command,
            path=self.path,
            accept=self.headers.get("Accept", ""),
            content_type=self.headers.get("Content-Type", ""),
            asked=_shape_of(body),
        )
        self.recorded.begin(exchange)
        api = self.upstream
        # Longer than any watch of a test; a client that leaves is noticed when the next event is written to it.
        server = http.client.HTTPSConnection(api.host, api.port, context=api.tls, timeout=600)
        try:
            headers = {key: value for key, value in self.headers.items() if key.lower() not in _DROPPED}
            server.request(self.command, self.path, body or None, headers)
            answer = server.getresponse()
            exchange.status, exchange.answer_type = answer.status, answer.getheader("Content-Type", "")
            self._give(answer, exchange)
        finally:
            server.close()
            self.recorded.end(exchange)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _pass_on  # noqa: N815  # the names are http.server's

    def _give(self, answer: http.client.HTTPResponse, exchange: Exchange) -> None:
        self.send_response_only(answer.status)
        for key, value in answer.getheaders():
            if key.lower() not in _DROPPED:
                self.send_header(key, value)
        if "watch=" in self.path or "follow=" in self.path:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            while line := answer.readline():
                exchange.events += 1
                exchange.answer = merged(exchange.answer, _shape_of(line))
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.write(b"0\r\n\r\n")
            return
        body = answer.read()
        exchange.answer = _shape_of(body)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet: the record is the log."""


def _shape_of(body: bytes) -> Any:
    if not body:
        return None
    try:
        return shape(json.loads(body))
    except ValueError:  # protobuf, logs, a version that is no JSON
        return "not JSON"


def main() -> int:
    match sys.argv[1:]:
        case [file, "--", *command] if command:
            pass
        case _:
            sys.stderr.write("usage: python -m tests.cluster.recorder FILE -- COMMAND …\n")
            return 2
    if shutil.which(command[0]) is None:
        sys.stderr.write(
            f"recorder: `{command[0]}` is not on PATH; cluster-up prints how to have kn and kubectl there\n"
        )
        return 2
    try:
        upstream = attach().connect()
    except (ClusterError, OSError) as error:
        sys.stderr.write(f"recorder: {error}\n")
        return 2
    with recording(upstream, Path(file)) as (_recorded, kubeconfig):
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
