"""The sockets through which holders give their slices back."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from knative_mig.adapters.slice_socket import SliceSockets
from knative_mig.core.errors import SliceInUse
from knative_mig.core.gpu_node import SliceId

FIRST: Final = SliceId.parse("GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77/1g.5gb+me/0")
SECOND: Final = SliceId.parse("GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77/3g.20gb/4")
ELSEWHERE: Final = SliceId.parse("GPU-00000000-0000-0000-0000-000000000000/3g.20gb/4")
RELEASE: Final = b'{"release": true}\n'


class Agent:
    """Notes who released what; refuses while it has a reason, and waits at its gate."""

    def __init__(self) -> None:
        self.released: list[tuple[SliceId, int]] = []
        self.fault: Exception | None = None
        self.asked = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()
        self.gate_of: dict[SliceId, threading.Event] = {}

    def __call__(self, slice_id: SliceId, pid: int) -> None:
        self.asked.release()
        self.gate_of.get(slice_id, self.gate).wait(60)
        if self.fault is not None:
            raise self.fault
        self.released.append((slice_id, pid))


@pytest.fixture(name="agent")
def _agent() -> Agent:
    return Agent()


@pytest.fixture(name="folder")
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="km-") as folder:  # a socket's path has 107 characters at most
        yield Path(folder) / "slices"


@pytest.fixture(name="clock")
def _clock() -> list[float]:
    return [100.0]


@pytest.fixture(name="sockets")
def _sockets(agent: Agent, folder: Path, clock: list[float]) -> Iterator[SliceSockets]:
    with _running(agent, folder, clock) as sockets:
        yield sockets


class _running:  # noqa: N801 - reads as the verb that it is
    def __init__(self, agent: Agent, folder: Path, clock: list[float]) -> None:
        self._sockets = SliceSockets(agent, folder, clock=lambda: clock[0])
        self._thread = threading.Thread(target=self._sockets.run)

    def __enter__(self) -> SliceSockets:
        self._thread.start()
        return self._sockets

    def __exit__(self, *_: object) -> None:
        self._sockets.stop()
        self._thread.join(60)
        assert not self._thread.is_alive()


def _connect(directory: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(60)
    try:
        client.connect(str(directory / "agent.sock"))
    except OSError:
        client.close()
        raise
    return client


def _answer(client: socket.socket) -> object:
    with client, client.makefile("rb") as answers:
        text = answers.read()
    return json.loads(text) if text else None


def _ask(directory: Path, request: bytes = RELEASE) -> object:
    client = _connect(directory)
    client.sendall(request)
    return _answer(client)


def test_a_holder_releases_the_slice_whose_socket_it_came_through(sockets: SliceSockets, agent: Agent) -> None:
    first, second = sockets.open(FIRST), sockets.open(SECOND)
    assert first != second

    assert _ask(second) == {"released": True}

    assert agent.released == [(SECOND, os.getpid())]


def test_the_asking_process_is_the_one_that_the_kernel_names(sockets: SliceSockets, agent: Agent) -> None:
    directory = sockets.open(FIRST)
    script = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
        "s.sendall(b'{\"release\": true}\\n'); print(s.recv(100).decode())"
    )
    asking = subprocess.Popen(
        [sys.executable, "-c", script, str(directory / "agent.sock")], stdout=subprocess.PIPE, text=True
    )
    said, _ = asking.communicate(timeout=60)
    assert json.loads(said) == {"released": True}
    assert agent.released == [(FIRST, asking.pid)]


def test_a_refusal_says_why(sockets: SliceSockets, agent: Agent) -> None:
    agent.fault = SliceInUse("process 4711 is still on the slice")
    assert _ask(sockets.open(FIRST)) == {"error": "process 4711 is still on the slice"}


def test_a_failure_is_answered_and_the_next_one_asks_in_vain_no_more(sockets: SliceSockets, agent: Agent) -> None:
    agent.fault = RuntimeError("a secret of the agent's")
    assert _ask(sockets.open(FIRST)) == {"error": "the node agent failed: its log says why"}
    agent.fault = None
    assert _ask(sockets.open(FIRST)) == {"released": True}


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (b"release\n", "one line of JSON"),
        (b'{"release": "yes"}\n', "the one request is"),
        (b'{"release": 1}\n', "the one request is"),
        (b'{"release": true, "slice": "GPU-1/3g.20gb/4"}\n', "the one request is"),
        (b"[" * 1000 + b"\n", "one line of JSON"),
        (b"x" * 5000, "1024 bytes at most"),
    ],
    ids=["no JSON", "another value", "a one", "a slice of its own choice", "nested deeply", "too long"],
)
def test_what_is_no_request_releases_nothing(sockets: SliceSockets, agent: Agent, request_: bytes, why: str) -> None:
    answer = _ask(sockets.open(FIRST), request_)
    assert isinstance(answer, dict)
    assert why in answer["error"]
    assert agent.released == []


def test_a_request_may_come_in_pieces(sockets: SliceSockets) -> None:
    client = _connect(sockets.open(FIRST))
    client.sendall(RELEASE[:5])
    client.sendall(RELEASE[5:])
    assert _answer(client) == {"released": True}


def test_a_holder_that_asks_nothing_is_hung_up_on(sockets: SliceSockets, clock: list[float], agent: Agent) -> None:
    directory = sockets.open(FIRST)
    silent = _connect(directory)
    assert _ask(directory) == {"released": True}, "others are served meanwhile, and the silent one is let in"

    clock[0] += 5
    assert _ask(directory) == {"released": True}
    assert _answer(silent) is None
    assert len(agent.released) == 2


def test_one_holder_cannot_shut_out_another(sockets: SliceSockets, agent: Agent) -> None:
    crowded = [_connect(sockets.open(FIRST)) for _ in range(4)]

    assert _answer(_connect(sockets.open(FIRST))) == {"error": "too many connections"}
    assert _ask(sockets.open(SECOND)) == {"released": True}

    for client in crowded:
        client.close()


def test_a_judgement_that_takes_its_time_holds_up_no_other_slice(sockets: SliceSockets, agent: Agent) -> None:
    agent.gate.clear()
    waiting = _connect(sockets.open(FIRST))
    waiting.sendall(RELEASE)
    assert agent.asked.acquire(timeout=30)
    other = _connect(sockets.open(SECOND))
    other.sendall(RELEASE)
    assert agent.asked.acquire(timeout=30), "the second is asked about while the first is judged"
    agent.gate.set()
    assert _answer(waiting) == _answer(other) == {"released": True}


def test_a_gpu_that_hangs_keeps_no_release_of_another_gpu_waiting(sockets: SliceSockets, agent: Agent) -> None:
    hangs = agent.gate_of[FIRST] = agent.gate_of[SECOND] = threading.Event()
    waiting = [_connect(sockets.open(each)) for each in (FIRST, FIRST, FIRST, FIRST, SECOND)]
    for client in waiting:
        client.sendall(RELEASE)
    for _ in range(4):
        assert agent.asked.acquire(timeout=30)
    other = _connect(sockets.open(ELSEWHERE))
    other.settimeout(10)
    other.sendall(RELEASE)
    try:
        assert _answer(other) == {"released": True}
    finally:
        hangs.set()
    assert [_answer(each) for each in waiting] == [{"released": True}] * 5


def test_who_asks_and_goes_away_harms_nobody(sockets: SliceSockets, agent: Agent) -> None:
    directory = sockets.open(FIRST)
    _connect(directory).close()
    client = _connect(directory)
    client.sendall(RELEASE)
    client.close()
    assert agent.asked.acquire(timeout=30)
    assert _ask(directory) == {"released": True}


def test_the_socket_is_for_any_user_and_its_directory_for_ours(sockets: SliceSockets, folder: Path) -> None:
    directory = sockets.open(FIRST)
    assert directory.stat().st_mode & 0o777 == 0o755
    assert (directory / "agent.sock").stat().st_mode & 0o777 == 0o666
    assert folder.stat().st_mode & 0o006 == 0, "nobody else lists the slices"


def test_a_restarted_agent_makes_its_socket_in_the_directory_that_is_mounted(
    agent: Agent, folder: Path, clock: list[float]
) -> None:
    with _running(agent, folder, clock) as sockets:
        directory = sockets.open(FIRST)
        mounted = os.open(directory, os.O_PATH)
    with pytest.raises(ConnectionRefusedError):
        _connect(directory)

    with _running(agent, folder, clock) as sockets:
        sockets.keep([FIRST])
        assert _ask(Path(f"/proc/self/fd/{mounted}")) == {"released": True}
    os.close(mounted)


def test_what_an_earlier_run_left_goes_and_what_is_live_stays(sockets: SliceSockets, folder: Path) -> None:
    sockets.open(FIRST)
    (folder / "GPU-1-1g.5gb-0").mkdir()
    (folder / "GPU-1-1g.5gb-0" / "agent.sock").touch()

    sockets.keep([FIRST, SECOND])
    assert {path.name for path in folder.iterdir()} == {sockets.directory(FIRST).name, sockets.directory(SECOND).name}

    sockets.keep([SECOND])
    assert [path.name for path in folder.iterdir()] == [sockets.directory(SECOND).name]
    assert _ask(sockets.open(SECOND)) == {"released": True}


def test_a_slice_that_goes_hangs_up_on_who_is_connected(sockets: SliceSockets) -> None:
    client = _connect(sockets.open(FIRST))
    sockets.close(FIRST)
    with client, contextlib.suppress(ConnectionResetError):  # where it was not let in yet
        assert client.recv(10) == b""


def test_a_deletion_is_told_to_who_has_it_mounted_and_not_to_the_next_who_has(sockets: SliceSockets) -> None:
    directory = sockets.open_for_new_pod(FIRST)
    sockets.tell_deleted(FIRST, lambda: True)
    sockets.tell_deleted(FIRST, lambda: True)
    assert (directory / "deleted").stat().st_mode & 0o444 == 0o444, "whatever user its container has"
    sockets.keep([FIRST])
    assert (directory / "deleted").exists()

    assert sockets.open_for_new_pod(FIRST) == directory
    assert not (directory / "deleted").exists()
    sockets.tell_deleted(FIRST, lambda: False)
    assert not (directory / "deleted").exists(), "it had become another pod's"


def test_a_slice_without_a_socket_has_nobody_to_be_told(sockets: SliceSockets, folder: Path) -> None:
    sockets.tell_deleted(FIRST, lambda: True)
    assert not folder.exists()


def test_a_restarted_agent_leaves_what_was_told(agent: Agent, folder: Path, clock: list[float]) -> None:
    with _running(agent, folder, clock) as sockets:
        directory = sockets.open_for_new_pod(FIRST)
        sockets.tell_deleted(FIRST, lambda: True)
    with _running(agent, folder, clock) as sockets:
        sockets.keep([FIRST])
        assert (directory / "deleted").exists()


def test_an_agent_stops_while_a_release_is_being_judged(agent: Agent, folder: Path, clock: list[float]) -> None:
    agent.gate.clear()
    with _running(agent, folder, clock) as sockets:
        client = _connect(sockets.open(FIRST))
        client.sendall(RELEASE)
        assert agent.asked.acquire(timeout=30)
    assert _answer(client) is None
    agent.gate.set()
