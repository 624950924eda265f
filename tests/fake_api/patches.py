"""The two patch types that the adapters send: RFC 7396, and of RFC 6902 add, remove, replace and test."""

import copy
from typing import Any

from tests.fake_api.refusals import Refusal, invalid


def merged(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    found = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), value)
    return found


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
