r"""The part of JSONPath that printer columns are written in: .a.b, ['a\.b'], [0], [*] and [?(@.type=="Ready")].

Called by `tables`. A path of any other form leads nowhere: its cell is empty, and the other columns are still told.
"""

import functools
import re
from collections.abc import Callable
from typing import Any, Final

_STEP: Final = re.compile(
    r"""\.(?P<field>(?:\\.|[^.\[\\])+)|\[['"](?P<quoted>[^\]]+)['"]\]|\[(?P<index>\d+|\*)\]"""
    r"""|\[\?\(@\.(?P<key>[^=\s]+)\s*==\s*['"](?P<value>[^'"]*)['"]\)\]"""
)


def found(body: Any, path: str) -> Any:
    """The first that it leads to, of a list's entries the first; None: it leads nowhere."""
    value = body
    for step in _steps(path):
        value = step(value)
    return value


@functools.lru_cache(maxsize=256)
def _steps(path: str) -> tuple[Callable[[Any], Any], ...]:
    steps: list[Callable[[Any], Any]] = []
    at = 0
    while at < len(path):
        match = _STEP.match(path, at)
        if not match:
            return (_nothing,)
        at = match.end()
        if match["key"]:
            steps.append(functools.partial(_where, match["key"], match["value"]))
        elif match["index"]:
            steps.append(functools.partial(_entry, 0 if match["index"] == "*" else int(match["index"])))
        else:
            name = re.sub(r"\\(.)", r"\1", match["field"] or match["quoted"])
            steps.append(functools.partial(_field, name))
    return tuple(steps)


def _nothing(_: Any) -> None:
    return None


def _field(name: str, value: Any) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _entry(index: int, value: Any) -> Any:
    return value[index] if isinstance(value, list) and index < len(value) else None


def _where(key: str, wanted: str, value: Any) -> Any:
    entries = value if isinstance(value, list) else ()
    return next((each for each in entries if isinstance(each, dict) and each.get(key) == wanted), None)
