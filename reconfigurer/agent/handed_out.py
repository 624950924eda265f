"""Which MIG UUID each slice had when it was last handed to a container, on the disk.

Kept by the desk. The kubelet replays its checkpointed answer when a container restarts, so after a restart of the agent
this file is all that tells a container's slice from a successor at its place. The subtle thing is a file that cannot be
read: it is set aside and begun anew, and a slice that is not in it is judged by other signs (`desk`).
"""

import hashlib
import json
import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from knative_mig.core.errors import BadInput
from knative_mig.core.gpu_node import SliceId

_log = logging.getLogger(__name__)
VERSION: Final = 1


class HandedOut:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._uuids, self.damaged = _read(path)
        if self.damaged:
            _log.warning("%s %s: it is set aside and begun anew", path, self.damaged)
            path.replace(path.with_name(path.name + ".damaged"))

    def uuid_of(self, slice_id: SliceId) -> str | None:
        with self._lock:
            return self._uuids.get(slice_id)

    def remember(self, uuids: Mapping[SliceId, str]) -> None:
        """OSError: it is not on the disk, and only this process knows it."""
        with self._lock:
            after = {**self._uuids, **uuids}
            if after != self._uuids:
                self._uuids = after
                self._write()

    def _write(self) -> None:
        body = {str(slice_id): self._uuids[slice_id] for slice_id in sorted(self._uuids)}
        text = json.dumps({"version": VERSION, "sha256": _digest(body), "slices": body}, indent=1) + "\n"
        new = self._path.with_name(self._path.name + ".new")
        with new.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)


def _digest(body: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _read(path: Path) -> tuple[dict[SliceId, str], str]:
    """What it holds, or why it cannot be believed; a file that is not there holds nothing."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, ""
    except (OSError, ValueError, RecursionError) as error:
        return {}, f"cannot be read: {error}"
    body = document.get("slices") if isinstance(document, dict) else None
    if not isinstance(body, dict) or not all(isinstance(uuid, str) for uuid in body.values()):
        return {}, "does not hold slices"
    if document.get("version") != VERSION:
        return {}, f"has version {document.get('version')!r}, not {VERSION}"
    if document.get("sha256") != _digest(body):
        return {}, "does not match its digest: it was torn or edited"
    try:
        return {SliceId.parse(slice_id): uuid for slice_id, uuid in body.items()}, ""
    except BadInput as error:
        return {}, str(error)
