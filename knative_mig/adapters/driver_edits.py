"""What a container needs of NVIDIA's driver beside device nodes: libraries, programs, and hooks that have them found.

Called by `adapters.cdi` for each file that it writes. NVIDIA's container toolkit describes them in a CDI file of its
own: the GPU operator's for containers that manage GPUs, the toolkit's service for all GPUs of a machine. A container
runtime that is not NVIDIA's puts into a container what CDI files say and nothing else, so ours must say it too. The
subtle thing is what is left behind there: device nodes, for a slice has its own, and which devices are visible.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

_log = logging.getLogger(__name__)
# In the order in which they are taken. Both hold the same of the driver; the second also what graphics need.
KINDS: Final = ("management.nvidia.com/gpu", "nvidia.com/gpu")
_TAKEN: Final = ("env", "hooks", "mounts")  # as old as our files' version; newer kinds of edits ask for a newer one
_VISIBLE: Final = "NVIDIA_VISIBLE_DEVICES="
_FILES: Final = ("*.json", "*.yaml")  # what runtimes read

_Seen = tuple[tuple[str, int, int], ...]


class DriverEdits:
    """Says CDI's containerEdits of every container with a slice; reads anew where a file of NVIDIA's has changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: _Seen | None = None
        self._edits: Mapping[str, Any] = {}

    def __call__(self) -> Mapping[str, Any]:
        """Empty: nobody describes the driver here, so the runtime has to bring it."""
        paths = self._theirs()
        seen = tuple((str(path), stat.st_mtime_ns, stat.st_size) for path in paths if (stat := _stat(path)) is not None)
        if seen != self._seen:
            self._edits = self._read(paths)
            self._seen = seen
        return self._edits

    def _theirs(self) -> list[Path]:
        found = [path for pattern in _FILES for path in self._folder.glob(pattern)]
        return sorted(path for path in found if "nvidia" in path.name)

    def _read(self, paths: list[Path]) -> Mapping[str, Any]:
        by_kind: dict[str, tuple[Path, Mapping[str, Any]]] = {}
        for path in paths:
            spec = _spec(path)
            by_kind.setdefault(str(spec.get("kind")), (path, _driver_of(spec)))
        for kind in KINDS:
            path, edits = by_kind.get(kind, (self._folder, {}))
            if edits.get("mounts"):
                _log.info("the driver's libraries come to containers as %s says: %d mounts", path, len(edits["mounts"]))
                return edits
        _log.warning(
            "no CDI file in %s says where the driver's libraries are (%s): a container gets its slice's device nodes, "
            "and the libraries only where its runtime is NVIDIA's",
            self._folder,
            " or ".join(KINDS),
        )
        return {}


def _driver_of(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    common = spec.get("containerEdits")
    edits = {name: common[name] for name in _TAKEN if common.get(name)} if isinstance(common, dict) else {}
    variables = [each for each in edits.pop("env", []) if not str(each).startswith(_VISIBLE)]
    return {**edits, "env": variables} if variables else edits


def _spec(path: Path) -> Mapping[str, Any]:
    """Empty where it cannot be read: a file may be half written, and is looked at again once it has changed."""
    try:
        text = path.read_text()
        spec = json.loads(text) if path.suffix == ".json" else yaml.load(text, yaml.CSafeLoader)
    except (OSError, ValueError, yaml.YAMLError) as error:
        _log.warning("%s cannot be read: %s", path, error)
        return {}
    return spec if isinstance(spec, dict) else {}


def _stat(path: Path) -> Any:
    try:
        return path.stat()
    except OSError:
        return None
