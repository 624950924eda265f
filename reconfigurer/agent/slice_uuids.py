"""Slices and the MIG UUID that each had at a moment that matters later, on the disk.

Two are kept. `handed-out`, by the desk: the kubelet replays its checkpointed answer when a container restarts, so after
a restart of the agent this file is all that tells a container's slice from a successor at its place. `released`, by the
board: which ids a pod still holds whose slice it has given back. The subtle thing is a file that cannot be read: it is
set aside and begun anew, and a slice that is not in it is judged by other signs.
"""

import hashlib
import json
import logging
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from knative_mig.core.errors import BadInput
from knative_mig.core.gpu_node import SliceId

_log = logging.getLogger(__name__)
VERSION: Final = 1


class SliceUuids:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._on_disk = True
        self._uuids, self.damaged = _read(path)
        if self.damaged:
            _log.warning("%s %s: it is set aside and begun anew", path, self.damaged)
            with suppress(OSError):  # it stays where it is, and is not believed
                path.replace(path.with_name(path.name + ".damaged"))

    def uuid_of(self, slice_id: SliceId) -> str | None:
        with self._lock:
            return self._uuids.get(slice_id)

    def all(self) -> Mapping[SliceId, str]:
        with self._lock:
            return dict(self._uuids)

    def remember(self, uuids: Mapping[SliceId, str]) -> None:
        """OSError: it is not on the disk, and only this process knows it."""
        with self._lock:
            self._become({**self._uuids, **uuids})

    def forget(self, slice_id: SliceId) -> None:
        """OSError: the disk still has it."""
        with self._lock:
            self._become({each: uuid for each, uuid in self._uuids.items() if each != slice_id})

    def _become(self, after: Mapping[SliceId, str]) -> None:
        """Written also where nothing seems to change, if the last write failed."""
        if after != self._uuids or not self._on_disk:
            self._uuids, self._on_disk = dict(after), False
            self._write()
            self._on_disk = True

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
