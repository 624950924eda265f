"""Reads an object that came as protobuf, which Go's own clients send for the kinds that are built in, whatever they
were told: `kubectl create configmap` does, `kubectl apply` does not.

Called by `steps`. The numbers of the fields stand in the tables of types; answers are always JSON, which the same
clients take. The subtle thing is how nothing is told: Go writes a field's zero where JSON leaves the field out, so a
zero is dropped unless the table says that the field's type tells the two apart.
"""

import base64
import json
import struct
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from knative_mig.dev.api.refusals import bad_request
from knative_mig.dev.api.schema import Schema, Types

MEDIA_TYPE: Final = "application/vnd.kubernetes.protobuf"
_MAGIC: Final = b"k8s\x00"
_DEEPEST: Final = 64
Values = dict[int, list[Any]]


def parsed(body: bytes, types: Types, named: Callable[[str, str], str]) -> dict[str, Any]:
    """`named`: the type of an API version and a kind."""
    if not body.startswith(_MAGIC):
        raise bad_request(
            f"the body of the request is no {MEDIA_TYPE}: provided data does not appear to be a protobuf message"
        )
    try:
        envelope = _values(body[len(_MAGIC) :])
        about = _values(envelope.get(1, [b""])[0])
        api_version, kind = (about.get(n, [b""])[0].decode() for n in (1, 2))
        raw = envelope.get(2, [b""])[0]
        name = named(api_version, kind)
        found = _object(_values(raw), types.named(name), types, ()) if name else {}
    except (ValueError, IndexError, TypeError, AttributeError, struct.error) as error:
        raise bad_request(f"the body of the request is no {MEDIA_TYPE}: {error}") from None
    return {"kind": kind, "apiVersion": api_version, **found}


def _values(data: bytes) -> Values:
    """Number to what came under it, in its order: integers, and bytes of strings and messages."""
    found: Values = {}
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, form = key >> 3, key & 7
        value: Any
        match form:
            case 0:
                value, at = _varint(data, at)
            case 1:
                value, at = struct.unpack_from("<d", data, at)[0], at + 8
            case 2:
                length, at = _varint(data, at)
                if at + length > len(data):
                    raise ValueError("unexpected EOF")
                value, at = data[at : at + length], at + length
            case 5:
                value, at = struct.unpack_from("<f", data, at)[0], at + 4
            case _:
                raise ValueError(f"illegal wireType {form}")
        found.setdefault(number, []).append(value)
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("integer overflow")


def _object(values: Values, schema: Schema, types: Types, above: tuple[int, ...]) -> dict[str, Any]:
    if len(above) > _DEEPEST:
        raise ValueError("it is too deep")
    below: dict[int, Values] = {}
    found: dict[str, Any] = {}
    for name, wire in schema.wires.items():
        at = values
        for number in wire.numbers[:-1]:
            at = below.setdefault(number, _values(values[number][-1]) if number in values else {})
        came = at.get(wire.numbers[-1])
        if came is None:
            continue
        value = _field(came, schema.properties[name], types, (*above, wire.numbers[-1]))
        if value is not None and (wire.tells_zero or not _is_nothing(value)):
            found[name] = value
    return found


def _is_nothing(value: Any) -> bool:
    return value in ("", 0, False, None) or value in ({}, [])


def _field(came: list[Any], schema: Schema, types: Types, above: tuple[int, ...]) -> Any:
    if schema.type == "array" and schema.items is not None:
        items = [_field([each], schema.items, types, above) for each in came]
        return ["" if each is None else each for each in items]
    if schema.type == "object" and schema.values is not None:
        return dict(_entries(came, schema.values, types, above))
    value = came[-1]
    if schema.ref in _SPECIAL:
        return _SPECIAL[schema.ref](value)
    named = types.of(schema)
    if schema.ref and named.wires:
        return _object(_values(value), named, types, above)
    if named.is_free:
        return json.loads(_values(value).get(1, [b"null"])[0]) if isinstance(value, bytes) and value else None
    match named.type:
        case "string" if named.format == "byte":
            return base64.b64encode(value).decode()
        case "string":
            return value.decode()
        case "boolean":
            return bool(value)
        case "integer":
            return value - (1 << 64) if value >= 1 << 63 else value
        case "number":
            return value
    raise ValueError(f"{schema.ref or schema.type} is not read from protobuf here: send it as JSON")


def _entries(came: list[Any], schema: Schema, types: Types, above: tuple[int, ...]) -> Iterator[tuple[str, Any]]:
    for each in came:
        entry = _values(each)
        value = _field(entry[2], schema, types, above) if 2 in entry else ""
        yield entry.get(1, [b""])[0].decode(), value


def _time(value: bytes) -> str | None:
    found = _values(value)
    if not found:
        return None
    seconds = found.get(1, [0])[0]
    return datetime.fromtimestamp(seconds - (1 << 64) if seconds >= 1 << 63 else seconds, UTC).strftime(
        "%Y-%m-%dT%H:%M:%SZ"
    )


def _micro_time(value: bytes) -> str | None:
    whole, nanos = _time(value), _values(value).get(2, [0])[0]
    return f"{whole[:-1]}.{nanos // 1000:06d}Z" if whole else None


def _quantity(value: bytes) -> str:
    return str(_values(value).get(1, [b"0"])[0].decode())


def _int_or_string(value: bytes) -> Any:
    found = _values(value)
    if found.get(1, [0])[0] == 1:
        return found.get(3, [b""])[0].decode()
    number = found.get(2, [0])[0]
    return number - (1 << 64) if number >= 1 << 63 else number


def _raw_json(value: bytes) -> Any:
    raw = _values(value).get(1, [b""])[0]
    return json.loads(raw) if raw else None


_SPECIAL: Final[Mapping[str, Callable[[bytes], Any]]] = {
    "meta.v1.Time": _time,
    "meta.v1.MicroTime": _micro_time,
    "meta.v1.FieldsV1": _raw_json,
    "api.resource.Quantity": _quantity,
    "util.intstr.IntOrString": _int_or_string,
    "apiextensions.v1.JSON": _raw_json,
}
