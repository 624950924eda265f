"""Heads of HTTP/1.1 requests and answers, from their bytes: what is not one is refused, or ends the connection.

Called by `connection` and `pump`. Strict, since two readers that understand a head differently are how one request
is smuggled in another; pure, and by hand, since http.server takes ten times as long for a head as this gateway may.
What is refused is what Knative's ingress refuses; it says nothing of why, and this does.
"""

import json
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from knative_mig.core.errors import KnativeMigError
from knative_mig.core.events import shown
from knative_mig.dev.gateway import replies
from knative_mig.dev.gateway.replies import Reply

LARGEST_HEAD: Final = 60 * 1024  # bytes, as Envoy has it
MOST_FIELDS: Final = 100

_NAME: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST: Final = re.compile(rf"({_NAME}) ([!-\xff]+) HTTP/([0-9])\.([0-9])")
_ANSWER: Final = re.compile(r"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([^\x00-\x08\x0a-\x1f\x7f]*))?")
_FIELDS: Final = re.compile(rf"(?:{_NAME}:[^\x00-\x08\x0a-\x1f\x7f]*\r\n)*")
_LENGTH: Final = re.compile(r"[0-9]{1,15}")
_TLS_HELLO: Final = b"\x16\x03"

Fields = tuple[tuple[str, str], ...]  # names as they came


@dataclass(frozen=True, slots=True)
class Plain:
    """A body of so many bytes."""

    length: int


@dataclass(frozen=True, slots=True)
class Chunked:
    pass


@dataclass(frozen=True, slots=True)
class ToTheEnd:
    """Of the connection."""


Body = Plain | Chunked | ToTheEnd


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHead:
    method: str
    target: str  # path and query
    host: str
    fields: Fields
    body: Body
    closes: bool = False
    awaits_continue: bool = False
    upgrade: str = ""

    def get(self, name: str) -> str:
        return get(self.fields, name)

    @property
    def has_body(self) -> bool:
        return self.body != Plain(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerHead:
    status: int
    reason: str
    fields: Fields
    body: Body
    closes: bool


class NoAnswer(KnativeMigError):
    """What came is no answer."""

    reason = "NoAnswer"


def get(fields: Fields, name: str) -> str:
    """Of the first that has this name, in small letters."""
    return next((value for each, value in fields if each.lower() == name), "")


def request_head(head: bytes) -> RequestHead | Reply:
    """Of all lines up to the empty one, which is not part of it."""
    if head.startswith(_TLS_HELLO):
        return replies.bad_request("this port speaks http, not https")
    first, _, rest = head.decode("latin-1").partition("\r\n")
    request = _REQUEST.fullmatch(first)
    if request is None:
        return replies.bad_request(f"{shown(first)} is no HTTP request")
    method, target, major, minor = request.groups()
    if (major, minor) == ("1", "0"):
        return replies.of_error(HTTPStatus.UPGRADE_REQUIRED, "HTTP/1.0 is not served: legal is HTTP/1.1")
    if major != "1":
        return replies.of_error(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, f"HTTP/{major} is not served: legal is HTTP/1.1")
    fields = _fields(f"{rest}\r\n" if rest else "")
    if fields is None:
        return replies.bad_request("a header is not one")
    if len(fields) > MOST_FIELDS:
        return too_large(f"{len(fields)} headers are too many: legal are {MOST_FIELDS}")
    return _request(method, target, fields)


def too_large(why: str) -> Reply:
    return replies.of_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, why)


def _request(method: str, target: str, fields: Fields) -> RequestHead | Reply:
    hosts, codings, lengths, connection, upgrade, expects = [], [], [], [], "", ""
    for name, value in fields:
        match name.lower():
            case "host":
                hosts.append(value)
            case "transfer-encoding":
                codings.append(value.lower())
            case "content-length":
                lengths.append(value)
            case "connection":
                connection += _tokens(value)
            case "upgrade":
                upgrade = value.lower()
            case "expect":
                expects = value.lower()
    if len(hosts) > 1:
        return replies.bad_request("there are several Host headers")
    host = hosts[0] if hosts else ""
    if not target.startswith("/") and (method, target) != ("OPTIONS", "*"):
        scheme, _, there = target.partition("://")
        if scheme.lower() != "http" or method == "CONNECT":
            return replies.bad_request(f"{method} of {shown(target)} is not served: legal is a path")
        host, slash, path = there.partition("/")
        target = f"/{path}" if slash else "/"
    body = _body(codings, lengths)
    if isinstance(body, str):
        return replies.bad_request(body)
    body = body or Plain(0)
    if expects and expects != "100-continue":
        return replies.of_error(HTTPStatus.EXPECTATION_FAILED, f"{shown(expects)} cannot be expected here")
    return RequestHead(
        method=method,
        target=target,
        host=host,
        fields=fields,
        body=body,
        closes="close" in connection,
        awaits_continue=bool(expects) and body != Plain(0),
        # A client that would rather speak HTTP/2 goes on as it began, as it does with Knative's ingress.
        upgrade=upgrade if "upgrade" in connection and upgrade != "h2c" else "",
    )


def _body(codings: list[str], lengths: list[str]) -> Body | str | None:
    """A text: why there is none."""
    if codings:
        if lengths or codings != ["chunked"]:
            return "the body's length is told in two ways, or in none that is known"
        return Chunked()
    if not lengths:
        return None
    if len(set(lengths)) > 1 or _LENGTH.fullmatch(lengths[0]) is None:
        return f"Content-Length is {shown(', '.join(lengths))}"
    return Plain(int(lengths[0]))


def answer_head(head: bytes, *, is_bare: bool) -> AnswerHead:
    """NoAnswer. `is_bare`: the request was one whose answer has no body."""
    first, _, rest = head.decode("latin-1").partition("\r\n")
    answer = _ANSWER.fullmatch(first)
    if answer is None:
        raise NoAnswer(f"malformed HTTP response {json.dumps(first[:60])}")
    fields = _fields(f"{rest}\r\n" if rest else "")
    if fields is None:
        raise NoAnswer("malformed HTTP response: a header is not one")
    status = int(answer[2])
    codings = [value.lower() for name, value in fields if name.lower() == "transfer-encoding"]
    lengths = [value for name, value in fields if name.lower() == "content-length"]
    connection = [token for name, value in fields if name.lower() == "connection" for token in _tokens(value)]
    body: Body | str | None = Plain(0) if is_bare or status < 200 or status in {204, 304} else _body(codings, lengths)
    if isinstance(body, str):
        raise NoAnswer(f"malformed HTTP response: {body}")
    body = ToTheEnd() if body is None else body
    keeps = "keep-alive" in connection if answer[1] == "0" else "close" not in connection
    return AnswerHead(
        status=status,
        reason=answer[3] or "",
        fields=fields,
        body=body,
        closes=not keeps or body == ToTheEnd(),
    )


def _fields(text: str) -> Fields | None:
    if _FIELDS.fullmatch(text) is None:
        return None
    return tuple(
        (name, value.strip(" \t")) for name, _, value in (line.partition(":") for line in text.split("\r\n")[:-1])
    )


def _tokens(value: str) -> list[str]:
    return [each.strip().lower() for each in value.split(",")]
