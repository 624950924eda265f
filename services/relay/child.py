"""The engine's process, with all that it starts: begun with the relay, and ended when nobody needs it any more.

Made by `process`, which waits for it on a thread. It is a group of its own, as an engine may start more processes, and
those may be in sessions of their own, as behind the launcher of vLLM: the slice is not free before the last of them is
gone. The subtle thing is who has lost its parent: it falls to this process, where that has said that it takes them.
"""

import ctypes
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

_ENDS_WITHIN_S: Final = 2.0  # nothing of it is worth waiting for any more
_GONE_WITHIN_S: Final = 5.0  # killed: what is left then waits in a driver
_LOOKS_EACH_S: Final = 0.01
_PR_SET_CHILD_SUBREAPER: Final = 36


class Child:
    def __init__(self, command: Sequence[str], environment: Mapping[str, str], *, all_are_its: bool = False) -> None:
        """`all_are_its`: this process has no other children, and takes orphans. OSError: there is no such program."""
        self._root = os.getpid() if all_are_its else None
        self._process = subprocess.Popen(  # noqa: S603 - what the image says is its engine
            command, env=environment, start_new_session=True
        )
        self._told = threading.Event()
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def end(self) -> None:
        """From any thread; returns at once."""
        self._told.set()
        self._signal(signal.SIGTERM)
        os.eventfd_write(self._bell, 1)

    def wait(self) -> int:
        """Until nothing of it is left; its exit code."""
        ended = os.pidfd_open(self._process.pid)
        try:
            poll = select.poll()
            poll.register(ended, select.POLLIN)
            poll.register(self._bell, select.POLLIN)
            poll.poll()
            if self._told.is_set():
                poll.unregister(self._bell)
                poll.poll(_ENDS_WITHIN_S * 1000)
        finally:
            os.close(ended)
        deadline = time.monotonic() + _GONE_WITHIN_S
        while self._kill_all() and time.monotonic() < deadline:
            self._reap()
            time.sleep(_LOOKS_EACH_S)
        self._reap()
        return self._process.wait()

    def _kill_all(self) -> bool:
        """Whether there was anybody. Who descends is looked for first, as the dead have no descendants."""
        left = descendants(self._root or self._process.pid)
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return self._signal(signal.SIGKILL) or bool(left)

    def _signal(self, number: int) -> bool:
        """Whether there was anybody."""
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return False
        return True

    def _reap(self) -> None:
        """Orphans too, which fall to this process where it is the container's first, or takes them."""
        self._process.poll()
        orphans = -1 if self._root and self._process.returncode is not None else -self._process.pid
        try:
            while os.waitpid(orphans, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return


def take_orphans() -> None:
    """From now on, whoever descends from this process and loses its parent falls to it."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def descendants(ancestor: int) -> frozenset[int]:
    """Those that live: who has ended, and is not waited for yet, is none."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
            except (OSError, ValueError):
                continue
            if state not in {"Z", "X"}:
                children.setdefault(int(parent), []).append(int(entry.name))
    found: set[int] = set()
    unseen = [ancestor]
    while unseen:
        new = children.get(unseen.pop(), [])
        found.update(new)
        unseen += new
    return frozenset(found)
