"""The patch types that the adapters send: RFC 7396, of RFC 6902 add, remove, replace and test, and of Kubernetes' own
strategic merge the merging of conditions, by their type.
"""

import copy
from collections.abc import Mapping
from typing import Any, Final

from tests.fake_api.refusals import Refusal, invalid

NO_KEYS: Final[Mapping[str, str]] = {}
MERGE_KEYS: Final = {"conditions": "type"}  # of lists whose entries are merged; here every other list is replaced


def merged(target: Any, patch: Any, merge_keys: Mapping[str, str] = NO_KEYS, name: str = "") -> Any:
    """`merge_keys`: of which lists the entries are merged, and by what; `name`: of the field that this is about."""
    if isinstance(patch, list) and name in merge_keys:
        return _by_key(target or [], patch, merge_keys[name])
    if not isinstance(patch, dict):
        return patch
    found = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), value, merge_keys, key)
    return found


def strategically_merged(target: Any, patch: Any) -> Any:
    return merged(target, patch, MERGE_KEYS)


def _by_key(entries: list[dict[str, Any]], patch: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    found = {each[key]: each for each in entries}
    for each in patch:
        if key not in each or "$patch" in each:
            raise Refusal(400, "BadRequest", f"{each} is not known here")
        found[each[key]] = strategically_merged(found.get(each[key]), each)
    return [*found.values()]


def patched(target: dict[str, Any], operations: Any) -> dict[str, Any]:
    found = copy.deepcopy(target)
    for each in operations:
        try:
            _apply(found, each)
        except (KeyError, IndexError, TypeError, ValueError):
            raise invalid(f"the patch cannot be applied: {each}") from None
    return found


def _apply(root: Any, operation: dict[str, Any]) -> None:
    *path, last = [each.replace("~1", "/").replace("~0", "~") for each in operation["path"].split("/")[1:]]
    parent = root
    for step in path:
        parent = parent[int(step)] if isinstance(parent, list) else parent[step]
    at: Any = last
    if isinstance(parent, list):
        at = len(parent) if last == "-" else int(last)
    match operation["op"]:
        case "test":
            if parent[at] != operation["value"]:
                raise invalid(f"testing value {operation['path']} failed")
        case "remove":
            del parent[at]
        case "add" if isinstance(parent, list):
            parent.insert(at, operation["value"])
        case "add" | "replace":
            parent[at] = operation["value"]
        case other:
            raise Refusal(400, "BadRequest", f"{other} is not known here")
