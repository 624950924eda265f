"""Writes container images without a daemon and without a registry: docker archives that containerd imports.

The same inputs give the same bytes: entries are sorted, times are zero, owners are root, modes are 0755 or 0644. The
archive's file name is the hash of its inputs, so an image is written once. An image may stand on another one: nodes
unpack the layer that they share once. Images run as user 65532.
"""

import hashlib
import io
import json
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from tests.cluster.testbed.errors import ClusterError
from tests.cluster.testbed.scratch import drop_unused, scratch

# The registry name that Knative takes as it is: no tag is resolved to a digest, nothing is pulled.
REGISTRY: Final = "dev.local"
USER: Final = 65532
_FORMAT: Final = 4  # raised when the bytes written for the same inputs change

_ACCOUNTS: Final = {
    "etc/passwd": (
        "root:x:0:0:root:/:/sbin/nologin\n"
        f"nonroot:x:{USER}:{USER}:nonroot:/home/nonroot:/sbin/nologin\n"
        "nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n"
    ),
    "etc/group": f"root:x:0:\nnonroot:x:{USER}:\nnobody:x:65534:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What goes into an image, on top of `base`. `files` and `trees` map a place in it to a file or a folder here."""

    name: str
    entrypoint: tuple[str, ...]
    files: tuple[tuple[str, Path], ...] = ()
    trees: tuple[tuple[str, Path], ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    user: int = USER
    workdir: str = "/"
    base: "Image | None" = None

    def __post_init__(self) -> None:
        if not self.name.startswith(f"{REGISTRY}/") or ":" not in self.name:
            raise ClusterError(
                f"image name {self.name} must be {REGISTRY}/<name>:<tag>: no other registry is served here"
            )


def of_binary(name: str, binary: Path, **environment: str) -> Image:
    """An image of one static binary."""
    place = f"/app/{binary.name}"
    return Image(
        name=name, entrypoint=(place,), files=((place, binary),), environment=tuple(sorted(environment.items()))
    )


def archive(image: Image, folder: Path) -> Path:
    """The image's archive in `folder`, written now if it is not there."""
    layers = [_entries(part) for part in _chain(image)]
    stem = image.name.replace("/", "_").replace(":", "_")
    finished = folder / f"{stem}-{_key(image, layers)}.tar"
    if finished.exists():
        finished.touch()
    else:
        with scratch(folder, finished.name) as half_done:
            paths = [half_done / f"layer-{number}.tar" for number in range(len(layers))]
            for entries, path in zip(layers, paths, strict=True):
                _write_layer(entries, path)
            _write_archive(image, paths, half_done / "archive.tar")
            (half_done / "archive.tar").replace(finished)
        drop_unused(folder, f"{stem}-*.tar", days=1)
    return finished


def _chain(image: Image) -> list[Image]:
    """The images that it stands on, lowest first, and itself."""
    return [*(_chain(image.base) if image.base else []), image]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """One member of the layer: a folder, a link (`target`), a text, or a file to copy."""

    mode: int
    target: str | None = None
    text: bytes | None = None
    source: Path | None = None

    @property
    def kind(self) -> bytes:
        if self.target is not None:
            return tarfile.SYMTYPE
        return tarfile.DIRTYPE if self.text is None and self.source is None else tarfile.REGTYPE

    def fingerprint(self) -> str:
        if self.source is not None:
            return f"{self.mode:o} {_sha256(self.source)}"
        return f"{self.mode:o} {self.target} {hashlib.sha256(self.text or b'').hexdigest()}"


def _entries(image: Image) -> dict[str, _Entry]:
    found: dict[str, _Entry] = {}
    if image.base is None:
        found = {"tmp": _Entry(mode=0o1777), "home/nonroot": _Entry(mode=0o755)}
        found |= {name: _Entry(mode=0o644, text=text.encode()) for name, text in _ACCOUNTS.items()}
    for place, root in image.trees:
        for folder, folders, files in os.walk(root):
            for name in (*folders, *files):
                path = Path(folder) / name
                inside = Path(place.strip("/")) / path.relative_to(root)
                entry = _entry(path)
                if entry is not None:
                    found[str(inside)] = entry
    for place, source in image.files:
        entry = _entry(source.resolve())
        if entry is None:
            raise ClusterError(f"{source} is no file, so it cannot go into {image.name}")
        found[place.strip("/")] = entry
    for name in list(found):
        for parent in Path(name).parents:
            if str(parent) != ".":
                found.setdefault(str(parent), _Entry(mode=0o755))
    return dict(sorted(found.items()))


def _entry(path: Path) -> _Entry | None:
    if path.is_symlink():
        return _Entry(mode=0o777, target=str(path.readlink()))
    if path.is_file():
        # Whatever the umask was when the file was made; set-user-id bits are dropped on purpose.
        return _Entry(mode=0o755 if path.stat().st_mode & 0o100 else 0o644, source=path)
    return _Entry(mode=0o755) if path.is_dir() else None  # devices and sockets stay out


def _key(image: Image, layers: list[dict[str, _Entry]]) -> str:
    digest = hashlib.sha256(f"{_FORMAT} {json.dumps(_configuration(image, []), sort_keys=True)}\n".encode())
    for entries in layers:
        digest.update(b"layer\n")
        for name, entry in entries.items():
            digest.update(f"{name} {entry.fingerprint()}\n".encode())
    return digest.hexdigest()[:16]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _configuration(image: Image, layer_digests: list[str]) -> dict[str, object]:
    inherited = [pair for part in _chain(image) for pair in part.environment]
    environment = [("PATH", "/usr/local/bin:/usr/bin:/bin"), *dict(inherited).items()]
    return {
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "User": f"{image.user}:{image.user}",
            "WorkingDir": image.workdir,
            "Env": [f"{key}={value}" for key, value in environment],
            "Entrypoint": list(image.entrypoint),
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in layer_digests]},
    }


def _add(tar: tarfile.TarFile, name: str, entry: _Entry) -> None:
    header = tarfile.TarInfo(name)  # time 0, owner 0
    header.mode, header.type = entry.mode, entry.kind
    content: BinaryIO | None = None
    if entry.target is not None:
        header.linkname = entry.target
    elif entry.source is not None:
        header.size = entry.source.stat().st_size
        content = entry.source.open("rb")
    elif entry.text is not None:
        header.size = len(entry.text)
        content = io.BytesIO(entry.text)
    with content or io.BytesIO():
        tar.addfile(header, content)


def _write_layer(entries: dict[str, _Entry], layer: Path) -> None:
    with tarfile.open(layer, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, entry in entries.items():
            _add(tar, name, entry)


def _write_archive(image: Image, layers: list[Path], target: Path) -> None:
    configuration = json.dumps(_configuration(image, [_sha256(path) for path in layers]), sort_keys=True).encode()
    configuration_name = f"{hashlib.sha256(configuration).hexdigest()}.json"
    names = [path.name for path in layers]
    manifest = json.dumps([{"Config": configuration_name, "RepoTags": [image.name], "Layers": names}]).encode()
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, configuration_name, _Entry(mode=0o644, text=configuration))
        _add(tar, "manifest.json", _Entry(mode=0o644, text=manifest))
        for path in layers:
            _add(tar, path.name, _Entry(mode=0o644, source=path))
