"""Starts containers as processes of this machine, and says how they ended: each behind a `shim` of its own.

Called by `pod_worker`, and by `probing` for commands of probes and hooks. The pipe to the shim is what ties a container
to this process: when this one dies, by whatever signal, the pipe ends, and so does the container with all that it
started. Where the shim itself is killed, what it would have ended is found by a mark in its environment.
"""

import logging
import marshal
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Self

from knative_mig.dev.node.shim import GONE_WITHIN_S, LENGTH_BYTES

_log = logging.getLogger(__name__)
_SHIM: Final = (sys.executable, "-I", "-S", str(Path(__file__).with_name("shim.py")))
LIFE_VARIABLE: Final = "KNATIVE_MIG_DEV_LIFE"  # in the environment of all that one life of a container started
_LOOKS_EACH_S: Final = 0.01
LOG_BYTES: Final = 10 * 1024 * 1024  # of a file, and
LOG_FILES: Final = 3  # files of a container: the kubelet keeps a few more


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path = Path("/")
    log: Path | None = None  # None: the beginning of its output is in how it ended
    log_bytes: int = LOG_BYTES
    log_files: int = LOG_FILES


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    code: int  # 128 and the signal, where it was one
    signal: int
    at: float  # seconds since the epoch
    output: str = ""


class NotStarted(Exception):
    """There is no such program, it may not be run, or there is no process for it; in container runtimes' words."""


class Container:
    """One life of one container. `pid` is of its first process."""

    def __init__(self, shim: "subprocess.Popen[bytes]", pid: int, at: float, mark: str) -> None:
        self.pid, self.started_at = pid, at
        self._mark = mark
        self._shim = shim
        self._lock = threading.Lock()
        self._ended: Ended | None = None
        self._over = threading.Event()

    @classmethod
    def start(cls, command: Command, on_end: Callable[["Container", Ended], None]) -> Self:
        """Back when its program has begun. `on_end` is called on a thread of its own. NotStarted."""
        mark = uuid.uuid4().hex
        asked = {
            "argv": list(command.argv),
            "env": {**command.env, LIFE_VARIABLE: mark},
            "cwd": str(command.cwd),
            "log": str(command.log) if command.log else None,
            "log_bytes": command.log_bytes,
            "log_files": command.log_files,
        }
        try:
            shim = subprocess.Popen(  # noqa: S603 - our own program
                _SHIM, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"LC_ALL": "C.UTF-8"}, start_new_session=True
            )
        except OSError as error:  # no more files, or no more processes: there may be later
            raise NotStarted(_why({"failed": error.strerror}, command)) from error
        assert shim.stdin is not None
        assert shim.stdout is not None
        value = marshal.dumps(asked)
        with suppress(BrokenPipeError):
            shim.stdin.write(len(value).to_bytes(LENGTH_BYTES, "little") + value)
            shim.stdin.flush()
        answer = _answer(shim.stdout)
        if "started" not in answer:
            shim.stdin.close()
            shim.stdout.close()
            shim.wait()
            raise NotStarted(_why(answer, command))
        container = cls(shim, answer["started"], answer["at"], mark)
        threading.Thread(
            target=container._watch, args=(on_end,), name=f"container-{container.pid}", daemon=True
        ).start()
        return container

    @property
    def ended(self) -> Ended | None:
        return self._ended

    def wait(self, timeout_s: float | None = None) -> Ended | None:
        self._over.wait(timeout_s)
        return self._ended

    def terminate(self) -> None:
        self._say(b"TERM\n")

    def kill(self) -> None:
        self._say(b"KILL\n")

    def _say(self, word: bytes) -> None:
        assert self._shim.stdin is not None
        with self._lock, suppress(BrokenPipeError, ValueError):  # it has ended
            self._shim.stdin.write(word)
            self._shim.stdin.flush()

    def _watch(self, on_end: Callable[["Container", Ended], None]) -> None:
        assert self._shim.stdin is not None
        assert self._shim.stdout is not None
        answer = _answer(self._shim.stdout)
        with self._lock, suppress(BrokenPipeError):
            self._shim.stdin.close()
        self._shim.stdout.close()
        self._shim.wait()
        if "exited" in answer:
            output = answer["output"].decode(errors="replace")
            ended = Ended(code=answer["exited"], signal=answer["signal"], at=answer["at"], output=output)
        else:
            _log.warning("the shim of process %d was killed, and the process with it", self.pid)
            _leave_nothing(self._mark)
            ended = Ended(code=137, signal=9, at=time.time())
        self._ended = ended
        self._over.set()
        on_end(self, ended)


def _answer(pipe: IO[bytes]) -> Mapping[str, Any]:
    """Empty: the shim has gone."""
    value = pipe.read(int.from_bytes(pipe.read(LENGTH_BYTES), "little"))
    try:
        return dict(marshal.loads(value))  # noqa: S302 - of our own program, by a pipe that nobody else has
    except (EOFError, ValueError, TypeError):
        return {}


def _leave_nothing(mark: str) -> None:
    """New ones may be born meanwhile."""
    deadline = time.monotonic() + GONE_WITHIN_S
    while (found := _marked(mark)) and time.monotonic() < deadline:
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_LOOKS_EACH_S)


def _marked(mark: str) -> list[int]:
    sought, found = f"{LIFE_VARIABLE}={mark}".encode(), []
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            with suppress(OSError):  # it has gone, or is another user's
                if sought in (path / "environ").read_bytes().split(b"\0"):
                    found.append(int(path.name))
    return found


def _why(answer: Mapping[str, Any], command: Command) -> str:
    """As runc says it."""
    name, text = command.argv[0], str(answer.get("failed") or "the shim failed")
    where = str(answer.get("name") or name)
    if where == str(command.cwd):
        return f'unable to start container process: chdir to cwd ("{where}") set in config.json failed: {text}'
    if answer.get("errno") == 2 and "/" not in name:
        return f'unable to start container process: exec: "{name}": executable file not found in $PATH'
    return f'unable to start container process: exec: "{name}": {text.lower()}'
