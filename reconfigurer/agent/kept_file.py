"""A small document on the node's disk: the last one written whole, or none that could be believed.

Written by `slice_uuids` and `ill_book`. The subtle thing is that a version and a digest stand beside what is kept: a
file that was torn, edited or written by a newer agent is told from one that holds nothing.
"""

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_log = logging.getLogger(__name__)


def write(path: Path, *, version: int, name: str, body: Mapping[str, Any]) -> None:
    """`name`: of the body in the document. On the disk when it is back; OSError: what was there before still is."""
    text = json.dumps({"version": version, "sha256": _digest(body), name: body}, indent=1) + "\n"
    new = path.with_name(path.name + ".new")
    with new.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def read(path: Path, *, version: int, name: str) -> tuple[dict[str, Any], str]:
    """What it holds, or why it cannot be believed; a file that is not there holds nothing."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, ""
    except (OSError, ValueError, RecursionError) as error:
        return {}, f"cannot be read: {error}"
    body = document.get(name) if isinstance(document, dict) else None
    if not isinstance(body, dict):
        return {}, f"does not hold {name}"
    if document.get("version") != version:
        return {}, f"has version {document.get('version')!r}, not {version}"
    if document.get("sha256") != _digest(body):
        return {}, "does not match its digest: it was torn or edited"
    return body, ""


def set_aside(path: Path, damage: str) -> None:
    _log.warning("%s %s: it is set aside and begun anew", path, damage)
    with suppress(OSError):  # it stays where it is, and is not believed
        path.replace(path.with_name(path.name + ".damaged"))


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
