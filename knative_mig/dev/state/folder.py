"""The directory of `--state DIR`: one `dev` has it at a time, for the GPUs that it was made for.

Opened by `dev`'s process before anything is started, and closed when all has ended. In it lie

    dev.json         the version of the whole, and the GPUs
    objects.log      the API server's objects (`object_log`)
    NODE/agent/      what that node's agent keeps: its journal, and the simulated GPUs
    lock             who has it: the kernel lets go of it however its holder ends

The subtle thing is that the GPUs' files are looked at here: an agent would tell of a damaged one in its log alone.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from knative_mig.adapters.sim_gpu.state import parse_spec
from knative_mig.adapters.sim_gpu.state_file import FileStore
from knative_mig.core.errors import BadInput, GpuStateDamaged
from knative_mig.core.geometry import GpuModel

VERSION: Final = 1
_GPUS: Final = "agent/simulated-gpus"  # of a node


@dataclass(frozen=True, slots=True, kw_only=True)
class StateFolder:
    path: Path
    gpus: str  # like 2xA100-40GB,1xH100-80GB
    _lock: int

    @classmethod
    def open(cls, path: Path, *, gpus: str | None, default_gpus: str) -> Self:
        """`gpus`: what the user asks for, None: what it was made for, or the default. BadInput, in one line: another
        has it, it is damaged, newer, made for other GPUs, or no directory that can be written.
        """
        path = path.absolute()
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise BadInput(f"--state {path}: {error.strerror}: legal is a directory of yours, there or not") from None
        try:
            _take(path, lock)
            found = cls(path=path, gpus=_settled(path, gpus, default_gpus), _lock=lock)
            for file in found.gpu_files():
                FileStore(file).read()
        except GpuStateDamaged as damaged:
            os.close(lock)
            raise BadInput(
                f"{damaged}; put back a copy of the file, or move it away to begin with empty GPUs"
            ) from None
        except OSError as error:
            os.close(lock)
            raise BadInput(f"{error.filename or path}: {error.strerror}") from None
        except BaseException:
            os.close(lock)
            raise
        return found

    @property
    def objects(self) -> Path:
        return self.path / "objects.log"

    def lost(self, nodes: Iterable[str]) -> Iterator[str]:
        """What a start before this one has left and is there no more, in a line each; to be asked before anything is
        made anew.
        """
        if self.objects.exists():
            for node in nodes:
                if not (file := _gpus_of(self.path, node)).exists():
                    yield f"{file} is not there any more: {node} begins with empty GPUs"
        elif any(self.gpu_files()):
            yield f"{self.objects} is not there any more: the functions are gone, the GPUs keep their slices"

    def gpu_files(self) -> Iterator[Path]:
        return iter(sorted(self.path.glob(f"*/{_GPUS}")))

    def close(self) -> None:
        os.close(self._lock)


def _take(path: Path, lock: int) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 20, 0).decode(errors="replace").strip() or "unknown"
        raise BadInput(
            f"--state {path}: another knative-mig dev (process {holder}) has it: end that one, or name another"
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


def _settled(path: Path, gpus: str | None, default: str) -> str:
    """Which GPUs; written down where nothing is yet."""
    about = path / "dev.json"
    try:
        made_for = _made_for(about)
    except FileNotFoundError:
        settled = default if gpus is None else gpus
        _check_beside(path, _nodes_of(settled), default)
        _write(about, json.dumps({"version": VERSION, "gpus": settled}) + "\n")
        return settled
    if gpus is not None and _nodes_of(gpus) != _nodes_of(made_for):
        raise BadInput(
            f"--gpus {gpus}: {path} was made for {made_for}: legal is that, or no --gpus, or another directory"
        )
    return made_for


def _check_beside(path: Path, asked: Sequence[tuple[GpuModel, ...]], default: str) -> None:
    """BadInput: what the folder was made for is said nowhere any more, and nodes have other GPUs than those. `default`:
    for a node that has lost its own.
    """
    held = _held(path)
    if all(number <= len(asked) and asked[number - 1] == models for number, models in held.items()):
        return
    of = (held.get(number) or parse_spec(default) for number in range(1, max(held) + 1))
    gpus = ",".join(f"{len(models)}x{models[0].name}" for models in of)
    raise BadInput(
        f"--state {path}: its dev.json is not there any more, and its nodes have GPUs: --gpus {gpus} goes on with "
        "them; or name another directory"
    )


def _held(path: Path) -> Mapping[int, tuple[GpuModel, ...]]:
    """The GPUs of each node that has any, by the number in its name."""
    files = ((each.parent.parent.name.removeprefix("node-"), each) for each in path.glob(f"node-*/{_GPUS}"))
    return {
        int(number): tuple(each.model for each in FileStore(file).read().gpus)
        for number, file in files
        if number.isdecimal()
    }


def _gpus_of(path: Path, node: str) -> Path:
    return path / node / _GPUS


def _nodes_of(gpus: str) -> list[tuple[GpuModel, ...]]:
    """Each part is a node's: `2xA30-24GB` is another fleet than `1xA30-24GB,1xA30-24GB`."""
    return [parse_spec(part) for part in gpus.split(",")]


def _made_for(about: Path) -> str:
    try:
        found = json.loads(about.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{about}: is not JSON: {error}: {_AS_WRITTEN}") from None
    match found:
        case {"version": int(version)} if version != VERSION:
            raise BadInput(
                f"{about}: is of version {version}, and this knative-mig reads {VERSION}: use the knative-mig that "
                "wrote it, or another directory"
            )
        case {"version": int(), "gpus": str(gpus)}:
            _nodes_of(gpus)
            return gpus
        case _:
            raise BadInput(f"{about}: has no version or no gpus: {_AS_WRITTEN}")


_AS_WRITTEN: Final = 'legal is what was written, like {"version": 1, "gpus": "2xA100-40GB"}'


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.replace(path)
