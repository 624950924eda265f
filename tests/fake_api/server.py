"""The HTTP side: paths, verbs, patches, lists in pages, watches.

Made by `api.FakeApi`. One thread a connection, as the standard library does it; a watch keeps its own until it ends.
"""

import json
import time
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from tests.fake_api.binding import bound
from tests.fake_api.faults import Faults
from tests.fake_api.patches import merged, patched, strategically_merged
from tests.fake_api.refusals import Refusal, expired
from tests.fake_api.store import Body, Change, Id, Store

_CUSTOM: Final = frozenset(  # whose merge keys nobody knows
    {"gpunodes", "services", "configurations", "routes", "revisions", "podautoscalers", "serverlessservices"}
    | {"brokers", "triggers"}
)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, store: Store, faults: Faults) -> None:
        self.store = store
        self.faults = faults
        self.token = ""  # empty: everybody is let in
        self.held_up: set[tuple[str, str]] = set()  # pods whose eviction a disruption budget refuses
        self.requests: list[tuple[str, str]] = []  # method and path with its query, in their order
        self.agents: set[str] = set()
        self.ended_watches = 0  # watches begun before it was raised end
        self.bookmarks = 0
        self.bookmarks_sent = 0
        self.watches = 0
        self.stopping = False
        super().__init__(("127.0.0.1", 0), Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are what the tests do."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else an answer in two writes waits 40 ms for the client's acknowledgement
    server: Server

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_GET  # noqa: N815  (the base class looks for these names)
    do_PUT = do_GET  # noqa: N815
    do_PATCH = do_GET  # noqa: N815
    do_DELETE = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's name)
        """Nothing: pytest's output is for the tests."""

    def _serve(self) -> None:
        server = self.server
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        server.requests.append((self.command, self.path))
        server.agents.add(self.headers.get("User-Agent", ""))
        time.sleep(server.faults.delay_s)
        code = server.faults.next(self.command, self.path)
        if code == 0:
            self.close_connection = True
            return
        try:
            self._admit(code)
            self._route(body)
        except Refusal as refusal:
            self._answer(refusal.code, refusal.body, refusal.retry_after_s)

    def _admit(self, code: int | None) -> None:
        if code is not None:
            raise Refusal(code, "OnDemand", "a test wants it so", 1 if code == 429 else None)
        if self.server.token and self.headers.get("Authorization") != f"Bearer {self.server.token}":
            raise Refusal(401, "Unauthorized", "Unauthorized")

    def _route(self, body: Any) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        parts = [unquote(each) for each in url.path.strip("/").split("/")]
        rest = parts[2:] if parts[0] == "api" else parts[3:]
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        at = Id(rest[0], namespace, rest[1] if len(rest) > 1 else "")
        below = rest[2] if len(rest) > 2 else ""
        store = self.server.store
        manager = query.get("fieldManager") or self.headers.get("User-Agent", "").partition("/")[0]
        match self.command:
            case "GET" if at.name:
                self._answer(200, store.read(at))
            case "GET" if query.get("watch"):
                self._watch(at, query)
            case "GET":
                self._answer(200, self._list(at, query))
            case "POST" if below == "eviction":
                self._evict(at, body)
            case "POST" if below == "binding":
                self._answer(201, store.update(at, lambda pod: bound(pod, body), trusted=True))
            case "POST":
                name = body["metadata"].get("name") or _generated(body["metadata"].get("generateName", ""))
                self._answer(201, store.create(Id(at.plural, namespace, name), body, manager=manager))
            case "PUT":
                self._answer(200, store.update(at, lambda _: body, status=below == "status", manager=manager))
            case "PATCH":
                change = _change_of(self.headers["Content-Type"], at.plural)
                status = below == "status"
                self._answer(200, store.update(at, lambda old: change(old, body), status=status, manager=manager))
            case "DELETE":
                store.delete(at, body)
                self._answer(200, {"kind": "Status", "status": "Success"})
            case _:
                raise Refusal(405, "MethodNotAllowed", self.command)

    def _evict(self, at: Id, body: Any) -> None:
        if (at.namespace, at.name) in self.server.held_up:
            raise Refusal(429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.")
        self.server.store.delete(at, body.get("deleteOptions"))
        self._answer(201, {"kind": "Status", "status": "Success"})

    def _list(self, at: Id, query: dict[str, str]) -> Body:
        found, version = self.server.store.all(at.plural, at.namespace)
        found = [each for each in found if _selected(each, query)]
        # A page's token names the moment and the place, so that later pages show what the first one saw the end of.
        moment, begin = version, 0
        if token := query.get("continue"):
            moment, begin = (int(each) for each in token.split(":"))
            if moment < self.server.store.oldest:
                raise expired()
        end = begin + int(query.get("limit", len(found) or 1))
        about = {"resourceVersion": str(moment)}
        if end < len(found):
            about["continue"] = f"{moment}:{end}"
        return {"kind": "List", "metadata": about, "items": found[begin:end]}

    def _watch(self, at: Id, query: dict[str, str]) -> None:
        server, seen = self.server, int(query.get("resourceVersion") or 0)
        ends = time.monotonic() + float(query.get("timeoutSeconds", 300))
        with server.store.changed:
            changes = server.store.since(seen)
            begun, marked = server.ended_watches, server.bookmarks
            server.watches += 1
            server.store.changed.notify_all()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            for each in changes:
                seen = each.version
                self._event(_seen_by(each, at, query))
            with server.store.changed:
                while not (
                    server.stopping
                    or server.ended_watches != begun
                    or server.bookmarks != marked
                    or (server.store.version != seen and not server.faults.silent_watches)
                    or time.monotonic() >= ends
                ):
                    server.store.changed.wait(max(0.0, ends - time.monotonic()))
                done = server.stopping or time.monotonic() >= ends
                broken = server.ended_watches != begun
            if broken:
                self.close_connection = True
                return
            if done:
                self.wfile.write(b"0\r\n\r\n")
                return
            try:
                changes = server.store.since(seen)
            except Refusal as refusal:
                self._event({"type": "ERROR", "object": refusal.body})
                self.wfile.write(b"0\r\n\r\n")
                return
            if server.bookmarks != marked:
                marked = server.bookmarks
                at_version = {"metadata": {"resourceVersion": str(server.store.version)}}
                self._event({"type": "BOOKMARK", "object": at_version})
                with server.store.changed:
                    server.bookmarks_sent += 1
                    server.store.changed.notify_all()
            elif not changes:
                seen = server.store.version

    def _event(self, event: Body | None) -> None:
        if event is not None:
            line = json.dumps(event).encode() + b"\n"
            self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
            self.wfile.flush()

    def _answer(self, code: int, body: Body, retry_after_s: int | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if retry_after_s is not None:
            self.send_header("Retry-After", str(retry_after_s))
        self.end_headers()
        self.wfile.write(data)


def _generated(beginning: str) -> str:
    """For an object that is to have a name which nobody has; empty: it is to have none."""
    return f"{beginning}{uuid.uuid4().hex[:5]}" if beginning else ""


def _change_of(content_type: str, plural: str) -> Callable[[Body, Any], Body]:
    match content_type.removeprefix("application/").removesuffix("+json"):
        case "json-patch":
            return patched
        case "merge-patch":
            return merged
        case "strategic-merge-patch" if plural not in _CUSTOM:
            return strategically_merged
        case _:
            message = f"the body of the request was in an unknown format: {content_type}"
            raise Refusal(415, "UnsupportedMediaType", message)


def _seen_by(change: Change, at: Id, query: dict[str, str]) -> Body | None:
    """An object that a selector begins or ceases to take appears and disappears."""
    if change.id.plural != at.plural or at.namespace not in ("", change.id.namespace):
        return None
    before = change.before is not None and _selected(change.before, query)
    after = change.after is not None and _selected(change.after, query)
    if after:
        return {"type": "MODIFIED" if before else "ADDED", "object": change.after}
    return {"type": "DELETED", "object": change.after or change.before} if before else None


def _selected(body: Body, query: dict[str, str]) -> bool:
    labels = body["metadata"].get("labels", {})
    for term in filter(None, query.get("labelSelector", "").split(",")):
        key, equals, value = term.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    for term in filter(None, query.get("fieldSelector", "").split(",")):
        path, _, value = term.partition("=")
        found: Any = body
        for step in path.split("."):
            found = found.get(step, {}) if isinstance(found, dict) else {}
        if (found or "") != value:
            return False
    return True
