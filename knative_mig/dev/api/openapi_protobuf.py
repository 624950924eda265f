"""An OpenAPI v2 document in its protobuf form, the only one that kubectl asks for: what of the document it reads.

Called by `openapi`. kubectl comes here for a kind that no document of version 3 knows, so as to say that there is none
such, and for `explain --output plaintext-openapiv2`. A message is its fields' numbers, and what is written under them.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

Json = dict[str, Any]
MEDIA_TYPE: Final = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
# As it is asked for: an at sign and a point were taken for each other once, and both are sent.
ASKED_FOR: Final = (MEDIA_TYPE, "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")
_METHODS: Final = {"get": 2, "put": 3, "post": 4, "delete": 5, "patch": 8}


def written(document: Json) -> bytes:
    info = _message({1: document["info"]["title"], 2: document["info"]["version"]})
    paths = _message({2: [_named(path, _path(item)) for path, item in document["paths"].items()]})
    definitions = _message({1: [_named(name, _schema(each)) for name, each in document["definitions"].items()]})
    return _message({1: document["swagger"], 2: info, 8: paths, 9: definitions})


def _path(item: Json) -> bytes:
    return _message({_METHODS[method]: _operation(each) for method, each in item.items() if method in _METHODS})


def _operation(operation: Json) -> bytes:
    parameters = []
    for each in operation["parameters"]:
        plain = _message({2: "query", 4: each["name"], 6: "string"})
        parameters.append(_message({1: _message({2: _message({3: plain})})}))
    return _message({5: operation["operationId"], 8: parameters, 13: _extensions(operation)})


def _schema(schema: Json) -> bytes:
    properties = [_named(name, _schema(each)) for name, each in schema.get("properties", {}).items()]
    values = schema.get("additionalProperties")
    return _message(
        {
            1: schema.get("$ref", ""),
            2: schema.get("format", ""),
            4: schema.get("description", ""),
            19: list(schema.get("required", ())),
            21: _message({1: _schema(values)}) if values else b"",
            22: _message({1: [schema["type"]]}) if "type" in schema else b"",
            23: _message({1: [_schema(schema["items"])]}) if "items" in schema else b"",
            25: _message({1: properties}) if properties else b"",
            31: _extensions(schema),
        }
    )


def _extensions(of: Json) -> list[bytes]:
    """JSON is YAML, as which they are told."""
    return [_named(key, _message({2: json.dumps(value)})) for key, value in of.items() if key.startswith("x-")]


def _named(name: str, value: bytes) -> bytes:
    # A value that is empty is there all the same, so it is not left to the rule that nothing is not written.
    return _message({1: name}) + _field(2, value)


def _message(fields: Mapping[int, str | bytes | Iterable[str | bytes]]) -> bytes:
    out = bytearray()
    for number, value in fields.items():
        for each in (value,) if isinstance(value, str | bytes) else value:
            if each:
                out += _field(number, each.encode() if isinstance(each, str) else each)
    return bytes(out)


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
