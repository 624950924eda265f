"""A request's bytes become an object of its kind: parsed, held to its fields, with a word of what was not known.

Called by `steps` and `writes` before anything else looks at an object. What a type does not name is dropped, as the
real one drops it, and told as an error or as a warning, as the client asked for; numbers, strings and amounts are what
the type says, else it is no such object. Of custom kinds the latter is a validation error, so `validation` sees to it.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

import yaml

from knative_mig.adapters.kube.quantity import is_quantity
from knative_mig.dev.api.kinds import Kind
from knative_mig.dev.api.refusals import bad_request, unsupported_media_type
from knative_mig.dev.api.schema import ANYTHING, Schema, Types

Json = dict[str, Any]
JSON: Final = "application/json"
YAML: Final = "application/yaml"
_DEEPEST: Final = 128  # an object is never so deep, and what is deeper would exhaust the stack
QUANTITY: Final = "quantity"  # beside the names of types
_OF_QUANTITY: Final = "api.resource.Quantity"
_KINDS_OF: Final = {"object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,), "integer": (int,)}


class _Duplicates:
    """Notes keys that come twice; which object they are in is not known while it is parsed."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def __call__(self, pairs: list[tuple[str, Any]]) -> Json:
        found = dict(pairs)
        if len(found) != len(pairs):
            seen: set[str] = set()
            self.found += [f'duplicate field "{key}"' for key, _ in pairs if key in seen or seen.add(key)]  # type: ignore[func-returns-value]
        return found


def parsed(body: bytes, content_type: str) -> tuple[Any, list[str]]:
    """And which keys came twice."""
    media_type = content_type.partition(";")[0].strip().lower() or JSON
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise bad_request(f"the body of the request is not UTF-8: {error.reason} at byte {error.start}") from None
    try:
        if media_type.endswith(("/json", "+json")):
            duplicates = _Duplicates()
            found = json.loads(text, object_pairs_hook=duplicates, parse_constant=_refuse_constant)
            problems = duplicates.found
        elif media_type.endswith(("/yaml", "+yaml")):
            found, problems = _of_yaml(text)
        else:
            raise unsupported_media_type(content_type, (JSON, YAML))
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        reason = "too deep" if isinstance(error, RecursionError) else " ".join(str(error).split())[:300]
        raise bad_request(f"the body of the request is no {media_type}: {reason}") from None
    if _is_deeper(found, _DEEPEST):
        raise bad_request(f"the body of the request is deeper than {_DEEPEST}")
    return found, problems


def _of_yaml(text: str) -> tuple[Any, list[str]]:
    # Most of what is sent as YAML is JSON, which is YAML, and is read a hundred times faster as what it is.
    try:
        duplicates = _Duplicates()
        return json.loads(text, object_pairs_hook=duplicates, parse_constant=_refuse_constant), duplicates.found
    except ValueError:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        # Anchors could make a small text an enormous object; and times are strings in JSON.
        if any(isinstance(each, yaml.AliasEvent) for each in yaml.parse(text, Loader=loader)):
            raise bad_request("the body of the request has YAML aliases, which are not taken here") from None
        return _plain(yaml.load(text, Loader=loader)), []  # noqa: S506  a safe loader


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, str | int | float | bool | None):
        return value
    return value.isoformat().replace("+00:00", "Z") if hasattr(value, "isoformat") else str(value)


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"invalid character in literal {text}")


