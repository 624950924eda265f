"""Plays a recording of the real API server against another one, and names each difference in what comes back.

Called by test_api_recording. A request is sent as it was, but for the uids, versions and continue tokens of the
recorded answers, in whose place this server's own are put. Compared are status, content type and shape; of a refusal
its words; of discovery each kind that both serve.

The subtle thing is time: what controllers do comes a moment after what they do it for, so a read that differs is sent
again for a while; and a watch is only as long as it takes to see how it begins.
"""

import http.client
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from tests.cluster.recording import Exchange, Upstream, add_event, answer_shape

Json = dict[str, Any]
_PATIENCE_S: Final = 30.0  # for what controllers write a moment later
_UID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_QUOTED: Final = re.compile(r'(\\*")([^"\\]{1,300})(\\*")')
_DISCOVERS: Final = ("APIGroupDiscoveryList", "APIResourceList", "APIGroupList", "APIVersions", "APIGroup")


@dataclass(slots=True)
class Answered:
    status: int
    type: str
    answer: Any
    events: list[Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Excepted:
    """A difference that is meant. `pattern` is a glob over its line."""

    pattern: str
    reason: str


def exceptions(file: Path) -> list[Excepted]:
    lines = (line.strip() for line in file.read_text().splitlines())
    pairs = (line.rpartition(" | ") for line in lines if line and not line.startswith("#"))
    return [Excepted(pattern=pattern.strip(), reason=reason.strip()) for pattern, _, reason in pairs]


def unexcepted(differences: Sequence[str], excepted: Sequence[Excepted]) -> list[str]:
    return [line for line in differences if not any(fnmatchcase(line, each.pattern) for each in excepted)]


def played(
    exchanges: Sequence[Exchange], url: str, excepted: Sequence[Excepted] = (), *, patience_s: float = _PATIENCE_S
) -> list[str]:
    """The differences that are not meant, each once, in the order in which they were met."""
    player = _Player(Upstream.of_url(url), excepted, patience_s)
    found: dict[str, None] = {}
    for exchange in sorted(exchanges, key=lambda each: each.number):
        for line in player.play(exchange):
            found.setdefault(line)
    return list(found)


class _Player:
    def __init__(self, server: Upstream, excepted: Sequence[Excepted], patience_s: float) -> None:
        self._server = server
        self._excepted = excepted
        self._patience_s = patience_s
        self._ours: dict[str, str] = {}  # of what the recorded answers referred to, this server's own

    def play(self, exchange: Exchange) -> list[str]:
        what = f"{exchange.client.partition('/')[0]} {exchange.method} {exchange.path}"
        ends = time.monotonic() + (self._patience_s if exchange.method == "GET" else 0)
        while True:
            came = self._send(exchange)
            found = unexcepted([f"{what}: {line}" for line in _differences(exchange, came)], self._excepted)
            if not found or time.monotonic() >= ends:
                break
            time.sleep(0.05)
        self._learn(exchange.answer, came.answer)
        return found

    def _send(self, exchange: Exchange) -> Answered:
        query = [(key, self._ours.get(value, value)) for key, value in exchange.query]
        if exchange.watches:
            query = [*((key, value) for key, value in query if key != "timeoutSeconds"), ("timeoutSeconds", "1")]
        headers = {"Accept": exchange.accept, "Content-Type": exchange.content_type, "User-Agent": exchange.client}
        connection = self._server.connect()
        try:
            target = f"{exchange.path}?{urlencode(query)}" if query else exchange.path
            headers = {key: value for key, value in headers.items() if value}
            connection.request(exchange.method, target, self._body(exchange), headers)
            return self._read(connection.getresponse(), exchange)
        finally:
            connection.close()

    def _read(self, response: http.client.HTTPResponse, exchange: Exchange) -> Answered:
        events: list[Json] = []
        body = response.read()
        if exchange.watches and response.status == http.HTTPStatus.OK:
            for line in body.splitlines():
                add_event(events, line)
            return Answered(response.status, response.getheader("Content-Type", ""), None, events)
        shape = answer_shape(exchange.path, body)
        return Answered(response.status, response.getheader("Content-Type", ""), shape, events)

    def _body(self, exchange: Exchange) -> bytes | None:
        body = exchange.sent()
        if not body or not exchange.is_text:
            return body or None
        return _QUOTED.sub(
            lambda match: match[1] + self._ours.get(match[2], match[2]) + match[3], body.decode()
        ).encode()

    def _learn(self, recorded: Any, ours: Any) -> None:
        if isinstance(recorded, dict) and isinstance(ours, dict):
            for key in recorded.keys() & ours.keys():
                self._learn(recorded[key], ours[key])
        elif isinstance(recorded, list) and isinstance(ours, list):
            for one, other in zip(recorded, ours, strict=False):
                self._learn(one, other)
        elif _refers(recorded) and _refers(ours):
            self._ours[recorded[1:]] = ours[1:]


def _refers(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("=") and "|" not in value


def _differences(exchange: Exchange, came: Answered) -> Iterator[str]:
    if came.status != exchange.status:
        yield f"is answered {came.status} instead of {exchange.status}{_why(came.answer)}"
        return
    if _media_type(came.type) != _media_type(exchange.answer_type):
        yield f"comes as {came.type!r} instead of {exchange.answer_type!r}"
        return
    if exchange.watches:
        for event in came.events:
            like = next((each for each in exchange.events if each["type"] == event["type"]), None)
            if like is not None:
                # What is recorded is what all of them had together, so a single one may lack some of it.
                found = _shapes(like["object"], event["object"], f"{event['type']}.")
                yield from (line for line in found if not line.startswith("lacks "))
        return
    answer = exchange.answer
    kind = answer.get("kind") if isinstance(answer, dict) else None
    if kind in _DISCOVERS:
        yield from _discovered(answer, came.answer)
    elif kind == "Status" and isinstance(came.answer, dict):
        for key in ("reason", "message", "details"):
            ours, theirs = (_plain(each.get(key)) for each in (came.answer, answer))
            if ours != theirs:
                yield f"{key} is {ours!r} instead of {theirs!r}"
    else:
        yield from _shapes(answer, came.answer, "")


def _why(answer: Any) -> str:
    return f" ({answer['message']})" if isinstance(answer, dict) and answer.get("kind") == "Status" else ""


def _media_type(text: str) -> tuple[str, ...]:
    return tuple(sorted(part.strip().lower() for part in text.split(";") if "charset" not in part))


def _plain(value: Any) -> Any:
    """Without what is another each time."""
    if isinstance(value, str):
        return _TIME.sub("<time>", _UID.sub("<uid>", value))
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _shapes(recorded: Any, ours: Any, at: str) -> Iterator[str]:
    if isinstance(recorded, dict) and isinstance(ours, dict):
        for key in recorded.keys() | ours.keys():
            if key not in ours:
                yield f"lacks {at}{key}"
            elif key not in recorded:
                yield f"has {at}{key} too"
            else:
                yield from _shapes(recorded[key], ours[key], f"{at}{key}.")
    elif isinstance(recorded, list) and isinstance(ours, list):
        if at.endswith("columnDefinitions.") and recorded != ours:
            yield f"has the columns {ours} instead of {recorded}"
        elif recorded and ours:
            yield from _shapes(recorded[0], ours[0], f"{at}*.")
    elif not _kinds(ours) <= _kinds(recorded):
        yield f"{at.rstrip('.') or 'it'} is {_short(ours)} instead of {_short(recorded)}"


def _kinds(shape: Any) -> set[str]:
    if isinstance(shape, str):
        return {"string" if each.startswith("=") else each for each in shape.split("|")}
    return {"object" if isinstance(shape, dict) else "list" if isinstance(shape, list) else "nothing"}


def _short(shape: Any) -> str:
    return str(shape) if isinstance(shape, str) else "|".join(_kinds(shape))


def _discovered(recorded: Json, ours: Json) -> Iterator[str]:
    theirs, mine = dict(_served(recorded)), dict(_served(ours))
    for name in sorted(theirs.keys() - mine.keys()):
        yield f"does not serve {name}"
    for name in sorted(mine.keys() - theirs.keys()):
        yield f"serves {name} too"
    for name in sorted(mine.keys() & theirs.keys()):
        if mine[name] != theirs[name]:
            yield f"serves {name} as {mine[name]} instead of {theirs[name]}"


def _served(document: Json) -> Iterator[tuple[str, Any]]:
    """Each thing that it names, and what it says of it."""
    for group in document.get("items") or ():
        for version in group.get("versions") or ():
            for each in version.get("resources") or ():
                name = f"{group['metadata'].get('name', '')}/{version['version']}/{each['resource']}"
                yield name, _about(each)
                for below in each.get("subresources") or ():
                    yield f"{name}/{below['subresource']}", _about(below)
    for each in document.get("resources") or ():
        yield f"{document.get('groupVersion')}/{each['name']}", _about(each)
    for each in document.get("groups") or ():
        yield each["name"], sorted(version["version"] for version in each["versions"])


def _about(entry: Json) -> Json:
    found = {
        key: entry[key] for key in ("scope", "namespaced", "singularResource", "singularName", "kind") if key in entry
    }
    found["kind"] = (entry.get("responseKind") or entry).get("kind")
    return found | {key: sorted(entry.get(key) or ()) for key in ("verbs", "shortNames", "categories")}
