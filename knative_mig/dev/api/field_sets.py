"""Which fields an object has, by the paths that `managedFields` names them with, and which of them a write changed.

Called by `managed_fields` and `apply`. A path is a tuple of the elements that the API itself uses: `f:image` is a
field, `k:{"name":"main"}` an entry of a list by its keys, `v:"x"` a value of a set. A set of paths and the nested
objects of `fieldsV1` say the same; sets are what can be reckoned with.

The subtle thing is what counts as one field: what a type calls atomic (and a list whose entries have no keys) has one
owner as a whole, so nothing below it is a path.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from knative_mig.dev.api.schema import ANYTHING, Schema, Types

Path = tuple[str, ...]
Paths = frozenset[Path]
NONE: Final[Paths] = frozenset()
ABSENT: Final = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    written: Paths  # added, or with another value
    removed: Paths


def paths_of(value: Any, schema: Schema, types: Types) -> Paths:
    """Of what somebody applies: the leaves, and the entries of lists."""
    return frozenset(_leaves(value, schema, types, ()))


def difference(old: Any, new: Any, schema: Schema, types: Types) -> Difference:
    found = _Comparison(types, set(), set())
    found.compare(old, new, schema, ())
    return Difference(written=frozenset(found.written), removed=frozenset(found.removed))


def to_fields(paths: Paths) -> dict[str, Any]:
    """As `fieldsV1` has them."""
    root: dict[str, Any] = {}
    parents = {path[:n] for path in paths for n in range(1, len(path))}
    for path in sorted(paths):
        at = root
        for step in path:
            at = at.setdefault(step, {})
        if path in parents:
            at["."] = {}
    return root


def from_fields(fields: Any) -> Paths:
    return frozenset(_members(fields, ()))


def told(path: Path) -> str:
    """For people, like .spec.containers[name="main"].image: what a message about a conflict names."""
    text = ""
    for step in path:
        mark, _, rest = step.partition(":")
        if mark == "f":
            text += f".{rest}"
        elif mark == "k":
            text += f"[{','.join(f'{key}={json.dumps(value)}' for key, value in json.loads(rest).items())}]"
        else:
            text += f"[={rest}]"
    return text


def children(value: Any, schema: Schema, types: Types) -> dict[str, tuple[Any, Schema]] | None:
    """What is below it, by the path's element; None for what has one owner as a whole."""
    schema = types.of(schema)
    if isinstance(value, dict):
        if schema.atomic or (schema.type not in ("", "object")):
            return None
        return {
            f"f:{key}": (each, schema.properties.get(key) or schema.values or ANYTHING) for key, each in value.items()
        }
    if isinstance(value, list) and schema.items is not None:
        if schema.list_type == "map":
            entry = types.of(schema.items)
            return {_keys(each, schema, entry): (each, schema.items) for each in value if isinstance(each, dict)}
        if schema.list_type == "set" or (not schema.list_type and schema.merge_strategy == "merge"):
            return {f"v:{json.dumps(each)}": (each, schema.items) for each in value}
    return None


def _keys(entry: dict[str, Any], schema: Schema, of_entry: Schema) -> str:
    found: dict[str, Any] = {}
    for key in sorted(schema.list_keys):
        default = of_entry.properties[key].default if key in of_entry.properties else None
        value = entry.get(key, default)
        if value is not None:
            found[key] = value
    return f"k:{json.dumps(found, separators=(',', ':'))}"


def _leaves(value: Any, schema: Schema, types: Types, at: Path) -> Iterator[Path]:
    below = children(value, schema, types)
    if not below:
        if at:
            yield at
        return
    if at and at[-1][0] == "k":
        yield at
    for step, (each, of_each) in below.items():
        yield from _leaves(each, of_each, types, (*at, step))


@dataclass(slots=True)
class _Comparison:
    types: Types
    written: set[Path]
    removed: set[Path]

    def compare(self, old: Any, new: Any, schema: Schema, at: Path, *, is_part: bool = False) -> None:
        """`is_part`: of what it is in, like a pod's spec: in Go it is there even when nothing is."""
        if old == new and type(old) is type(new):
            return
        before = children(old, schema, self.types) if old is not ABSENT else None
        after = children(new, schema, self.types) if new is not ABSENT else None
        if before is None and after is None:
            (self.removed if new is ABSENT else self.written).add(at)
            return
        if old is ABSENT and len(at) > 1 and not is_part and not isinstance(new, list):
            self.written.add(at)  # a map or an entry that came is a field as such, beside what is in it
        if new is ABSENT or (old is not ABSENT and before is None):
            self.removed.add(at)
        if new is not ABSENT and not after:
            self.written.add(at)
        before, after = before or {}, after or {}
        wires = self.types.of(schema).wires
        for step in before.keys() | after.keys():
            was, of_it = before.get(step, (ABSENT, ANYTHING))
            now, of_it = after.get(step, (ABSENT, of_it))
            wire = wires.get(step[2:]) if of_it.ref else None
            self.compare(was, now, of_it, (*at, step), is_part=wire is not None and not wire.tells_zero)


def _members(fields: Any, at: Path) -> Iterator[Path]:
    if at and (not fields or "." in fields):
        yield at
    for step, below in (fields or {}).items():
        if step != ".":
            yield from _members(below, (*at, step))
