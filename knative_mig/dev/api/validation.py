"""Whether an object may be as it is: what its type demands, its names and labels, and what the real one checks of the
kinds that people write here. Called by `steps` after admission has had its say; gives causes and raises nothing.

Custom kinds are held to all that their schema says, with its CEL rules (`cel`). Of the others the API server itself has
thousands of lines of rules: here are those that somebody meets by a slip of the keyboard.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from knative_mig.dev.api import cel, definition_checks, names, node_checks, pod_checks
from knative_mig.dev.api.causes import duplicate, invalid_value, required, shown, unsupported
from knative_mig.dev.api.decoding import mistyped, type_name
from knative_mig.dev.api.kinds import Kind
from knative_mig.dev.api.refusals import Cause
from knative_mig.dev.api.schema import Schema, Types

Json = dict[str, Any]
_IS_DATA_KEY: Final = re.compile(r"[-._a-zA-Z0-9]+")
_ANNOTATIONS_LIMIT: Final = 256 * 1024
_DATA_LIMIT: Final = 1024 * 1024
_SHORT_NAMED: Final = ("Namespace", "Service")
_FREELY_NAMED: Final = "rbac.authorization.k8s.io"


def causes(kind: Kind, schema: Schema, types: Types, new: Json, old: Json | None) -> list[Cause]:
    found = list(_metadata(kind, new["metadata"]))
    if kind.custom:
        found += [
            Cause(reason="FieldValueTypeInvalid", field=at, message=_mistyped(at, value, wanted))
            for at, value, wanted in mistyped(new, schema, types)
        ]
        if not found:
            found += _demands(new, schema, types, "")
        if not found:
            found += _rules(new, old, schema, types, "")
    else:
        found += _demands(new.get("spec"), schema.properties.get("spec", Schema()), types, "spec")
        found += (each for each in _built_in(kind, new, old) if each not in found)
    return found


def _mistyped(at: str, value: Any, wanted: str) -> str:
    found = type_name(value)
    return f'Invalid value: "{found}": {at} in body must be of type {wanted}: "{found}"'


def _demands(value: Any, schema: Schema, types: Types, at: str) -> Iterator[Cause]:
    """What the schema asks of a value of the right type."""
    schema = types.of(schema)
    if value is None:
        return
    path = f"{at} in body"
    if schema.enum and value not in schema.enum:
        yield unsupported(at, value, schema.enum)
    if isinstance(value, str):
        if schema.pattern and not _matches(value, schema.pattern):
            yield invalid_value(at, value, f"{path} should match '{schema.pattern}'")
        if schema.max_length is not None and len(value) > schema.max_length:
            message = f"Too long: may not be more than {schema.max_length} bytes"
            yield Cause(reason="FieldValueTooLong", field=at, message=message)
        if schema.min_length is not None and len(value) < schema.min_length:
            yield invalid_value(at, value, f"{path} should be at least {schema.min_length} chars long")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if schema.maximum is not None and value > schema.maximum:
            yield invalid_value(at, value, f"{path} should be less than or equal to {schema.maximum:g}")
        if schema.minimum is not None and value < schema.minimum:
            yield invalid_value(at, value, f"{path} should be greater than or equal to {schema.minimum:g}")
    elif isinstance(value, list):
        if schema.max_items is not None and len(value) > schema.max_items:
            message = f"Too many: {len(value)}: must have at most {schema.max_items} items"
            yield Cause(reason="FieldValueTooMany", field=at, message=message)
        if schema.min_items is not None and len(value) < schema.min_items:
            yield invalid_value(at, len(value), f"{path} should have at least {schema.min_items} items")
        yield from _duplicates(value, schema, at)
        for n, each in enumerate(value):
            yield from _demands(each, schema.items or Schema(), types, f"{at}[{n}]")
    elif isinstance(value, dict):
        yield from (required(f"{at}.{each}" if at else each) for each in schema.required if value.get(each) is None)
        for key, each in value.items():
            field = schema.properties.get(key) or schema.values
            if field is not None:
                yield from _demands(each, field, types, f"{at}.{key}" if at else key)


def _matches(text: str, pattern: str) -> bool:
    r"""Everything matches what is no regular expression here: Go's have forms that Python has not, such as `\pL`."""
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return True


def _duplicates(value: list[Any], schema: Schema, at: str) -> Iterator[Cause]:
    seen: list[Any] = []
    for n, each in enumerate(value):
        if schema.list_type == "map" and isinstance(each, dict):
            key: Any = {name: each[name] for name in schema.list_keys if name in each}
        elif schema.list_type == "set":
            key = each
        else:
            return
        if key in seen:
            yield duplicate(f"{at}[{n}]", key)
        seen.append(key)


