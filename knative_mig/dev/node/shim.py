"""Stands between the kubelet stand-in and one container: starts its process, keeps its log, and leaves nothing of it.

A program of its own (`python -I -S shim.py`), started by `container`. What it is to start comes as one value on its
standard input; after that each line there is a signal for the container, and its end means that whoever started this is
gone, by whatever death: then the container ends too. What happened is answered in values on standard output. Values are
marshalled, and little is imported, for a function that is at zero waits while this starts.

The subtle thing is what a container leaves behind. An engine in a session of its own, or an orphan of a shell, belongs
to the container as much as its first process does. This process is the reaper of all of them, so none can slip away to
the machine's first process, and when the first one has ended the others are killed, as with a container's namespace.
"""

import ctypes
import marshal
import os
import select
import signal
import time

TYPE_CHECKING = False  # to import `typing` takes as long as all that is imported here
if TYPE_CHECKING:
    from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LONGEST_LINE = 16 * 1024  # of a log; a longer one is kept in parts, as container runtimes do
OUTPUT_BYTES = 4096  # of a command whose output is asked for in place of a log
READ_AT_ONCE = 64 * 1024
GONE_WITHIN_S = 5.0  # what was killed and does not go waits in a driver
LAST_WORDS_S = 0.5
LENGTH_BYTES = 4  # before each value

_prctl = ctypes.CDLL(None, use_errno=True).prctl


class Log:
    """A file of lines, each with its time and stream; the last few files are kept, each up to a size."""

    def __init__(self, path: str, file_bytes: int, files: int) -> None:
        self.path, self.file_bytes, self.files = path, file_bytes, files
        self.rest = {"stdout": b"", "stderr": b""}
        self.file = -1
        self.size = 0
        self._open()

    def write(self, stream: str, data: bytes) -> None:
        *lines, rest = (self.rest[stream] + data).split(b"\n")
        for line in lines:
            self._entry(stream, b"F", self._parts(stream, line))
        self.rest[stream] = self._parts(stream, rest)

    def close(self) -> None:
        for stream, rest in self.rest.items():
            if rest:
                self._entry(stream, b"P", rest)

    def _parts(self, stream: str, line: bytes) -> bytes:
        """What is too long is written; the rest of it."""
        while len(line) > LONGEST_LINE:
            self._entry(stream, b"P", line[:LONGEST_LINE])
            line = line[LONGEST_LINE:]
        return line

    def _entry(self, stream: str, tag: bytes, text: bytes) -> None:
        now = time.time_ns()
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9))
        entry = b"%s.%09dZ %s %s %s\n" % (when.encode(), now % 10**9, stream.encode(), tag, text)
        if self.size + len(entry) > self.file_bytes:
            self._rotate()
        if self.file < 0:
            self._open()
        try:
            os.write(self.file, entry)
            self.size += len(entry)
        except OSError:  # a full disk costs a line of the log, and not the container
            return

    def _open(self) -> None:
        try:
            self.file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self.size = os.fstat(self.file).st_size
        except OSError:
            self.file = -1

    def _rotate(self) -> None:
        if self.file >= 0:
            os.close(self.file)
        self.file, self.size = -1, 0
        for at in range(self.files - 1, 0, -1):
            before = self.path if at == 1 else f"{self.path}.{at - 1}"
            try:
                os.replace(before, f"{self.path}.{at}")
            except OSError:
                continue


class Output:
    """The beginning of what a command says, for who asked for it in place of a log."""

    def __init__(self) -> None:
        self.text = b""

    def write(self, _stream: str, data: bytes) -> None:
        self.text = (self.text + data)[:OUTPUT_BYTES]

    def close(self) -> None:
        """Nothing is open."""


def start(asked: "dict[str, Any]", out: int, err: int) -> int:
    """The process of the container; OSError: it cannot be started."""
    told, tell = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            _begin(asked, out, err)
        except OSError as error:
            name = os.fsdecode(error.filename) if error.filename else ""
            os.write(tell, marshal.dumps((error.errno, error.strerror or str(error), name)))
        except ValueError as error:  # a null in what it is to be told
            os.write(tell, marshal.dumps((0, str(error), "")))
        finally:
            os._exit(127)
    os.close(tell)
    with open(told, "rb") as answer:
        failed = answer.read()
    if failed:
        os.waitpid(pid, 0)
        raise OSError(*marshal.loads(failed))  # noqa: S302 - what this very program wrote
    return pid


def _begin(asked: "dict[str, Any]", out: int, err: int) -> None:
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
            try:
                with open(f"/proc/{name}/stat", "rb") as stat:
                    # The program's name, in brackets, may itself hold brackets.
                    parents[int(name)] = int(stat.read().rpartition(b")")[2].split()[1])
            except (OSError, IndexError):  # it has gone
                continue
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
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        for pid in descendants(os.getpid()):
            _kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def say(**what: object) -> None:
    """To whoever started this, who may be gone."""
    value = marshal.dumps(what)
    try:
        os.write(1, len(value).to_bytes(LENGTH_BYTES, "little") + value)
    except OSError:
        return


def heard() -> "dict[str, Any] | None":
    """What is to be started; None: whoever started this has gone already."""
    length = _read(LENGTH_BYTES)
    value = _read(int.from_bytes(length, "little"))
    return marshal.loads(value) if value else None  # noqa: S302 - of our own process, by a pipe that nobody else has


def _read(count: int) -> bytes:
    """Not a byte more: signals may follow."""
    found = b""
    while len(found) < count and (more := os.read(0, count - len(found))):
        found += more
    return found if len(found) == count else b""


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    _prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    asked = heard()
    if asked is None:
        return
    output = Output()
    keeps = Log(asked["log"], asked["log_bytes"], asked["log_files"]) if asked["log"] else output
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
    code, killed_by = live(pid, {out: "stdout", err: "stderr"}, keeps)
    keeps.close()
    say(exited=code, signal=killed_by, at=time.time(), output=output.text)


def live(pid: int, pipes: dict[int, str], keeps: Log | Output) -> tuple[int, int]:
    """Until the first process has ended, and all others with it: its exit code, and by which signal it ended."""
    ended = os.pidfd_open(pid)
    poll = select.poll()
    for fd in (0, ended, *pipes):
        poll.register(fd, select.POLLIN)
    listening, running, status = set(pipes), True, 0
    deadline = float("inf")
    while running or (listening and time.monotonic() < deadline):
        ready = [fd for fd, _ in poll.poll(None if running else (deadline - time.monotonic()) * 1000)]
        for fd in ready:
            data = b"" if fd == ended else os.read(fd, READ_AT_ONCE)
            if fd in pipes and data:
                keeps.write(pipes[fd], data)
            elif fd == 0 and data:
                obey(data, pid)
            else:
                poll.unregister(fd)
                listening.discard(fd)
            if fd == 0 and not data:
                _kill(pid, signal.SIGKILL)
            if fd == ended:
                _, status = os.waitpid(pid, 0)
                leave_nothing()
                running, deadline = False, time.monotonic() + LAST_WORDS_S
    code = os.waitstatus_to_exitcode(status)
    return (code, 0) if code >= 0 else (128 - code, -code)


def obey(words: bytes, pid: int) -> None:
    """SIGTERM is for the first process alone, as in a container: the others follow it, or are killed at its end."""
    for word in words.split():
        _kill(pid, signal.SIGKILL if word == b"KILL" else signal.SIGTERM)


def _kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    main()
