"""Reads and writes CloudEvents over HTTP, strictly: the one file that knows the cloudevents library.

Called by `adapters.event_server` for what comes in, and by whoever sends events. Read as the library reads, an event
without an id gets a fresh one, any content type is JSON, a broken body becomes text and a batch an AttributeError; so
the message is taken apart here, and the library is given attributes and data that have passed. The subtle thing is
deduplication: it rests on (source, id), so an id that nobody sent would make every repetition a new event.
"""

import json
import math
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from cloudevents.core.bindings import http
from cloudevents.core.exceptions import CloudEventValidationError
from cloudevents.core.v1.event import CloudEvent

from knative_mig.core.errors import BadInput
from knative_mig.core.events import Event, Rejected, Why, shown

LARGEST: Final = 64 * 1024  # bytes of a body; what the specification asks every intermediary to carry
LONGEST: Final = 2048  # characters of an attribute
DEEPEST: Final = 64  # levels of the data
JSON: Final = "application/json"
STRUCTURED: Final = "application/cloudevents+json"
_BATCH: Final = "application/cloudevents-batch"
_REQUIRED: Final = ("specversion", "id", "source", "type")
_OPTIONAL: Final = ("subject", "time", "dataschema")
_OF_THE_SPECIFICATION: Final = frozenset({*_REQUIRED, *_OPTIONAL, "datacontenttype"})
_NAME: Final = re.compile(r"[a-z0-9]{1,64}", re.ASCII)
_NO_TEXT: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPED: Final = re.compile(r"\\(.)")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_INTEGERS: Final = range(-(2**31), 2**31)


class _Refusal(BadInput):
    """Carries a reason out of the checks."""

    def __init__(self, reason: str, status: Why = Why.MALFORMED) -> None:
        super().__init__(reason)
        self.status = status


def decode(headers: Iterable[tuple[str, str]], body: bytes, *, versions: str = "is 1.0") -> Event | Rejected:
    """Headers are pairs, so that one which came twice is seen. `versions`: which are legal, as whoever sends another is
    told. Never raises.
    """
    try:
        return _event(*_taken_apart(headers, body), versions)
    except _Refusal as refusal:
        return Rejected(status=refusal.status, reason=str(refusal))


def encode(event: Event) -> tuple[dict[str, str], bytes]:
    """In binary mode, which a Broker filters without opening the body. BadInput: nobody would take it."""
    attributes = {
        **event.extensions,
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "datacontenttype": JSON,
        **{name: text for name in ("subject", "dataschema") if (text := getattr(event, name))},
    }
    time = _one_spelling(event.time) if event.time else ""
    _hold_to_the_rules(attributes)
    message = http.to_binary_event(_checked_by_the_library(attributes, dict(event.data), time))
    return {name: text for name, text in message.headers.items() if name != "ce-time" or time}, message.body


# -- the two modes -----------------------------------------------------------------------------------------------------


def _taken_apart(headers: Iterable[tuple[str, str]], body: bytes) -> tuple[dict[str, str], dict[str, Any]]:
    if len(body) > LARGEST:
        raise _Refusal(f"the body has {len(body)} bytes: legal are {LARGEST}", Why.TOO_LARGE)
    by_name = _by_name(headers)
    return _structured(body) if _content_type(by_name) == STRUCTURED else _binary(by_name, body)


