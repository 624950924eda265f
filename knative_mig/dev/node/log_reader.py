"""Reads a container's log for the API's `pods/log`: what of it is asked for, and on as it grows.

Made by whoever composes `dev`, for the API server's event loop, which has its turn after each few lines and between two
looks at a log that is followed: a log is up to 30 MB, and all of it is read to find its last lines. The subtle thing is
a log that is rotated while it is followed: what was written into the old file until then is still read from it.
"""

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Final, Protocol

from knative_mig.adapters.kube.fields import seconds_of
from knative_mig.dev.node.logs import Line, PodLogs, files, parsed
from knative_mig.ports.kube import Key

LOOK_EACH_S: Final = 0.1
_AT_ONCE: Final = 256  # lines, before others have their turn


class Wanted(Protocol):
    """As the API server asks."""

    @property
    def namespace(self) -> str: ...
    @property
    def pod(self) -> str: ...
    @property
    def uid(self) -> str: ...
    @property
    def container(self) -> str: ...
    @property
    def life(self) -> int: ...
    @property
    def follow(self) -> bool: ...
    @property
    def timestamps(self) -> bool: ...
    @property
    def tail_lines(self) -> int | None: ...
    @property
    def since_s(self) -> int | None: ...
    @property
    def most_bytes(self) -> int | None: ...


class LogReader:
    def __init__(
        self, logs: PodLogs, is_running: Callable[[str, str, int], bool], *, clock: Callable[[], float]
    ) -> None:
        """`is_running`: that life of a container, by its pod's uid and its name. `clock`: seconds since the epoch."""
        self._logs, self._is_running, self._clock = logs, is_running, clock

    async def lines(self, wanted: Wanted) -> AsyncIterator[bytes]:
        """No lines where nothing is kept: whether the container ever ran is for the caller to know."""
        pod, life = Key(wanted.namespace, wanted.pod), wanted.life
        since = None if wanted.since_s is None else self._clock() - wanted.since_s
        tail = Tail(self._logs.path(pod, wanted.uid, wanted.container, life))
        written = _selected(_in_turns(tail.more()), since=since, tail_lines=wanted.tail_lines)
        left = wanted.most_bytes
        while True:
            ended = not (wanted.follow and self._is_running(wanted.uid, wanted.container, life))
            async for line in written:
                text = line.time.encode() + b" " + line.text if wanted.timestamps else line.text
                yield text if left is None else text[:left]
                if left is not None and (left := left - len(text)) <= 0:
                    return
            if ended:
                return
            await asyncio.sleep(LOOK_EACH_S)
            written = _in_turns(tail.more())


async def _in_turns(lines: Iterable[Line]) -> AsyncIterator[Line]:
    for count, line in enumerate(lines, 1):
        yield line
        if not count % _AT_ONCE:
            await asyncio.sleep(0)


async def _selected(lines: AsyncIterator[Line], *, since: float | None, tail_lines: int | None) -> AsyncIterator[Line]:
    last: deque[Line] = deque(maxlen=tail_lines)
    async for line in lines:
        if since is not None and seconds_of(line.time[:26] + "Z") < since:
            continue
        if tail_lines is None:
            yield line
        else:
            last.append(line)
    for line in last:
        yield line


class Tail:
    """A log from its oldest file on; each look goes on where the last one ended."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = 0  # of the file that is read
        self._offset = 0

    def more(self) -> Iterator[Line]:
        with contextlib.ExitStack() as opened:
            for inode, file in self._files(opened):
                if inode != self._inode:
                    self._inode, self._offset = inode, 0
                file.seek(self._offset)
                for entry in file:
                    if not entry.endswith(b"\n"):  # it is being written
                        return
                    self._offset += len(entry)
                    if (line := parsed(entry)) is not None:
                        yield line

    def _files(self, opened: contextlib.ExitStack) -> list[tuple[int, IO[bytes]]]:
        """The one that is read, whatever its name is by now, and those after it, with their inodes.

        They are opened at once, the newest first: one that is rotated meanwhile is met again, but none is left out.
        """
        found: dict[int, IO[bytes]] = {}
        for path in reversed(files(self._path)):
            with contextlib.suppress(FileNotFoundError):
                file = opened.enter_context(path.open("rb"))
                found.setdefault(os.fstat(file.fileno()).st_ino, file)
        inodes = [*reversed(found)]
        start = inodes.index(self._inode) if self._inode in found else 0
        return [(inode, found[inode]) for inode in inodes[start:]]
