"""One CDI file a slice: the container runtime looks up there what a container with that slice gets.

A `ports.injection.SliceInjection`. The device's name is the slice's identity, so it stays in the kubelet's checkpoint
when the slice is made anew, and a container that restarts gets what the file says now. The subtle thing is the MIG
UUID in it, which is another one then: whoever started on the old slice would be on a stranger's, which is why the
plugin is asked before each start.
"""

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

from knative_mig.adapters.device_nodes import DeviceNode
from knative_mig.core.errors import BadInput
from knative_mig.core.geometry import Place
from knative_mig.core.gpu_node import SliceId
from knative_mig.core.inventory import GpuUuid
from knative_mig.ports.injection import InjectionFailed
from knative_mig.ports.kubelet import plain_name

FOLDER: Final = Path("/var/run/cdi")
KIND: Final = "knative-mig.dev/slice"
CDI_VERSION: Final = "0.6.0"  # the oldest with annotations; containerd 1.7 and CRI-O 1.28 read it
_PREFIX: Final = "knative-mig.dev-slice_"

DeviceNodes = Callable[
    [GpuUuid, int, int], tuple[DeviceNode, ...]
]  # of a GPU's GPU instance and compute instance, by id


def no_nodes(_gpu: GpuUuid, _gi_id: int, _ci_id: int) -> tuple[DeviceNode, ...]:
    """A simulated slice's."""
    return ()


def nothing_else() -> Mapping[str, Any]:
    """What a container with a simulated slice gets beside it."""
    return {}


def cdi_device(slice_id: SliceId) -> str:
    """As the kubelet passes it on; CDI allows neither `/` nor `+` in a device's name."""
    return f"{KIND}={plain_name(slice_id)}"


class CdiFiles:
    def __init__(
        self,
        folder: Path = FOLDER,
        *,
        device_nodes: DeviceNodes = no_nodes,
        for_all: Callable[[], Mapping[str, Any]] = nothing_else,
    ) -> None:
        """`for_all`: CDI's containerEdits for each container with a slice, such as the mounts of the driver's
        libraries that NVIDIA's generated file has. It is asked for each file; what a slice says counts more.
        """
        self._folder = folder
        self._device_nodes = device_nodes
        self._for_all = for_all

    def publish(self, slice_id: SliceId, place: Place, mig_uuid: str, gi_id: int, ci_id: int) -> None:  # noqa: ARG002 - as the port has it
        nodes = self._device_nodes(slice_id.gpu, gi_id, ci_id)
        edits: dict[str, Any] = {"env": [f"NVIDIA_VISIBLE_DEVICES={mig_uuid}"]}
        if nodes:
            edits["deviceNodes"] = [
                {"path": each.path, "type": "c", "major": each.major, "minor": each.minor, "permissions": "rw"}
                for each in nodes
            ]
        spec: dict[str, Any] = {
            "cdiVersion": CDI_VERSION,
            "kind": KIND,
            "annotations": {KIND: str(slice_id)},
            "devices": [{"name": plain_name(slice_id), "containerEdits": edits}],
        }
        if for_all := self._for_all():
            spec["containerEdits"] = dict(for_all)
        self._write(self._path(slice_id), json.dumps(spec, indent=2) + "\n")

    def withdraw(self, slice_id: SliceId) -> None:
        self._remove(self._path(slice_id))

    def sweep(self, gpu: GpuUuid, live: Collection[SliceId]) -> None:
        for path in self._folder.glob(f"{_PREFIX}*.json"):
            slice_id = _slice_of(path)
            if slice_id is None or (slice_id.gpu == gpu and slice_id not in live):
                self._remove(path)

    def _path(self, slice_id: SliceId) -> Path:
        return self._folder / f"{_PREFIX}{plain_name(slice_id)}.json"

    def _write(self, path: Path, text: str) -> None:
        """Whole or not at all; runtimes read `.json` and `.yaml`, and pass over a file that is not complete yet."""
        unfinished = path.with_suffix(".new")
        try:
            if path.exists() and path.read_text() == text:
                return
            self._folder.mkdir(parents=True, exist_ok=True)
            unfinished.write_text(text)
            unfinished.replace(path)
        except OSError as error:
            raise InjectionFailed(f"{path}: {error.strerror}") from error

    def _remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise InjectionFailed(f"{path}: {error.strerror}") from error


class NoFiles:
    """A `SliceInjection` where the device comes by an environment variable, which NVIDIA's runtime reads."""

    def publish(self, slice_id: SliceId, place: Place, mig_uuid: str, gi_id: int, ci_id: int) -> None: ...

    def withdraw(self, slice_id: SliceId) -> None: ...

    def sweep(self, gpu: GpuUuid, live: Collection[SliceId]) -> None: ...


def _slice_of(path: Path) -> SliceId | None:
    """None: nobody can tell, in a file of a name that only this adapter gives."""
    try:
        return SliceId.parse(str(json.loads(path.read_text())["annotations"][KIND]))
    except (OSError, ValueError, KeyError, TypeError, BadInput):
        return None