def _is_deeper(value: Any, left: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    if left == 0:
        return True
    return any(_is_deeper(each, left - 1) for each in (value.values() if isinstance(value, dict) else value))


def object_of(found: Any, kind: Kind) -> Json:
    """Refusal: it is no object, or one of another kind."""
    if not isinstance(found, dict):
        raise bad_request(f"the body of the request is no object of kind {kind.kind}")
    sent, name = found.get("apiVersion"), found.get("kind")
    if name is None or sent is None:
        found = {**found, "apiVersion": sent or kind.api_version, "kind": name or kind.kind}
        sent, name = found["apiVersion"], found["kind"]
    if sent != kind.api_version:
        raise bad_request(
            f"the API version in the data ({sent}) does not match the expected API version ({kind.api_version})"
        )
    if name != kind.kind:
        raise bad_request(f'{name} in version "{kind.version}" cannot be handled as a {kind.kind}')
    about = found.get("metadata")
    if about is not None and not isinstance(about, dict):
        raise cannot_be(kind, "json: cannot unmarshal metadata into Go struct field .metadata of type v1.ObjectMeta")
    rest = {key: value for key, value in found.items() if key not in ("kind", "apiVersion", "metadata")}
    return {"kind": name, "apiVersion": sent, "metadata": about or {}, **rest}


def cannot_be(kind: Kind, why: str) -> Exception:
    return bad_request(f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {why}')


def held_to(value: Any, schema: Schema, types: Types, at: str = "") -> tuple[Any, list[str]]:
    """Without the fields that the type does not name, and which those were; and without those that are null and may not
    be, of which nobody is told. One that has a default stays, to be filled in.
    """
    unknown: list[str] = []
    return _held(value, schema, types, at, unknown), [f'unknown field "{each}"' for each in unknown]


def _held(value: Any, schema: Schema, types: Types, at: str, unknown: list[str]) -> Any:
    schema = types.of(schema)
    if isinstance(value, dict):
        if schema.is_free and (schema.preserves or schema.type != "object"):
            return value
        found = {}
        for key, each in value.items():
            path = f"{at}.{key}" if at else key
            field = schema.properties.get(key) or schema.values
            if field is not None:
                if each is not None or field.default is not None or types.of(field).nullable:
                    found[key] = _held(each, field, types, path, unknown)
            elif schema.preserves:
                found[key] = each
            else:
                unknown.append(path)
        return found
    if isinstance(value, list):
        items = schema.items or ANYTHING
        return [_held(each, items, types, f"{at}[{n}]", unknown) for n, each in enumerate(value)]
    return value


def mistyped(value: Any, schema: Schema, types: Types, at: str = "") -> Iterator[tuple[str, Any, str]]:
    """Where something is of another type: (path, what is there, what should be).

    A field that is null is one that is not there; a list's entry that is null is of another type than its list's.
    """
    if value is None:
        return
    if schema.ref == _OF_QUANTITY:
        if not is_quantity(value):
            yield at, value, QUANTITY
        return
    schema = types.of(schema)
    wanted = schema.type
    if schema.int_or_string:
        if not isinstance(value, int | str) or isinstance(value, bool):
            yield at, value, "integer,string"
        return
    if wanted and not _is(value, wanted):
        yield at, value, wanted
        return
    if isinstance(value, dict):
        for key, each in value.items():
            field = schema.properties.get(key) or schema.values
            if field is not None:
                yield from mistyped(each, field, types, f"{at}.{key}" if at else key)
    elif isinstance(value, list) and schema.items is not None:
        items = types.of(schema.items)
        for n, each in enumerate(value):
            if each is None and items.type and not items.nullable:
                yield f"{at}[{n}]", None, items.type
            else:
                yield from mistyped(each, schema.items, types, f"{at}[{n}]")


def _is(value: Any, wanted: str) -> bool:
    """Of a type that does not exist, as a custom kind's author may have written, everything is."""
    if wanted == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if wanted == "integer" and isinstance(value, float):
        return value.is_integer()
    if wanted not in _KINDS_OF:
        return True
    return isinstance(value, _KINDS_OF[wanted]) and not (wanted == "integer" and isinstance(value, bool))


def type_name(value: Any) -> str:
    return next((name for name in (*_KINDS_OF, "number") if _is(value, name)), "null")


def without_empty_maps(value: Any, schema: Schema, types: Types) -> Any:
    """Go leaves them out; a struct that is empty stays, for its being there says something (`emptyDir: {}`)."""
    schema = types.of(schema)
    if isinstance(value, list):
        return [without_empty_maps(each, schema.items or ANYTHING, types) for each in value]
    if not isinstance(value, dict):
        return value
    fields = {key: schema.properties.get(key) or schema.values or ANYTHING for key in value}
    found = {key: without_empty_maps(each, fields[key], types) for key, each in value.items()}
    return {key: each for key, each in found.items() if each != {} or types.of(fields[key]).values is None}
