"""A JSON patch (RFC 6902) and a merge patch (RFC 7396), applied to an object.

Called by `writes` and `subresources`, and by `admission` for what a webhook changes.
"""

import copy
from typing import Any

from knative_mig.dev.api.refusals import Refusal, bad_request, unprocessable

_MOST_OPERATIONS = 10_000


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


def patched(target: Any, operations: Any) -> Any:
    if not isinstance(operations, list) or not all(isinstance(each, dict) for each in operations):
        raise bad_request("error decoding patch: a JSON patch is a list of operations")
    if len(operations) > _MOST_OPERATIONS:
        message = f"The allowed maximum operations in a JSON patch is {_MOST_OPERATIONS}, got {len(operations)}"
        raise Refusal(413, "RequestEntityTooLarge", f"Request entity too large: {message}")
    root = {"": copy.deepcopy(target)}
    for each in operations:
        kind, path = each.get("op"), each.get("path")
        if not isinstance(path, str) or (path and not path.startswith("/")):
            raise bad_request(f"error decoding patch: {path!r} is no path")
        try:
            _apply(root, str(kind), path, each)
            root[""]  # nobody removes the whole
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise unprocessable(f"{kind} operation does not apply: doc is missing path: {path}") from error
    return root[""]


def _apply(root: dict[str, Any], kind: str, path: str, operation: dict[str, Any]) -> None:
    match kind:
        case "add":
            _add(root, path, operation["value"])
        case "replace":
            parent, at = _place(root, path)
            parent[at]
            parent[at] = operation["value"]
        case "remove":
            parent, at = _place(root, path)
            del parent[at]
        case "test":
            parent, at = _place(root, path)
            missing = isinstance(parent, dict) and at not in parent
            if (None if missing else parent[at]) != operation.get("value"):
                raise unprocessable(f"testing value {path} failed: test failed")
        case "move":
            parent, at = _place(root, operation["from"])
            moved = parent.pop(at)
            _add(root, path, moved)
        case "copy":
            parent, at = _place(root, operation["from"])
            _add(root, path, copy.deepcopy(parent[at]))
        case _:
            raise unprocessable(f"Unexpected kind: {kind}")


def _add(root: dict[str, Any], path: str, value: Any) -> None:
    parent, at = _place(root, path, adds=True)
    if isinstance(parent, list):
        parent.insert(at, value)
    else:
        parent[at] = value


def _place(root: Any, path: Any, *, adds: bool = False) -> tuple[Any, Any]:
    """Where it is, or would be. Of a list, a place is within it."""
    if not isinstance(path, str):
        raise TypeError
    *steps, last = [each.replace("~1", "/").replace("~0", "~") for each in path.split("/")]
    parent = root
    for step in steps:
        parent = parent[_index(step, len(parent) - 1)] if isinstance(parent, list) else parent[step]
    if not isinstance(parent, list):
        if not isinstance(parent, dict):
            raise TypeError
        return parent, last
    if adds and last == "-":
        return parent, len(parent)
    return parent, _index(last, len(parent) - (0 if adds else 1))


def _index(text: str, most: int) -> int:
    index = int(text)
    if not 0 <= index <= most:
        raise IndexError
    return index
