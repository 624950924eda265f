"""Slices and the MIG UUID that each had at a moment that matters later, on the disk.

Two are kept. `handed-out`, by the desk: the kubelet replays its checkpointed answer when a container restarts, so after
a restart of the agent this file is all that tells a container's slice from a successor at its place. `released`, by the
board: which ids a pod still holds whose slice it has given back. The subtle thing is a file that cannot be read: it is
set aside and begun anew, and a slice that is not in it is judged by other signs.
"""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from knative_mig.core.errors import BadInput
from knative_mig.core.gpu_node import SliceId
from reconfigurer.agent import kept_file

VERSION: Final = 1
NAME: Final = "slices"


class SliceUuids:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._on_disk = True
        self._uuids, self.damaged = _read(path)
        if self.damaged:
            kept_file.set_aside(path, self.damaged)

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
            body = {str(slice_id): self._uuids[slice_id] for slice_id in sorted(self._uuids)}
            kept_file.write(self._path, version=VERSION, name=NAME, body=body)
            self._on_disk = True


def _read(path: Path) -> tuple[dict[SliceId, str], str]:
    """What it holds, or why it cannot be believed."""
    body, damage = kept_file.read(path, version=VERSION, name=NAME)
    if not all(isinstance(uuid, str) for uuid in body.values()):
        return {}, f"does not hold {NAME}"
    try:
        return {SliceId.parse(slice_id): uuid for slice_id, uuid in body.items()}, damage
    except BadInput as error:
        return {}, str(error)