def _rules(value: Any, old: Any, schema: Schema, types: Types, at: str) -> Iterator[Cause]:
    schema = types.of(schema)
    for rule in schema.rules:
        if rule.asks_of_old and old is None:
            continue
        try:
            holds = cel.holds(rule.expression, {"self": value, "oldSelf": old})
        except cel.CelError as error:
            yield invalid_value(at, schema.type, f"rule evaluation error: {error}")
            continue
        if not holds:
            told = "" if isinstance(value, dict | list) else f"{shown(value)}: "
            message = f"Invalid value: {told}{rule.message}"
            yield Cause(reason=rule.reason, field=f"{at}{rule.field_path}", message=message)
    if isinstance(value, dict):
        before = old if isinstance(old, dict) else {}
        for key, each in value.items():
            field = schema.properties.get(key) or schema.values
            if field is not None:
                yield from _rules(each, before.get(key), field, types, f"{at}.{key}" if at else key)
    elif isinstance(value, list) and schema.items is not None:
        for n, each in enumerate(value):
            yield from _rules(each, _same_entry(old, each, schema), schema.items, types, f"{at}[{n}]")


def _same_entry(old: Any, entry: Any, schema: Schema) -> Any:
    """As it was; only a list whose entries have keys says which one that is."""
    if schema.list_type != "map" or not isinstance(entry, dict):
        return None
    wanted = [entry.get(key) for key in schema.list_keys]
    return next((each for each in old or () if [each.get(key) for key in schema.list_keys] == wanted), None)


def _metadata(kind: Kind, about: Json) -> Iterator[Cause]:
    name = about.get("name")
    if not name:
        yield required("metadata.name", "name or generateName is required")
    elif kind.group == _FREELY_NAMED:
        if "/" in name or "%" in name or name in (".", ".."):
            yield invalid_value("metadata.name", name, "may not contain '/' or '%'")
    elif kind.kind in _SHORT_NAMED and not kind.custom:
        if len(name) > 63 or not names.IS_LABEL.fullmatch(name):
            yield invalid_value("metadata.name", name, names.LABEL_TEXT)
    elif len(name) > 253:
        yield invalid_value("metadata.name", name, "must be no more than 253 bytes")
    elif not names.IS_SUBDOMAIN.fullmatch(name):
        yield invalid_value("metadata.name", name, names.SUBDOMAIN_TEXT)
    for key, value in (about.get("labels") or {}).items():
        yield from names.qualified(key, "metadata.labels")
        yield from names.label_value(value, "metadata.labels")
    annotations = about.get("annotations") or {}
    for key in annotations:
        yield from names.qualified(key.lower(), "metadata.annotations")
    if sum(len(key) + len(str(value)) for key, value in annotations.items()) > _ANNOTATIONS_LIMIT:
        message = f"Too long: may not be more than {_ANNOTATIONS_LIMIT} bytes"
        yield Cause(reason="FieldValueTooLong", field="metadata.annotations", message=message)
    for n, finalizer in enumerate(about.get("finalizers") or ()):
        yield from names.qualified(finalizer, f"metadata.finalizers[{n}]")
    owners = about.get("ownerReferences") or ()
    controllers = [f"{each.get('kind')}/{each.get('name')}" for each in owners if each.get("controller")]
    if len(controllers) > 1:
        why = (
            f'Only one reference can have Controller set to true. Found "true" in references for {controllers[0]} and '
        )
        yield invalid_value("metadata.ownerReferences", owners, why + controllers[1])
    for n, owner in enumerate(owners):
        for key in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(key):
                yield invalid_value(
                    f"metadata.ownerReferences[{n}].{key}", owner.get(key, ""), f"{key} must not be empty"
                )


def _built_in(kind: Kind, new: Json, old: Json | None) -> Iterator[Cause]:
    match kind.kind:
        case "ConfigMap" | "Secret":
            for key in (*(new.get("data") or ()), *(new.get("binaryData") or ())):
                if not _IS_DATA_KEY.fullmatch(key) or len(key) > 253:
                    yield invalid_value(f"data[{key}]", key, _DATA_KEY_TEXT)
            if _data_size(kind, new) > _DATA_LIMIT:
                message = f"Too long: may not be more than {_DATA_LIMIT} bytes"
                at = "data" if kind.kind == "Secret" else "[]"  # which is how the real one names the whole object
                yield Cause(reason="FieldValueTooLong", field=at, message=message)
            if old and old.get("immutable"):
                for field in ("data", "binaryData"):
                    if old.get(field) != new.get(field):
                        yield Cause(
                            reason="FieldValueForbidden",
                            field=field,
                            message="Forbidden: field is immutable when `immutable` is set",
                        )
        case "Pod":
            yield from pod_checks.pod(new.get("spec") or {}, None if old is None else old.get("spec") or {})
        case "Node":
            yield from node_checks.wrong(new.get("spec") or {}, None if old is None else old.get("spec") or {})
        case "CustomResourceDefinition":
            yield from definition_checks.wrong(new, old)
        case "Deployment" | "ReplicaSet" | "DaemonSet":
            yield from pod_checks.workload(new.get("spec") or {}, (old or {}).get("spec"))


def _data_size(kind: Kind, new: Json) -> int:
    """In bytes, of what base64 stands for where it is written so."""
    data, packed = (new.get(field) or {} for field in ("data", "binaryData"))
    if kind.kind == "Secret":
        data, packed = {}, data
    written = sum(len(str(each).encode(errors="surrogatepass")) for each in data.values())
    return written + sum(len(each) // 4 * 3 - each.count("=") for each in map(str, packed.values()))


_DATA_KEY_TEXT: Final = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or "
    r"'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
