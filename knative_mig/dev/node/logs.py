"""The logs of containers on the disk: where each life's is, and how they are read again.

Written by `shim`, each line of theirs behind its time and stream. Read by `log_reader` for the API's `pods/log`, and by
`pod_worker` for the last words of what failed. The last life's log is kept beside the present one's.
"""

import shutil
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from knative_mig.ports.kube import Key

LAST_WORDS_LINES: Final = 80  # of what failed, in its status
LAST_WORDS_BYTES: Final = 2048


@dataclass(frozen=True, slots=True)
class Line:
    time: str  # RFC 3339, with nanoseconds: they sort as texts
    text: bytes  # with its end, where the line is whole


class PodLogs:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, pod: Key, uid: str, container: str, life: int) -> Path:
        """Where that life's goes; those before the last one are removed."""
        folder = self._of(pod, uid) / container
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            number = path.name.partition(".")[0]
            if number.isdecimal() and int(number) < life - 1:
                path.unlink(missing_ok=True)
        return folder / f"{life}.log"

    def path(self, pod: Key, uid: str, container: str, life: int) -> Path:
        """Of the newest file of that life's; those before it have a number after that name."""
        return self._of(pod, uid) / container / f"{life}.log"

    def lines(self, pod: Key, uid: str, container: str, life: int) -> Iterator[Line]:
        """All that is there now; OSError."""
        for file in files(self.path(pod, uid, container, life)):
            if file.exists():
                with file.open("rb") as opened:
                    yield from filter(None, map(parsed, opened))

    def last_words(self, pod: Key, uid: str, container: str, life: int) -> str:
        try:
            texts = deque((line.text for line in self.lines(pod, uid, container, life)), maxlen=LAST_WORDS_LINES)
        except OSError:
            return ""
        return b"".join(texts)[-LAST_WORDS_BYTES:].decode(errors="replace")

    def remove(self, pod: Key, uid: str) -> None:
        shutil.rmtree(self._of(pod, uid), ignore_errors=True)

    def _of(self, pod: Key, uid: str) -> Path:
        return self._folder / f"{pod.namespace}_{pod.name}_{uid}"


def files(path: Path) -> list[Path]:
    """Of one life: those that were rotated, the oldest first, and the one at `path` that is written to."""
    older = sorted(path.parent.glob(f"{path.name}.*"), key=lambda each: -int(each.suffix[1:]))
    return [*older, path]


def parsed(entry: bytes) -> Line | None:
    """None: it is no entry, such as the rest of one on a full disk."""
    parts = entry.removesuffix(b"\n").split(b" ", 3)
    if len(parts) != 4 or parts[2] not in (b"F", b"P"):
        return None
    return Line(parts[0].decode(errors="replace"), parts[3] + (b"\n" if parts[2] == b"F" else b""))
