"""Reads the committed tables of types, schemas/*.types: a type a block, a field a line.

    core.v1.EndpointPort map=atomic        a type, and what holds of it as a whole
      port@3*! integer/int32               a field that must be there (!), with its format; its number in protobuf
                                           is 3, and there its zero differs from nothing (*)
      labels {string}                      a map of strings; [string] is a list, core.v1.X another type
    meta.v1.Time = string/date-time        a type that is no object

Called once at start by `server`. Only the lines are split then; a type is parsed when somebody asks for it, so that
starting does not pay for four hundred of them.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from typing import Any, Final

from knative_mig.dev.api.schema import Schema, Types, Wire

_FLAGS: Final[Mapping[str, tuple[str, Callable[[str], Any]]]] = {
    "key": ("merge_key", str),
    "patch": ("merge_strategy", str),
    "list": ("list_type", str),
    "pattern": ("pattern", str),
    "min": ("minimum", float),
    "max": ("maximum", float),
    "shortest": ("min_length", int),
    "longest": ("max_length", int),
    "least": ("min_items", int),
    "most": ("max_items", int),
    "keys": ("list_keys", lambda text: tuple(text.split(","))),
    "map": ("atomic", lambda text: text == "atomic"),
    "default": ("default", json.loads),
    "enum": ("enum", lambda text: tuple(json.loads(text))),
}
_ANY: Final = {
    "any": Schema(preserves=True),
    "free": Schema(type="object", preserves=True),
    "int-or-string": Schema(int_or_string=True),
}


def committed() -> Types:
    folder = files("knative_mig.dev.api") / "schemas"
    return Types(*(table((folder / name).read_text()) for name in ("kubernetes.types", "knative.types")))


def table(text: str) -> Callable[[str], Schema | None]:
    blocks: dict[str, list[str]] = {}
    block: list[str] = []
    for line in text.splitlines():
        if line.startswith("  "):
            block.append(line)
        elif not line.startswith("#"):
            block = blocks[line.partition(" ")[0]] = [line]
    return lambda name: _parsed(blocks[name]) if name in blocks else None


def _parsed(block: list[str]) -> Schema:
    head, *lines = block
    _, *rest = head.split()
    if rest[:1] == ["="]:
        return _field(rest[1], rest[2:])
    properties: dict[str, Schema] = {}
    required: list[str] = []
    wires: dict[str, Wire] = {}
    for line in lines:
        first, expression, *flags = line.split()
        field, at, wire = first.rstrip("!").partition("@")
        properties[field] = _field(expression, flags)
        if first.endswith("!"):
            required.append(field)
        if at:
            numbers = tuple(int(each) for each in wire.rstrip("*").split("."))
            wires[field] = Wire(numbers=numbers, tells_zero=wire.endswith("*"))
    return Schema(type="object", properties=properties, required=tuple(required), wires=wires, **_flags(rest))


def _field(expression: str, flags: Iterable[str]) -> Schema:
    more = _flags(flags)
    if expression in _ANY:
        base = _ANY[expression]
        return Schema(type=base.type, int_or_string=base.int_or_string, **{"preserves": base.preserves, **more})
    if expression[0] == "[":
        return Schema(type="array", items=_field(expression[1:-1], ()), **more)
    if expression[0] == "{":
        return Schema(type="object", values=_field(expression[1:-1], ()), **more)
    if "." in expression:
        return Schema(ref=expression, **more)
    type_, _, format_ = expression.partition("/")
    return Schema(type=type_, format=format_, **more)


def _flags(words: Iterable[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name == "preserve":
            found["preserves"] = True
        elif name == "nullable":
            found["nullable"] = True
        else:
            ours, parse = _FLAGS[name]
            found[ours] = parse(value)
    return found
