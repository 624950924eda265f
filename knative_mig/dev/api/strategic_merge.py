"""Kubernetes' own merge patch: lists of some fields are merged by a key that their type names, others are replaced.

Called by `writes` for the kinds that are not custom; what `kubectl apply`, `edit` and `label` send. A patch may hold
directives: `$patch: delete` or `replace`, `$retainKeys`, and beside a list `$deleteFromPrimitiveList/NAME` and
`$setElementOrder/NAME`.
"""

from typing import Any, Final

from knative_mig.dev.api.refusals import bad_request
from knative_mig.dev.api.schema import ANYTHING, Schema, Types

_DIRECTIVE: Final = "$patch"
_RETAIN: Final = "$retainKeys"
_DELETE: Final = "$deleteFromPrimitiveList/"
_ORDER: Final = "$setElementOrder/"


def merged(target: Any, patch: Any, schema: Schema, types: Types) -> Any:
    schema = types.of(schema)
    if not isinstance(patch, dict):
        return patch
    match patch.get(_DIRECTIVE):
        case None | "merge":
            pass
        case "replace":
            return _clean({key: value for key, value in patch.items() if key != _DIRECTIVE})
        case "delete":
            return {}
        case other:
            raise bad_request(f"Unknown patch type found: {other}")
    found = dict(target) if isinstance(target, dict) else {}
    if _RETAIN in patch:
        found = {key: value for key, value in found.items() if key in patch[_RETAIN]}
    for key, value in patch.items():
        if _is_directive(key):
            continue
        field = schema.properties.get(key) or schema.values or ANYTHING
        if value is None:
            found.pop(key, None)
        elif isinstance(value, list):
            order = patch.get(f"{_ORDER}{key}")
            found[key] = _list(found.get(key), value, field, types, order)
        elif isinstance(value, dict):
            found[key] = merged(found.get(key), value, field, types)
        else:
            found[key] = value
    for key, gone in patch.items():
        if key.startswith(_DELETE):
            name = key.removeprefix(_DELETE)
            found[name] = [each for each in found.get(name) or [] if each not in gone]
        elif key.startswith(_ORDER):
            name = key.removeprefix(_ORDER)
            if name not in patch and isinstance(found.get(name), list):
                field = schema.properties.get(name, ANYTHING)
                found[name] = _ordered(found[name], gone, field.merge_key, found[name])
    return found


def _list(target: Any, patch: list[Any], field: Schema, types: Types, order: list[Any] | None) -> list[Any]:
    if "merge" not in field.merge_strategy.split(","):
        return [_clean(each) for each in patch]
    before: list[Any] = list(target) if isinstance(target, list) else []
    if not field.merge_key:
        after = before + [each for each in patch if each not in before]
        return _ordered(after, order, "", before) if order else after
    key, items = field.merge_key, field.items or ANYTHING
    if any(isinstance(each, dict) and each.get(_DIRECTIVE) == "replace" and key not in each for each in patch):
        return [_clean(each) for each in patch if not (isinstance(each, dict) and each.get(_DIRECTIVE) == "replace")]
    found = list(before)
    for each in patch:
        if not isinstance(each, dict) or key not in each:
            raise bad_request(f"map: {each} does not contain declared merge key: {key}")
        at = next((n for n, old in enumerate(found) if old.get(key) == each[key]), None)
        if each.get(_DIRECTIVE) == "delete":
            if at is not None:
                del found[at]
        elif at is None:
            found.append(merged({}, each, items, types))
        else:
            found[at] = merged(found[at], each, items, types)
    return _ordered(found, order, key, before) if order else found


def _ordered(found: list[Any], order: list[Any], key: str, before: list[Any]) -> list[Any]:
    """As the patch wants it; what the patch does not know stays behind what it stood behind."""

    def name(each: Any) -> Any:
        return each.get(key) if key and isinstance(each, dict) else each

    wanted = [name(each) for each in order]
    known = sorted((each for each in found if name(each) in wanted), key=lambda each: wanted.index(name(each)))
    names_before = [name(each) for each in before]
    for each in found:
        if name(each) in wanted:
            continue
        at = names_before.index(name(each)) if name(each) in names_before else len(names_before)
        ahead = [n for n, other in enumerate(known) if name(other) in names_before[:at]]
        known.insert(ahead[-1] + 1 if ahead else 0 if at < len(names_before) else len(known), each)
    return known


def _clean(value: Any) -> Any:
    """Without directives, which have nothing to say where there is nothing yet."""
    if isinstance(value, dict):
        return {key: _clean(each) for key, each in value.items() if not _is_directive(key) and each is not None}
    return [_clean(each) for each in value] if isinstance(value, list) else value


def _is_directive(key: str) -> bool:
    """Not all that begins so: a schema's $ref is a field."""
    return key in (_DIRECTIVE, _RETAIN) or key.startswith((_DELETE, _ORDER))
