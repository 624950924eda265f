"""Lays a pod's folders out on the disk: its volumes, and of each container a root in which its mounts lie.

Called by `container_start` before a container starts. All of it is below the pod's own folder, which is removed with
it. The subtle thing is a Secret that changes while its pod runs: each file is put in the place of the old one whole.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from knative_mig.dev.node.pod_spec import ContainerSpec, Item, Mount, Pod, Source, Volume
from knative_mig.dev.node.surrounds import CannotMount, CannotSetUp, Entries, Place, field_of, share_of

_SECRET_MODE: Final = 0o600


class PodFolder:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filled: set[str] = set()  # volumes

    def work(self, container: str) -> Path:
        """The working folder: of its own, and empty when it first begins."""
        return self._made("containers", container, "work")

    def root(self, container: str) -> Path:
        """In which each mount lies at its path."""
        return self._made("containers", container, "root")

    def fill(self, pod: Pod, place: Place, entries: Entries) -> None:
        """All volumes. CannotMount: one names what never was there; CannotSetUp: one is of another kind; OSError."""
        for volume in pod.volumes:
            if volume.unknown:
                raise CannotSetUp(
                    f'volume "{volume.name}" is {volume.unknown}: knative-mig dev has emptyDir, secret, configMap, '
                    "downwardAPI and projected"
                )
            folder = self._made("volumes", volume.name)
            try:
                for source in volume.sources:
                    for path, content in _files(pod, place, volume, source, entries).items():
                        _put(folder / _within(path), content)
            except CannotMount:
                if volume.name not in self._filled:  # else it stays as it was
                    raise
            self._filled.add(volume.name)

    def mounts(self, pod: Pod, container: ContainerSpec, given: Mapping[str, str]) -> dict[str, str]:
        """Container path -> this machine's, also of what its devices brought; each is in the root too. CannotSetUp."""
        names = {volume.name for volume in pod.volumes}
        found = dict(given)
        for mount in container.mounts:
            if mount.volume not in names:
                raise CannotSetUp(f'container "{container.name}" mounts volume "{mount.volume}", which the pod has not')
            found[mount.path] = str(self._mounted(mount))
        root = self.root(container.name)
        for path, place in found.items():
            _link(root / path.lstrip("/"), Path(place))
        return found

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _mounted(self, mount: Mount) -> Path:
        folder = self._made("volumes", mount.volume)
        return folder / _within(mount.sub_path) if mount.sub_path else folder

    def _made(self, *parts: str) -> Path:
        folder = self.folder.joinpath(*parts)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder


def _files(pod: Pod, place: Place, volume: Volume, source: Source, entries: Entries) -> dict[str, bytes]:
    if source.kind == "emptyDir":
        return {}
    if source.kind == "downwardAPI":
        return {item.path: _told(pod, item, place).encode() for item in source.items}
    held = entries.find(source.kind, source.name)
    if held is None:
        if source.optional:
            return {}
        raise CannotMount(
            f'MountVolume.SetUp failed for volume "{volume.name}" : {source.kind.lower()} "{source.name}" not found'
        )
    items = source.items or tuple(Item(key=key, path=key) for key in held)
    missing = [item.key for item in items if item.key not in held]
    if missing and not source.optional:
        raise CannotMount(
            f'MountVolume.SetUp failed for volume "{volume.name}" : references non-existent {source.kind.lower()} '
            f"key: {missing[0]}"
        )
    return {item.path: held[item.key] for item in items if item.key in held}


def _told(pod: Pod, item: Item, place: Place) -> str:
    return share_of(pod, item.share, place) if item.share is not None else field_of(pod, item.key, place) or ""


def _within(path: str) -> str:
    """The API server refuses what is not."""
    if path.startswith("/") or ".." in path.split("/"):
        raise CannotSetUp(f"{path} leads out of its volume")
    return path


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.read_bytes() == content:
        return
    new = path.with_name(f".{path.name}.new")
    new.touch(_SECRET_MODE)
    new.write_bytes(content)
    new.replace(path)


def _link(at: Path, to: Path) -> None:
    """One mount below another is where the outer one leads to: it is left out of the root."""
    try:
        at.parent.mkdir(parents=True, exist_ok=True)
        at.unlink(missing_ok=True)
        at.symlink_to(to)
    except OSError:
        return
