"""One socket a slice, through which whoever holds the slice gives it back before its pod ends.

Made by the node agent, which runs `run` on a thread of its own. The directory of a slice is mounted into the container
that has the slice, and into no other: which socket a request came through says which slice it is about, and there is
nothing to be forged in it. The kernel says which process asks, `on_release` judges. The subtle thing is a restart of
the agent: a container has the directory mounted, not its name, so a directory is never made anew while its slice is
there; only the socket in it is.

A request is one line, `{"release": true}`; the answer is `{"released": true}` or `{"error": "why"}`, and the end. The
other way there is one word: an empty file `deleted`, whose being there says that the pod was told to end.
"""

import contextlib
import json
import logging
import selectors
import shutil
import socket
import struct
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from knative_mig.core.errors import BadInput, KnativeMigError
from knative_mig.core.gpu_node import SliceId
from knative_mig.core.inventory import GpuUuid
from knative_mig.ports.kubelet import plain_name

_log = logging.getLogger(__name__)

FOLDER: Final = Path("/var/run/knative-mig/slices")
SOCKET_NAME: Final = "agent.sock"
DELETED_NAME: Final = "deleted"
REQUEST_BYTES: Final = 1024
_READ_AWAY_BYTES: Final = 64 * 1024
ASK_WITHIN_S: Final = 5.0
CLIENTS_A_SLICE: Final = 4  # a holder asks once; one that does more shuts out nobody but itself
_ANSWERING: Final = 4  # releases of a GPU judged at once: each asks it for its processes, and waits where it hangs

OnRelease = Callable[[SliceId, int], None]
_Answer = dict[str, bool | str]


@dataclass(slots=True)
class _Door:
    slice_id: SliceId
    listener: socket.socket
    clients: "set[_Client]" = field(default_factory=set)


@dataclass(slots=True, eq=False)
class _Client:
    door: _Door
    connection: socket.socket
    until: float
    asked: bytes = b""


