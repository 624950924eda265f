"""Stands between the kubelet stand-in and one container: starts its process, keeps its log, and leaves nothing of it.

A program of its own (`python -I -S shim.py`, the standard library alone), started by `container`. What it is to start
comes as a line of JSON on its standard input; after that each line there is a signal for the container's group, and
its end means that whoever started this is gone, by whatever death: then the container ends too. What happened is
answered in lines of JSON on standard output.

The subtle thing is what a container leaves behind. An engine in a session of its own, or an orphan of a shell, belongs
to the container as much as its first process does. This process is the reaper of all of them, so none can slip away to
the machine's first process, and when the first one has ended the others are killed, as with a container's namespace.
"""

import contextlib
import ctypes
import json
import os
import selectors
import signal
import time
from collections.abc import Mapping
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LONGEST_LINE = 16 * 1024  # of a log; a longer one is kept in parts, as container runtimes do
OUTPUT_BYTES = 4096  # of a command whose output is asked for in place of a log
READ_AT_ONCE = 64 * 1024
GONE_WITHIN_S = 5.0  # what was killed and does not go waits in a driver
LAST_WORDS_S = 0.5

_prctl = ctypes.CDLL(None, use_errno=True).prctl


class Log:
    """A file of lines, each with its time and stream; the last few files are kept, each up to a size."""

    def __init__(self, path: str, file_bytes: int, files: int) -> None:
        self.path, self.file_bytes, self.files = path, file_bytes, files
        self.rest = {"stdout": b"", "stderr": b""}
        self.file: int | None = None
        self.size = 0
        self._open()

    def write(self, stream: str, data: bytes) -> None:
        *lines, rest = (self.rest[stream] + data).split(b"\n")
        for line in lines:
            self._line(stream, line)
        while len(rest) > LONGEST_LINE:
            self._entry(stream, b"P", rest[:LONGEST_LINE])
            rest = rest[LONGEST_LINE:]
        self.rest[stream] = rest

    def close(self) -> None:
        for stream, rest in self.rest.items():
            if rest:
                self._entry(stream, b"P", rest)

    def _line(self, stream: str, line: bytes) -> None:
        while len(line) > LONGEST_LINE:
            self._entry(stream, b"P", line[:LONGEST_LINE])
            line = line[LONGEST_LINE:]
        self._entry(stream, b"F", line)

    def _entry(self, stream: str, tag: bytes, text: bytes) -> None:
        now = time.time_ns()
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9))
        entry = b"%s.%09dZ %s %s %s\n" % (when.encode(), now % 10**9, stream.encode(), tag, text)
        if self.size + len(entry) > self.file_bytes:
            self._rotate()
        if self.file is None:
            self._open()
        if self.file is not None:
            # A full disk costs a line of the log, and not the container.
            with contextlib.suppress(OSError):
                os.write(self.file, entry)
                self.size += len(entry)

    def _open(self) -> None:
        with contextlib.suppress(OSError):
            self.file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self.size = os.fstat(self.file).st_size

    def _rotate(self) -> None:
        if self.file is not None:
            os.close(self.file)
        self.file, self.size = None, 0
        with contextlib.suppress(OSError):
            if self.files < 2:
                os.unlink(self.path)
            for at in range(self.files - 1, 0, -1):
                before = self.path if at == 1 else f"{self.path}.{at - 1}"
                if os.path.exists(before):
                    os.replace(before, f"{self.path}.{at}")


class Output:
    """The beginning of what a command says, for who asked for it in place of a log."""

    def __init__(self) -> None:
        self.text = b""

    def write(self, _stream: str, data: bytes) -> None:
        self.text = (self.text + data)[:OUTPUT_BYTES]

    def close(self) -> None:
        """Nothing is open."""


def start(asked: Mapping[str, Any], out: int, err: int) -> int:
    """The process of the container; OSError: it cannot be started."""
    told, tell = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            _begin(asked, out, err)
        except OSError as error:
            name = os.fsdecode(error.filename) if error.filename else ""
            os.write(tell, json.dumps([error.errno, error.strerror or str(error), name]).encode())
        finally:
            os._exit(127)
    os.close(tell)
    with os.fdopen(told, "rb") as answer:
        failed = answer.read()
    if failed:
        os.waitpid(pid, 0)
        number, text, name = json.loads(failed)
        raise OSError(number, text, name)
    return pid


