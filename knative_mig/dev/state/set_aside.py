"""Finds which files of a state folder were set aside at this start, for they could not be believed.

Looked at by `process` before anything is started and once all is ready. Agents and kubelets keep such a file beside the
new one and say why in their logs, which nobody reads who is not told to. The subtle thing is a name that is used
again: a file that was set aside before is told from a new one by when it came there.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

_NAMES: Final = ("*/*.damaged*", "*/agent/*.damaged*")


class SetAside:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._before = frozenset(self._all())

    def since(self) -> Iterator[str]:
        """A line for each."""
        for path, _, _ in sorted(frozenset(self._all()) - self._before):
            name, _, _ = path.name.rpartition(".damaged")
            yield f"{path.with_name(name)}: it was damaged, is kept as {path.name} and was begun anew"

    def _all(self) -> Iterator[tuple[Path, int, int]]:
        for names in _NAMES:
            for path in self._folder.glob(names):
                about = path.lstat()
                yield path, about.st_ino, about.st_ctime_ns
