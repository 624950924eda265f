"""Simulated GPUs in one JSON file: several processes, and restarts, see the same ones.

Writers hold a lock on `FILE.lock` beside it and replace the file whole, so a reader needs no lock and a kill at any
instant leaves the old state or the new one. Nobody waits for the disk: a driver that answers at once is to be simulated
too, and what goes with the machine's power is no slice of anybody's. A file that is torn, edited or from a newer
version is `GpuStateDamaged`, saying which file and what is wrong with it; it is never repaired or reset here, as slices
may hang on it.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self, TypeVar

from knative_mig.adapters.sim_gpu.state import State, parse_spec
from knative_mig.adapters.sim_gpu.state_codec import Damage, Known, decode, encode
from knative_mig.core.errors import BadInput, GpuStateDamaged

T = TypeVar("T")


class FileStore:
    def __init__(self, path: Path) -> None:
        """For a file that is there: `open` makes it first. A link is followed, or replacing the file would cut it."""
        self.path = path.resolve()
        self._last_read: tuple[bytes, State] | None = None
        self._known = Known()

    @classmethod
    def open(cls, path: Path, spec: str, fresh: Callable[[], State]) -> Self:
        """The GPUs in that file, made by `fresh` if there is no file yet; BadInput if it holds others than `spec`."""
        store = cls(path)
        with store._locked():
            if not store.path.exists():
                store._replace(fresh())
        found = [gpu.model.name for gpu in store.read().gpus]
        if found != [model.name for model in parse_spec(spec)]:
            raise BadInput(f"{path} holds the simulated GPUs {', '.join(found)}, not {spec}: name another file")
        return store

    def read(self) -> State:
        """The bytes are read each time; what they say is known where they are those of the time before, or were written
        here.
        """
        try:
            data, last = self.path.read_bytes(), self._last_read
            if last is None or last[0] != data:
                last = self._last_read = data, decode(data, self._known)
            return last[1]
        except OSError as error:
            raise GpuStateDamaged(f"{self.path}: {error.strerror or error}") from error
        except Damage as damage:
            raise GpuStateDamaged(f"{self.path}: {damage}") from damage

    def update(self, change: Callable[[State], tuple[State, T]]) -> T:
        with self._locked():
            before = self.read()
            after, answer = change(before)
            if after != before:
                self._replace(after)
            return answer

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """On a file of its own: a lock on the state itself would stay with the old file when it is replaced."""
        try:
            lock = os.open(self.path.with_name(self.path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise GpuStateDamaged(f"{self.path}: cannot be locked: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _replace(self, state: State) -> None:
        """The name of the new file is fixed: only the holder of the lock writes it, and a leftover is overwritten."""
        new = self.path.with_name(self.path.name + ".new")
        try:
            data = encode(state)
            new.write_bytes(data)
            new.replace(self.path)
            self._last_read = data, state
        except OSError as error:
            raise GpuStateDamaged(f"{self.path}: cannot be written: {error.strerror}") from error
