"""Reads and writes events over HTTP with their data as they are: of any type, as the bytes that came.

Called by `ingress` and `sending`. Attributes are read and checked by the project's one strict codec, which is given the
event without its data. The subtle thing is structured mode, where data are a part of a JSON text: what is sent on is in
binary mode, so they are taken out of it. An event of CloudEvents 0.3 is one of 1.0 but for two names: the codec is
given it as such, and it goes on as what it was.
"""

import base64
import binascii
import json
from collections.abc import Iterable
from typing import Any, Final

from knative_mig.adapters import cloud_events
from knative_mig.adapters.cloud_events import JSON, LARGEST, STRUCTURED
from knative_mig.core import events
from knative_mig.core.events import Rejected, Why
from knative_mig.dev.eventing.events import Event

_DATA: Final = ("data", "data_base64", "datacontenttype")
_BATCH: Final = "application/cloudevents-batch+json"
_BEFORE: Final = "0.3"
_VERSIONS: Final = f"are {_BEFORE} and 1.0"
_ENCODING: Final = "datacontentencoding"  # of 0.3 alone, and in its structured mode alone
_SCHEMA: Final = {"schemaurl": "dataschema"}  # of 0.3: what it is in 1.0


def read(headers: Iterable[tuple[str, str]], body: bytes) -> Event | Rejected:
    """Never raises."""
    if len(body) > LARGEST:
        return Rejected(status=Why.TOO_LARGE, reason=f"the body has {len(body)} bytes: legal are {LARGEST}")
    pairs = [(name.lower(), value.strip(" \t")) for name, value in headers]
    content_type = next((value for name, value in pairs if name == "content-type"), "")
    media = media_of(content_type)
    if media == STRUCTURED:
        return _structured(body)
    if media == _BATCH:
        # Its headers are not looked at: Knative's ingress goes by the content type, and reads no batch.
        return _malformed("this is a batch: events are taken one by one")
    about = [(name.removeprefix("ce-"), value) for name, value in pairs if name.startswith("ce-")]
    version = "1.0"
    if any(name == "specversion" and value.strip('"') == _BEFORE for name, value in about):
        if any(name == _ENCODING for name, _ in about):
            return _malformed(f"the header ce-{_ENCODING} is not legal: a body is sent as it is")
        version, about = _BEFORE, [_in_1_0(*pair) for pair in about]
    attributes = cloud_events.decode([(f"ce-{name}", value) for name, value in about], b"", versions=_VERSIONS)
    return attributes if isinstance(attributes, Rejected) else _with(attributes, version, content_type, body)


def written(event: Event) -> tuple[dict[str, str], bytes]:
    """In binary mode. BadInput: nobody would take it."""
    headers, _ = cloud_events.encode(
        events.Event(
            source=event.source,
            id=event.id,
            type=event.type,
            subject=event.subject,
            time=event.time,
            dataschema=event.dataschema,
            extensions=event.extensions,
        )
    )
    said = {name: value for name, value in headers.items() if name.lower() != "content-type"}
    if event.specversion == _BEFORE:
        said["ce-specversion"] = _BEFORE
        said.update({f"ce-{old}": said.pop(f"ce-{new}") for old, new in _SCHEMA.items() if f"ce-{new}" in said})
    return {**said, **({"content-type": event.content_type} if event.content_type else {})}, event.content


def media_of(content_type: str) -> str:
    return content_type.partition(";")[0].strip(" \t").lower()


def _structured(body: bytes) -> Event | Rejected:
    try:
        whole = json.loads(body)
    except (ValueError, RecursionError) as error:
        return _malformed(f"the event: not JSON: {error or type(error).__name__}")
    if not isinstance(whole, dict):
        return _malformed("the event: legal is a JSON object")
    version = "1.0"
    if whole.get("specversion") == _BEFORE:
        encoding = whole.pop(_ENCODING, None)
        if encoding not in (None, "base64"):
            return _malformed(f"{_ENCODING}: legal is base64")
        if "data_base64" in whole:
            return _malformed(f"data_base64 is not of CloudEvents {_BEFORE}: legal are data, and a {_ENCODING}")
        if encoding:
            whole["data_base64"] = whole.pop("data", None)
        version, whole = _BEFORE, dict(_in_1_0(*each) for each in whole.items())
    about = json.dumps({name: value for name, value in whole.items() if name not in _DATA}).encode()
    attributes = cloud_events.decode([("content-type", STRUCTURED)], about, versions=_VERSIONS)
    if isinstance(attributes, Rejected):
        return attributes
    content_type = whole.get("datacontenttype") or JSON
    if not isinstance(content_type, str) or not (content_type.isascii() and content_type.isprintable()):
        return _malformed("datacontenttype: legal is a media type")
    try:
        return _with(attributes, version, content_type, _content(whole, media_of(content_type)))
    except (ValueError, binascii.Error):
        return _malformed("data_base64: it is no base64")


def _in_1_0(name: str, value: Any) -> tuple[str, Any]:
    """An attribute of 0.3."""
    return _SCHEMA.get(name, name), "1.0" if name == "specversion" else value


def _content(whole: dict[str, Any], media: str) -> bytes:
    if (encoded := whole.get("data_base64")) is not None:
        return base64.b64decode(encoded if isinstance(encoded, str) else "?", validate=True)
    data = whole.get("data")
    if data is None:
        return b""
    if isinstance(data, str) and media != JSON and not media.endswith("+json"):
        return data.encode(errors="replace")
    return json.dumps(data, separators=(",", ":")).encode()


def _with(attributes: events.Event, version: str, content_type: str, content: bytes) -> Event:
    return Event(
        specversion=version,
        source=attributes.source,
        id=attributes.id,
        type=attributes.type,
        subject=attributes.subject,
        time=attributes.time,
        dataschema=attributes.dataschema,
        extensions=attributes.extensions,
        content_type=content_type,
        content=content,
    )


def _malformed(reason: str) -> Rejected:
    return Rejected(status=Why.MALFORMED, reason=reason)