class SliceSockets:
    """`on_release` is told the slice and the asking process, and refuses by raising KnativeMigError; it is called on a
    thread of this class's, several at once for several slices. Each GPU has threads of its own: one that hangs keeps
    the releases of no other waiting.
    """

    def __init__(
        self, on_release: OnRelease, folder: Path = FOLDER, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._on_release = on_release
        self._folder = folder
        self._clock = clock
        self._lock = threading.RLock()
        self._doors: dict[SliceId, _Door] = {}
        self._selector = selectors.DefaultSelector()
        self._bell, self._bell_push = socket.socketpair()
        self._bell.settimeout(0.0)
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._answering: dict[GpuUuid, ThreadPoolExecutor] = {}
        self._stopping = False
        self._idle = threading.Event()
        self._idle.set()

    def directory(self, slice_id: SliceId) -> Path:
        """What is mounted; `agent.sock` is in it once it is open."""
        return self._folder / plain_name(slice_id)

    def open(self, slice_id: SliceId) -> Path:
        """Its directory, with the socket in it. OSError: it cannot be made."""
        with self._lock:
            directory = self.directory(slice_id)
            if slice_id not in self._doors:
                door = _Door(slice_id, _listening(self._folder, directory))
                self._doors[slice_id] = door
                self._selector.register(door.listener, selectors.EVENT_READ, door)
                self._ring()
            return directory

    def open_for_new_pod(self, slice_id: SliceId) -> Path:
        """As `open`, for one that has been told nothing yet. OSError: as `open`."""
        with self._lock:
            directory = self.open(slice_id)
            (directory / DELETED_NAME).unlink(missing_ok=True)
            return directory

    def tell_deleted(self, slice_id: SliceId, is_so: Callable[[], bool]) -> None:
        """To whoever has the directory mounted. `is_so` is asked when no directory can be opened for a new pod any
        more: one that comes now must not read what is said of its predecessor. OSError: it cannot be told.
        """
        with self._lock:
            if slice_id in self._doors and is_so():
                (self.directory(slice_id) / DELETED_NAME).touch(mode=0o644)

    def close(self, slice_id: SliceId) -> None:
        """Its slice is gone, and with it whoever had the directory mounted."""
        with self._lock:
            door = self._doors.pop(slice_id, None)
            if door is not None:
                self._shut(door)
            shutil.rmtree(self.directory(slice_id), ignore_errors=True)

    def keep(self, live: Collection[SliceId]) -> None:
        """Open for these, and for no other: also what an earlier run left behind goes. OSError: one cannot be made."""
        for slice_id in live:
            self.open(slice_id)
        with self._lock:
            gone = [slice_id for slice_id in self._doors if slice_id not in live]
        for slice_id in gone:
            self.close(slice_id)
        names = {plain_name(slice_id) for slice_id in live}
        for path in self._folder.iterdir() if self._folder.exists() else ():
            if path.name not in names:
                shutil.rmtree(path, ignore_errors=True)

    def run(self) -> None:
        """Until `stop`."""
        self._idle.clear()
        try:
            while not self._stopping:
                self._serve_who_is_there()
        finally:
            self._idle.set()

    def stop(self) -> None:
        """Directories stay: containers have them mounted, and the next agent makes its sockets in them."""
        self._stopping = True
        self._ring()
        with self._lock:
            for answering in self._answering.values():
                answering.shutdown(wait=False, cancel_futures=True)
        self._idle.wait(1.0)
        with self._lock:
            for door in self._doors.values():
                self._shut(door)
            self._doors.clear()
        self._selector.close()
        self._bell.close()
        self._bell_push.close()

    def _serve_who_is_there(self) -> None:
        for key, _ in self._selector.select(self._next_deadline_s()):
            if key.fileobj is self._bell:
                self._bell.recv(1024)
            elif isinstance(key.data, _Door):
                self._let_in(key.data)
            elif isinstance(key.data, _Client):
                self._hear(key.data)
        self._hang_up_on_the_slow()

    def _let_in(self, door: _Door) -> None:
        with self._lock:
            try:
                connection, _ = door.listener.accept()
            except OSError:  # it has hung up already, or the door was closed meanwhile
                return
            connection.settimeout(0.0)
            if len(door.clients) >= CLIENTS_A_SLICE:
                _answer(connection, {"error": "too many connections"})
                return
            client = _Client(door, connection, self._clock() + ASK_WITHIN_S)
            door.clients.add(client)
            self._selector.register(connection, selectors.EVENT_READ, client)

    def _hear(self, client: _Client) -> None:
        with self._lock:
            if client not in client.door.clients:
                return
            try:
                heard = client.connection.recv(REQUEST_BYTES)
            except BlockingIOError:
                return
            except OSError:
                heard = b""
            client.asked += heard
            if heard and b"\n" not in client.asked and len(client.asked) <= REQUEST_BYTES:
                return
            self._selector.unregister(client.connection)
            client.until = float("inf")  # from here it is the agent that is waited for
            try:
                self._answering_of(client.door.slice_id.gpu).submit(self._serve, client)
            except RuntimeError:  # stopping
                client.connection.close()

    def _answering_of(self, gpu: GpuUuid) -> ThreadPoolExecutor:
        """RuntimeError: no more is answered."""
        if self._stopping:
            raise RuntimeError("stopping")
        if gpu not in self._answering:
            self._answering[gpu] = ThreadPoolExecutor(_ANSWERING, thread_name_prefix="slice-socket")
        return self._answering[gpu]

    def _serve(self, client: _Client) -> None:
        answer = self._judged(client)
        with self._lock:
            client.door.clients.discard(client)
        _answer(client.connection, answer)

    def _judged(self, client: _Client) -> _Answer:
        slice_id = client.door.slice_id
        try:
            _parse(client.asked)
            pid = _peer(client.connection)
            self._on_release(slice_id, pid)
        except KnativeMigError as refused:
            _log.info("%s is not released: %s", slice_id, refused)
            return {"error": str(refused)}
        except Exception:  # noqa: BLE001 - whoever asked is answered, whatever went wrong here
            _log.exception("%s is not released", slice_id)
            return {"error": "the node agent failed: its log says why"}
        _log.info("%s is released by process %d", slice_id, pid)
        return {"released": True}

    def _hang_up_on_the_slow(self) -> None:
        now = self._clock()
        with self._lock:
            for door in self._doors.values():
                for client in [each for each in door.clients if each.until <= now]:
                    _log.info("a holder of %s connected and asked nothing", door.slice_id)
                    self._hang_up(client)

    def _next_deadline_s(self) -> float | None:
        with self._lock:
            deadlines = [client.until for door in self._doors.values() for client in door.clients]
        soonest = min(deadlines, default=float("inf"))
        return None if soonest == float("inf") else max(0.0, soonest - self._clock())

    def _shut(self, door: _Door) -> None:
        for client in tuple(door.clients):
            self._hang_up(client)
        self._selector.unregister(door.listener)
        door.listener.close()

    def _hang_up(self, client: _Client) -> None:
        client.door.clients.discard(client)
        if client.until != float("inf"):
            self._selector.unregister(client.connection)
        client.connection.close()

    def _ring(self) -> None:
        """So that `run` looks at what it waits for."""
        with contextlib.suppress(BlockingIOError):
            self._bell_push.send(b".")


def _listening(folder: Path, directory: Path) -> socket.socket:
    """The folder is ours alone; a directory is seen by one container, whose user is not root and must connect."""
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    directory.mkdir(mode=0o755, exist_ok=True)
    path = directory / SOCKET_NAME
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen(CLIENTS_A_SLICE)
        listener.settimeout(0.0)
    except OSError:
        listener.close()
        raise
    return listener


def _parse(line: bytes) -> None:
    if len(line) > REQUEST_BYTES:
        raise BadInput(f"a request has {REQUEST_BYTES} bytes at most")
    try:
        asked = json.loads(line)
    except (ValueError, RecursionError):
        raise BadInput("a request is one line of JSON") from None
    # By identity: to Python 1 equals True.
    if not (isinstance(asked, dict) and asked.keys() == {"release"} and asked["release"] is True):
        raise BadInput('the one request is {"release": true}')


def _peer(connection: socket.socket) -> int:
    """The process at the other end, as this process counts."""
    pid: int
    pid, _, _ = struct.unpack(
        "iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
    )
    if pid <= 0:
        raise BadInput("the asking process cannot be seen from here: the node agent needs hostPID")
    return pid


def _answer(connection: socket.socket, answer: _Answer) -> None:
    with connection, contextlib.suppress(OSError):  # whoever asked may have gone
        connection.settimeout(1.0)
        connection.sendall(json.dumps(answer).encode() + b"\n")
        connection.settimeout(0.0)
        connection.recv(_READ_AWAY_BYTES)  # what is left unread at the end would take the answer with it