def _by_name(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Those that an event is made of."""
    found: dict[str, str] = {}
    for any_case, value in headers:
        name = any_case.lower()
        if name != "content-type" and not name.startswith("ce-"):
            continue
        if name in found:
            raise _Refusal(f"the header {shown(name)} came twice")
        found[name] = value.strip(" \t")
    return found


def _content_type(by_name: dict[str, str]) -> str:
    """Empty where none is given."""
    whole = by_name.get("content-type", "")
    media, *parameters = (part.strip(" \t").lower() for part in whole.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "charset" and value.strip('"') not in {"utf-8", "utf8", "us-ascii"}:
            raise _Refusal(f"the charset is {shown(value)}: legal is utf-8", Why.UNSUPPORTED)
    if media.startswith(_BATCH):
        raise _Refusal("this is a batch: events are taken one by one", Why.UNSUPPORTED)
    if media not in {"", JSON, STRUCTURED}:
        raise _Refusal(f"the content type is {shown(media)}: legal are {JSON} and {STRUCTURED}", Why.UNSUPPORTED)
    return media


def _binary(by_name: dict[str, str], body: bytes) -> tuple[dict[str, str], dict[str, Any]]:
    attributes = {
        name.removeprefix("ce-"): _unquoted(name, value) for name, value in by_name.items() if name.startswith("ce-")
    }
    if "datacontenttype" in attributes:
        raise _Refusal("the header ce-datacontenttype is not legal: it is Content-Type that says it")
    _require(attributes, "header ce-")
    if not body:
        return attributes, {}
    if not _content_type(by_name):
        raise _Refusal(f"there are data, and no Content-Type: legal is {JSON}", Why.UNSUPPORTED)
    return attributes, _object(body, "the data")


def _unquoted(name: str, value: str) -> str:
    """First the quotes of HTTP, then the percent signs of CloudEvents: `"a"` and `a` are one id."""
    if not value.isascii():
        raise _Refusal(f"the header {shown(name)} is not ASCII: other characters are percent-encoded UTF-8")
    if quoted := _QUOTED.fullmatch(value):
        value = _ESCAPED.sub(r"\1", quoted[1])
    try:
        return unquote_to_bytes(value).decode()
    except UnicodeDecodeError:
        raise _Refusal(f"the header {shown(name)} is not UTF-8 once its percent signs are decoded") from None


def _structured(body: bytes) -> tuple[dict[str, str], dict[str, Any]]:
    whole = _object(body, "the event")
    if "data_base64" in whole:
        raise _Refusal("there is data_base64: legal is data, a JSON object", Why.UNSUPPORTED)
    data = whole.pop("data", None)
    if data is not None and not isinstance(data, dict):
        raise _Refusal(f"data is {_kind(data)}: legal is a JSON object")
    attributes = {name: _text(name, value) for name, value in whole.items() if value is not None}
    content_type = attributes.pop("datacontenttype", JSON)
    if _content_type({"content-type": content_type}) != JSON:
        raise _Refusal(f"datacontenttype is {shown(content_type)}: legal is {JSON}", Why.UNSUPPORTED)
    return attributes, data or {}


def _text(name: str, value: object) -> str:
    """As a header would say it, so that an event is the same in both modes."""
    if isinstance(value, str):
        return value
    if name in _OF_THE_SPECIFICATION:
        raise _Refusal(f"{name} is {_kind(value)}: legal is a string")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value in _INTEGERS:
        return str(value)
    raise _Refusal(f"{shown(name)} is {_kind(value)}: legal is a string, a boolean or an integer of 32 bits")


# -- JSON --------------------------------------------------------------------------------------------------------------


def _object(body: bytes, what: str) -> dict[str, Any]:
    try:
        read = json.loads(body.decode(), object_pairs_hook=_once, parse_constant=_no_number, parse_float=_finite)
    except UnicodeDecodeError:
        raise _Refusal(f"{what}: not UTF-8") from None
    except ValueError as error:
        raise _Refusal(f"{what}: not JSON: {error}") from None
    except RecursionError:
        raise _Refusal(f"{what}: nested deeper than {DEEPEST} levels") from None
    if not isinstance(read, dict):
        raise _Refusal(f"{what}: {_kind(read)}, and legal is a JSON object")
    level: list[Any] = [read]
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return read
    raise _Refusal(f"{what}: nested deeper than {DEEPEST} levels")


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) < len(pairs):
        raise ValueError("a name comes twice in one object")
    return read


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too big")
    return number


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


# -- attributes --------------------------------------------------------------------------------------------------------


def _require(attributes: dict[str, str], what: str = "attribute ") -> None:
    for name in _REQUIRED:
        if name not in attributes:
            raise _Refusal(f"the {what}{name} is missing")


def _hold_to_the_rules(attributes: dict[str, str], versions: str = "is 1.0") -> None:
    _require(attributes)
    for name, text in attributes.items():
        if not _NAME.fullmatch(name) or name == "data":
            raise _Refusal(f"{shown(name)} is no name of an attribute: legal are lower-case letters and digits")
        if len(text) > LONGEST:
            raise _Refusal(f"{name} has {len(text)} characters: legal are {LONGEST}")
        if _NO_TEXT.search(text):
            raise _Refusal(f"{name} is {shown(text)}: control characters are not legal")
        if not text and name in _OF_THE_SPECIFICATION:
            raise _Refusal(f"{name} is empty")
    if attributes["specversion"] != "1.0":
        raise _Refusal(f"specversion is {shown(attributes['specversion'])}: legal {versions}")


def _event(attributes: dict[str, str], data: dict[str, Any], versions: str) -> Event:
    _hold_to_the_rules(attributes, versions)
    time = _one_spelling(attributes.pop("time")) if "time" in attributes else ""
    made = _checked_by_the_library(attributes, data, time)
    return Event(
        source=made.get_source(),
        id=made.get_id(),
        type=made.get_type(),
        subject=made.get_subject() or "",
        time=time,
        dataschema=made.get_dataschema() or "",
        extensions={name: text for name, text in attributes.items() if name not in _OF_THE_SPECIFICATION},
        data=data,
    )


def _one_spelling(text: str) -> str:
    try:
        if _TIME.fullmatch(text):
            return datetime.fromisoformat(text.upper()).isoformat()
    except ValueError:
        pass
    raise _Refusal(f"time is {shown(text)}: it is written like 2026-01-31T12:00:00Z")


def _checked_by_the_library(attributes: dict[str, str], data: dict[str, Any], time: str) -> CloudEvent:
    """It keeps the dict, and adds the time of day to it where there is none: that never comes further than here."""
    given: dict[str, Any] = dict(attributes)
    if time:
        given["time"] = datetime.fromisoformat(time)
    try:
        return CloudEvent(given, data)
    except CloudEventValidationError as error:
        raise _Refusal(f"not an event: {', '.join(error.errors)}") from None
