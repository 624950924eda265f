"""What becomes of `dev` when parts of it are killed, when it is killed itself, and when its user ends it.

Each test breaks a `dev` of its own.
"""

import http.client
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from tests.cluster.load import Load
from tests.cluster.waits import eventually
from tests.dev_suite.conftest import QUICK
from tests.dev_suite.own import OPTIONS, client_of, function_of
from tests.dev_suite.running import Started, processes_of, started

_SLICE: Final = ("--limit", "nvidia.com/mig-1g.5gb=1")
_PARTS: Final = {
    "planner": "reconfigurer.planner",
    "agent-of-node-1": "reconfigurer.agent",
    "webhook": "activator_hooks.webhook",
    "source": "activator_hooks.source",
}


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Started]:
    with started(tmp_path / "dev.log", *OPTIONS) as dev:
        yield dev


def test_a_part_that_is_killed_is_started_again_and_nobody_who_is_served_hears_of_it(own: Started, home: Path) -> None:
    kn = client_of(own, "kn", home)
    kn("service", "create", "steady", *QUICK, *_SLICE, "--scale-min", "1")
    load = Load(function_of(own, "steady"))
    load.start(1)
    try:
        for part, module in _PARTS.items():
            for process in own.running.pids(module):
                os.kill(process, signal.SIGKILL)
            eventually(
                f"{part} is started again, and that is said",
                lambda said=f"{part} was ended by SIGKILL and is started again": said in own.running.printed,  # type: ignore[misc]
            )
            name = f"after-{part}"
            eventually(
                f"a function is made after the end of {part}",
                lambda name=name: kn.run("service", "apply", name, *QUICK, *_SLICE),  # type: ignore[misc]
                lambda done: done.returncode == 0,
            )
            assert function_of(own, name).ask().text == "hello\n"
    finally:
        load.end()
    assert not load.failed
    assert load.answered


def test_a_replica_that_is_killed_is_started_again(own: Started, home: Path) -> None:
    kn, kubectl = client_of(own, "kn", home), client_of(own, "kubectl", home)
    kn("service", "create", "hello", *QUICK, *_SLICE, "--scale-min", "1")
    hello = function_of(own, "hello")
    [pod] = hello.pods()
    for process in _of_pod(own, pod["metadata"]["uid"]):
        os.kill(process, signal.SIGKILL)
    eventually(
        "its container has been started once more",
        lambda: hello.pods()[0]["status"]["containerStatuses"][0],
        lambda status: status["restartCount"] == 1 and status["ready"],
    )
    assert [each["metadata"]["uid"] for each in hello.pods()] == [pod["metadata"]["uid"]]
    assert hello.ask().text == "hello\n"
    assert "begins on 8080" in kubectl("logs", pod["metadata"]["name"], "--previous")


def test_a_dev_that_is_killed_leaves_no_process_and_the_next_one_no_file(
    own: Started, home: Path, tmp_path: Path
) -> None:
    kn = client_of(own, "kn", home)
    kn("service", "create", "hello", *QUICK, *_SLICE, "--scale-min", "1")
    assert any("answering" in command for command in own.running.processes().values())
    ports = ("--port", str(own.running.port), "--api-port", own.running.api.rpartition(":")[2])
    own.kill()
    eventually("its processes have gone", lambda: processes_of(own.folder), lambda left: not left)
    with started(tmp_path / "next.log", *OPTIONS, *ports) as following:
        assert not own.folder.exists()
        kn = client_of(following, "kn", home)
        kn("service", "create", "hello", *QUICK, *_SLICE)

        # Its user ends it, and who is being served gets the rest.
        answers: list[bytes] = []
        asking = threading.Thread(target=lambda: answers.append(_slow(following, "hello", "3")))
        asking.start()
        eventually("it is served", lambda: "GET /slow/3" in _pod_logs(following))
        assert following.interrupt() == 0
        asking.join()
        assert answers == [b"hello\n"]
        following.leaves_nothing()


def test_a_terminal_that_is_closed_ends_it_and_who_says_so_once_more_waits_for_nobody(own: Started, home: Path) -> None:
    kn = client_of(own, "kn", home)
    kn("service", "create", "hello", *QUICK, "--timeout", "500")
    asking = threading.Thread(target=_slow, args=(own, "hello", "300"))
    asking.start()
    eventually("it is served", lambda: "GET /slow/300" in _pod_logs(own))
    own.send(signal.SIGHUP)
    eventually("it says so", lambda: "ending" in own.running.printed)
    assert not own.ended
    assert own.interrupt() == 0
    asking.join()
    own.leaves_nothing()


def _slow(dev: Started, name: str, seconds: str) -> bytes:
    """An answer after so long; none where it is cut off."""
    connection = http.client.HTTPConnection("127.0.0.1", dev.running.port)
    with closing(connection):
        connection.request("GET", f"/slow/{seconds}", headers={"Host": f"{name}.default.localhost"})
        try:
            return connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return b""


def _pod_logs(dev: Started) -> str:
    logs = dev.running.logs.parent / "pods"
    return "".join(path.read_text() for path in logs.rglob("*") if path.is_file())


def _of_pod(dev: Started, uid: str) -> list[int]:
    """The function's own processes, not who minds them."""
    return [
        pid
        for pid, command in dev.running.processes().items()
        if "answering" in command and uid.encode() in Path(f"/proc/{pid}/environ").read_bytes()
    ]