def _begin(asked: Mapping[str, Any], out: int, err: int) -> None:
    os.setsid()
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.chdir(asked["cwd"])
    for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    os.execvpe(asked["argv"][0], asked["argv"], asked["env"])  # noqa: S606 - what the pod says is its command


def descendants(of: int) -> set[int]:
    """Of a process: this one's are the container's, orphans too."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with contextlib.suppress(OSError, IndexError, ValueError), open(f"/proc/{name}/stat", "rb") as stat:
                # The program's name, in brackets, may itself hold brackets.
                parents[int(name)] = int(stat.read().rpartition(b")")[2].split()[1])
    found: set[int] = set()
    new = {of}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new} - found
        found |= new
    return found


def leave_nothing() -> None:
    """Kills until nobody is left; new ones may be born meanwhile."""
    deadline = time.monotonic() + GONE_WITHIN_S
    while time.monotonic() < deadline:
        for pid in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.005)


def say(**what: object) -> None:
    """To whoever started this, who may be gone."""
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(what).encode() + b"\n")


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    _prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    heard = b""
    while b"\n" not in heard:
        more = os.read(0, READ_AT_ONCE)
        if not more:
            return
        heard += more
    line, _, heard = heard.partition(b"\n")
    asked = json.loads(line)
    output = Output()
    keeps = Log(asked["log"], asked["log_bytes"], asked["log_files"]) if asked.get("log") else output
    out, out_in = os.pipe2(os.O_CLOEXEC)
    err, err_in = os.pipe2(os.O_CLOEXEC)
    try:
        pid = start(asked, out_in, err_in)
    except OSError as error:
        say(failed=error.strerror, errno=error.errno, name=error.filename)
        return
    os.close(out_in)
    os.close(err_in)
    say(started=pid, at=time.time())
    code, killed_by = live(pid, {out: "stdout", err: "stderr"}, keeps, heard)
    keeps.close()
    say(exited=code, signal=killed_by, at=time.time(), output=output.text.decode(errors="replace"))


def live(pid: int, pipes: Mapping[int, str], keeps: Log | Output, heard: bytes) -> tuple[int, int]:
    """Until the first process has ended, and all others with it: its exit code, and by which signal it ended."""
    ended = os.pidfd_open(pid)
    selector = selectors.DefaultSelector()
    for fd in (0, ended, *pipes):
        selector.register(fd, selectors.EVENT_READ)
    listening, running, status = set(pipes), True, 0
    deadline: float | None = None
    if heard:
        obey(heard, pid)
    while running or listening:
        wait_s = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready = [key.fd for key, _ in selector.select(wait_s)]
        if not ready and deadline is not None and time.monotonic() >= deadline:
            break
        for fd in ready:
            if fd in pipes:
                data = os.read(fd, READ_AT_ONCE)
                if data:
                    keeps.write(pipes[fd], data)
                else:
                    selector.unregister(fd)
                    listening.discard(fd)
            elif fd == 0:
                words = os.read(0, READ_AT_ONCE)
                if words:
                    obey(words, pid)
                else:
                    selector.unregister(0)
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            elif fd == ended:
                selector.unregister(ended)
                _, status = os.waitpid(pid, 0)
                leave_nothing()
                running, deadline = False, time.monotonic() + LAST_WORDS_S
    code = os.waitstatus_to_exitcode(status)
    return (code, 0) if code >= 0 else (128 - code, -code)


def obey(words: bytes, pid: int) -> None:
    """SIGTERM is for the first process alone, as in a container: the others follow it, or are killed at its end."""
    for word in words.split():
        with contextlib.suppress(ProcessLookupError):
            if word == b"KILL":
                os.killpg(pid, signal.SIGKILL)
            elif word == b"TERM":
                os.kill(pid, signal.SIGTERM)


if __name__ == "__main__":
    main()
