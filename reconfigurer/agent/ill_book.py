"""What XIDs said of slices and GPUs, on the disk: the driver says it once, and nothing that can be read tells it later.

Written by the board (slices) and by the GPU loops (quarantines), before anything else follows from an XID, and read by
the next agent. A reboot resets the GPUs, so what is of another boot is not believed. The subtle thing is a disk that
takes no write: whoever has a broken slice must go all the same, so nothing is raised; this process knows it, and tries
again until the disk does.
"""

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from knative_mig.core.agent.health import BrokenSlice, Quarantine
from knative_mig.core.errors import BadInput
from knative_mig.core.gpu_node import SliceId
from knative_mig.core.inventory import GpuUuid
from reconfigurer.agent import kept_file

_log = logging.getLogger(__name__)
VERSION: Final = 1
NAME: Final = "ill"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    broken: Mapping[SliceId, BrokenSlice] = field(default_factory=dict)
    quarantines: Mapping[GpuUuid, Quarantine] = field(default_factory=dict)


class IllBook:
    """A `board.BrokenBook` and a `gpu_loop.QuarantineBook`."""

    def __init__(self, path: Path, boot_id: str) -> None:
        self._path, self._boot_id = path, boot_id
        self._lock = threading.Lock()
        self._on_disk = self._can_write = True
        self._said, damaged = _read(path, boot_id)
        if damaged:
            kept_file.set_aside(path, damaged)

    def broken(self) -> Mapping[SliceId, BrokenSlice]:
        with self._lock:
            return self._said.broken

    def broke(self, slice_id: SliceId, broken: BrokenSlice) -> None:
        with self._lock:
            self._become(replace(self._said, broken={**self._said.broken, slice_id: broken}))

    def mended(self, slice_id: SliceId) -> None:
        with self._lock:
            left = {each: broken for each, broken in self._said.broken.items() if each != slice_id}
            self._become(replace(self._said, broken=left))

    def quarantine(self, gpu: GpuUuid) -> Quarantine | None:
        with self._lock:
            return self._said.quarantines.get(gpu)

    def quarantined(self, gpu: GpuUuid, quarantine: Quarantine) -> None:
        """What it has seen since it began is not kept: an agent that comes later looks for itself."""
        kept = Quarantine(why=quarantine.why, since=0.0, mig_uuids=quarantine.mig_uuids)
        with self._lock:
            self._become(replace(self._said, quarantines={**self._said.quarantines, gpu: kept}))

    def over(self, gpu: GpuUuid) -> None:
        with self._lock:
            left = {each: quarantine for each, quarantine in self._said.quarantines.items() if each != gpu}
            self._become(replace(self._said, quarantines=left))

    def try_again(self) -> None:
        """To write what the disk has not taken yet. Called with each reading, which waits for no other GPU's write."""
        if not self._on_disk and self._lock.acquire(blocking=False):
            try:
                self._become(self._said)
            finally:
                self._lock.release()

    def _become(self, after: _Said) -> None:
        if after == self._said and self._on_disk:
            return
        self._said, self._on_disk = after, False
        try:
            kept_file.write(self._path, version=VERSION, name=NAME, body=_body(after, self._boot_id))
        except OSError as error:
            if self._can_write:
                _log.error("What XIDs said is known to this process only: %s", error)
            self._can_write = False
            return
        if not self._can_write:
            _log.info("What XIDs said is on the disk again")
        self._on_disk = self._can_write = True


def _body(said: _Said, boot_id: str) -> dict[str, Any]:
    return {
        "boot_id": boot_id,
        "slices": {
            str(each): {"mig_uuid": said.broken[each].mig_uuid, "why": said.broken[each].why}
            for each in sorted(said.broken)
        },
        "gpus": {
            each: {"mig_uuids": sorted(said.quarantines[each].mig_uuids), "why": said.quarantines[each].why}
            for each in sorted(said.quarantines)
        },
    }


def _read(path: Path, boot_id: str) -> tuple[_Said, str]:
    """What it holds, or why it cannot be believed."""
    body, damage = kept_file.read(path, version=VERSION, name=NAME)
    if not body or body.get("boot_id") != boot_id:
        return _Said(), damage
    try:
        broken = {
            SliceId.parse(each): BrokenSlice(mig_uuid=str(of["mig_uuid"]), why=str(of["why"]))
            for each, of in body["slices"].items()
        }
        quarantines = {
            GpuUuid(each): Quarantine(why=str(of["why"]), since=0.0, mig_uuids=frozenset(map(str, of["mig_uuids"])))
            for each, of in body["gpus"].items()
        }
    except (BadInput, KeyError, TypeError, AttributeError) as error:
        return _Said(), f"does not hold slices and GPUs: {error!r}"
    return _Said(broken=broken, quarantines=quarantines), ""
