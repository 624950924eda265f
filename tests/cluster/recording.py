"""A recording that can be played: what clients sent to the API server, and the shape of what they got.

    with recorded(Upstream.of_kubeconfig(path)) as recording: …            # a proxy at recording.url, plain HTTP
    recording.exchanges                                                     # one a request, in their order

Used by `record_api`, whose recording is the specification of `dev`'s API server, and played by tests/dev/replay.py.
`recorder` keeps shapes alone, of any session. Here the client's side is kept whole, for it has to be sent again: so
only what the tour sends is recorded, and that holds no secret.

The subtle thing is what stands in answers and comes back in later requests: uids, versions and continue tokens. They
are kept as they are, so that a player can put its own server's in their place.
"""

import base64
import contextlib
import gzip
import http.client
import json
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from tests.cluster.api import Api
from tests.cluster.recorder import merged, shape

Json = dict[str, Any]
REFERRED_TO: Final = frozenset({"uid", "resourceVersion", "continue"})
# Documents that are compared name by name; of OpenAPI's megabytes the status and the type are enough.
_OPAQUE: Final = ("managedFields",)  # long, and its keys are other objects' paths
_WHOLE: Final = ("/api", "/apis")
_UNREAD: Final = "/openapi/"
_CONNECTION: Final = frozenset(
    {"connection", "transfer-encoding", "content-length", "host", "authorization", "accept-encoding"}
)
_LONGEST_WATCH_S: Final = 600.0


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One request and what came of it."""

    number: int
    client: str
    method: str
    path: str
    query: list[list[str]]
    accept: str
    content_type: str
    body: str  # as it was sent; base64 of what is no text
    is_text: bool
    body_shape: Any
    status: int = 0
    answer_type: str = ""
    answer: Any = None  # its shape; of a refusal the Status itself
    warnings: list[str] = field(default_factory=list)
    events: list[Json] = field(default_factory=list)  # of a watch: a shape for each type of event
    lasted_s: float = 0.0

    @property
    def watches(self) -> bool:
        return any(key == "watch" and value.lower() in ("1", "true") for key, value in self.query)

    def sent(self) -> bytes:
        return self.body.encode() if self.is_text else base64.b64decode(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    host: str
    port: int
    tls: ssl.SSLContext | None

    @classmethod
    def of_kubeconfig(cls, path: Path) -> "Upstream":
        """With the certificate of the administrator that it names."""
        api = Api.of_kubeconfig(path)
        return cls(host=api.host, port=api.port, tls=api.tls)

    @classmethod
    def of_url(cls, url: str) -> "Upstream":
        parts = urlsplit(url)
        return cls(host=parts.hostname or "", port=parts.port or 80, tls=None)

    def connect(self) -> http.client.HTTPConnection:
        if self.tls is None:
            return http.client.HTTPConnection(self.host, self.port, timeout=_LONGEST_WATCH_S)
        return http.client.HTTPSConnection(self.host, self.port, context=self.tls, timeout=_LONGEST_WATCH_S)


class Recording:
    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.url = ""
        self._lock = threading.Lock()

    def begin(self, make: Any) -> Exchange:
        with self._lock:
            exchange: Exchange = make(len(self.exchanges) + 1)
            self.exchanges.append(exchange)
            return exchange

    def write(self, path: Path) -> None:
        lines = "".join(json.dumps(asdict(each), sort_keys=True) + "\n" for each in self.exchanges)
        with path.open("wb") as file, gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
            packed.write(lines.encode())


def read(path: Path) -> list[Exchange]:
    with gzip.open(path, "rt") as file:
        return [Exchange(**json.loads(line)) for line in file]


@contextlib.contextmanager
def recorded(upstream: Upstream) -> Iterator[Recording]:
    recording = Recording()
    handler = type("Handler", (_Proxy,), {"upstream": upstream, "recording": recording})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    recording.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield recording
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    upstream: Upstream
    recording: Recording

    def _pass_on(self) -> None:
        body = self._body()
        exchange = self.recording.begin(lambda number: _exchange(number, self, body))
        headers = {key: value for key, value in self.headers.items() if key.lower() not in _CONNECTION}
        begun = time.monotonic()
        connection = self.upstream.connect()
        try:
            connection.request(self.command, self.path, body or None, headers)
            self._give(connection.getresponse(), exchange)
        except OSError:
            self.close_connection = True  # the client has gone, or the server: the record ends here
        finally:
            exchange.lasted_s = round(time.monotonic() - begun, 3)
            connection.close()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _pass_on  # noqa: N815  http.server's names

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _give(self, answer: http.client.HTTPResponse, exchange: Exchange) -> None:
        exchange.status, exchange.answer_type = answer.status, answer.getheader("Content-Type", "")
        exchange.warnings = [value for key, value in answer.getheaders() if key.lower() == "warning"]
        self.send_response_only(answer.status)
        for key, value in answer.getheaders():
            if key.lower() not in _CONNECTION:
                self.send_header(key, value)
        if exchange.watches or "follow=true" in self.path:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            while line := answer.readline():
                if exchange.watches:
                    add_event(exchange.events, line)
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.write(b"0\r\n\r\n")
            return
        body = answer.read()
        exchange.answer = answer_shape(urlsplit(self.path).path, body)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet: the recording is the log."""


def _exchange(number: int, request: BaseHTTPRequestHandler, body: bytes) -> Exchange:
    url = urlsplit(request.path)
    try:
        text, is_text = body.decode(), True
    except UnicodeDecodeError:
        text, is_text = base64.b64encode(body).decode(), False
    return Exchange(
        number=number,
        client=request.headers.get("User-Agent", "").partition(" ")[0],
        method=request.command,
        path=url.path,
        query=[list(pair) for pair in parse_qsl(url.query, keep_blank_values=True)],
        accept=request.headers.get("Accept", ""),
        content_type=request.headers.get("Content-Type", ""),
        body=text,
        is_text=is_text,
        body_shape=_shape_of(body),
    )


def answer_shape(path: str, body: bytes) -> Any:
    """What of an answer is compared."""
    if path.startswith(_UNREAD):
        return None
    try:
        found = json.loads(body)
    except ValueError:
        return "text" if body else None
    steps = path.strip("/").split("/")
    is_list = steps in (["api", *steps[1:2]], ["apis", *steps[1:3]])
    if path in _WHOLE or is_list or (isinstance(found, dict) and found.get("kind") == "Status"):
        return found
    return answered(found)


def answered(value: Any, key: str = "") -> Any:
    """Its shape, with the columns of a table and what later requests may refer to."""
    if isinstance(value, dict):
        return {name: "…" if name in _OPAQUE else answered(each, name) for name, each in value.items()}
    if key == "columnDefinitions":
        return [f"{each['name']}:{each['type']}" for each in value or ()]
    if isinstance(value, list):
        fits: Any = None
        for each in value:
            fits = merged(fits, answered(each))
        return [] if fits is None else [fits]
    if key in REFERRED_TO and isinstance(value, str) and value:
        return f"={value}"
    return shape(value, key)


def add_event(events: list[Json], line: bytes) -> None:
    try:
        event = json.loads(line)
    except ValueError:
        return
    found = {"type": event.get("type"), "object": answered(event.get("object"))}
    for each in events:
        if each["type"] == found["type"]:
            each["object"] = merged(each["object"], found["object"])
            return
    events.append(found)


def _shape_of(body: bytes) -> Any:
    try:
        return shape(json.loads(body)) if body else None
    except ValueError:
        return "not JSON"
