"""What becomes of `dev` when parts of it are killed, when it is killed itself, and when its user ends it.

Each test breaks a `dev` of its own.
"""

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from tests.cluster.api import POD, Api
from tests.cluster.function import Function
from tests.cluster.load import Load
from tests.cluster.slices import GpuNodeView
from tests.cluster.waits import eventually
from tests.dev_suite.conftest import QUICK
from tests.dev_suite.own import NAMESPACE, OPTIONS, api_of, client_of, function_of
from tests.dev_suite.parts import Parts
from tests.dev_suite.running import At, interrupted, leaves_nothing, processes_of, started
from tests.rigs.running_dev import AS_IN_A_TERMINAL, WITHIN_S, RunningDev

_SLICE: Final = ("--limit", "nvidia.com/mig-1g.5gb=1")
_TRIES: Final = 5
_PARTS: Final = {
    "planner": "reconfigurer.planner",
    "agent-of-node-1": "reconfigurer.agent",
    "webhook": "activator_hooks.webhook",
    "source": "activator_hooks.source",
}


@pytest.fixture
def own() -> Iterator[RunningDev]:
    with started(*OPTIONS) as dev:
        yield dev


def test_a_part_that_is_killed_is_started_again_and_nobody_who_is_served_hears_of_it(
    own: RunningDev, home: Path
) -> None:
    kn = client_of(own, "kn", home)
    kn("service", "create", "steady", *QUICK, *_SLICE, "--scale-min", "1")
    load = Load(function_of(own, "steady"))
    load.start(1)
    try:
        for part, module in _PARTS.items():
            for process, command in At.of(own).processes().items():
                if module in command:
                    os.kill(process, signal.SIGKILL)
            own.hear(f"{part} was ended by SIGKILL and is started again")
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


@pytest.mark.long
def test_a_part_that_hangs_is_ended_and_started_again_as_a_kubelet_would(own: RunningDev, home: Path) -> None:
    kn = client_of(own, "kn", home)
    for module in _PARTS.values():  # at once: it takes the probes half a minute to be sure
        for process, command in At.of(own).processes().items():
            if module in command:
                os.kill(process, signal.SIGSTOP)
    for part in _PARTS:
        own.hear(f"{part} failed its liveness probe 3 times in a row")
    eventually(
        "a function is made",
        lambda: kn.run("service", "apply", "after", *QUICK, *_SLICE),
        lambda done: done.returncode == 0,
    )
    assert function_of(own, "after").ask().text == "hello\n"
    assert own.said.count("is started again") == len(_PARTS)


def test_a_replica_that_is_killed_is_started_again(own: RunningDev, home: Path) -> None:
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


def test_under_chaos_functions_are_served_and_what_is_killed_is_said_and_comes_back(home: Path) -> None:
    """Nobody can know whom it kills next; but nobody is killed twice in a test's time, so in the end everybody was."""
    with started(*OPTIONS, "--chaos", "1") as dev:
        api, kn, parts = api_of(dev), client_of(dev, "kn", home), Parts(dev.process.pid, Path(At.of(dev).logs))

        def made(name: str, *words: str) -> Function:
            # A replica that ends while its agent is away waits ten seconds, as a kubelet has it wait.
            asked = ("service", "apply", name, *QUICK, "--timeout", "60", *words)
            eventually(f"{name} is made", lambda: kn.run(*asked), lambda done: done.returncode == 0)
            return function_of(dev, name)

        steady = made("steady", *_SLICE, "--scale-min", "2")
        load = Load(steady)
        load.start(1)
        try:
            for name in (*_PARTS, "default/steady-"):
                dev.hear(f"chaos: {name}")
            for name, module in _PARTS.items():
                dev.hear(f"{name} was ended by SIGKILL and is started again")
                parts.wait_ready(module)
            made("late", "--limit", "nvidia.com/mig-3g.20gb=1", "--scale-init", "0").answers()
            load.go_on(50)
        finally:
            load.end()
        assert not [each for each in load.failed if ": 502 " not in each]  # of a replica that was killed

        steady.wait_pods(2)
        eventually(
            "no slice is kept for who has gone",
            lambda: ({each["metadata"]["name"] for each in api.items(POD, NAMESPACE)}, _holders(api)),
            lambda seen: seen[0] == seen[1],
        )
        assert interrupted(dev) == 0
        leaves_nothing(str(dev.folder))


def test_a_dev_that_is_killed_leaves_no_process_and_the_next_one_no_file(own: RunningDev, home: Path) -> None:
    kn = client_of(own, "kn", home)
    kn("service", "create", "hello", *QUICK, *_SLICE, "--scale-min", "1")
    assert any("answering" in command for command in At.of(own).processes().values())
    ports = ("--port", str(own.port), "--api-port", own.api.rpartition(":")[2])
    own.process.kill()
    eventually("its processes have gone", lambda: processes_of(str(own.folder)), lambda left: not left)
    with started(*OPTIONS, *ports) as following:
        assert not own.folder.exists()
        kn = client_of(following, "kn", home)
        kn("service", "create", "hello", *QUICK, *_SLICE)

        # Its user ends it, and who is being served gets the rest.
        answers: list[bytes] = []
        asking = threading.Thread(target=lambda: answers.append(_slow(following, "hello", "3")))
        asking.start()
        eventually("it is served", lambda: "GET /slow/3" in _pod_logs(following))
        assert interrupted(following) == 0
        asking.join()
        assert answers == [b"hello\n"]
        leaves_nothing(str(following.folder))


def test_a_terminal_that_is_closed_ends_it_and_who_says_so_once_more_waits_for_nobody(
    own: RunningDev, home: Path
) -> None:
    kn = client_of(own, "kn", home)
    kn("service", "create", "hello", *QUICK, "--timeout", "500")
    asking = threading.Thread(target=_slow, args=(own, "hello", "300"))
    asking.start()
    eventually("it is served", lambda: "GET /slow/300" in _pod_logs(own))
    own.process.send_signal(signal.SIGHUP)
    own.hear("ending")
    assert own.process.poll() is None
    assert interrupted(own) == 0
    asking.join()
    leaves_nothing(str(own.folder))


def test_of_one_that_is_stopped_a_verb_says_so_and_goes_on_when_it_does(own: RunningDev) -> None:
    own.process.send_signal(signal.SIGSTOP)
    verb = (sys.executable, "-m", "knative_mig.cli", "ls", "--kubeconfig", str(At.of(own).kubeconfig))
    with subprocess.Popen(verb, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as listing:
        try:
            assert listing.stderr is not None
            pid = own.process.pid
            assert listing.stderr.readline() == (
                f"the API server at {own.api} does not answer yet (knative-mig dev, process {pid}, is stopped: "
                f"kill -CONT {pid} lets it go on)\n"
            )
        finally:
            own.process.send_signal(signal.SIGCONT)
        said, _ = listing.communicate(timeout=WITHIN_S)
    assert (said, listing.returncode) == ("no functions: make one with `kn service create`\n", 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("after_s", [0.0, 0.2, 0.5, 0.9])
def test_who_is_told_to_end_before_he_is_ready_does_so_without_a_word(
    tmp_path: Path, after_s: float, number: signal.Signals
) -> None:
    state = str(tmp_path / "state")
    for _ in range(_TRIES):
        said, code = _told_to_end(state, after_s, number)
        if "ready in" not in said:
            break  # else it was told too late: whoever looks may have been held up
    assert (said.strip(), code) in (("", 128 + number), ("", -number))
    eventually("its processes have gone", lambda: processes_of(state), lambda left: not left)


def _told_to_end(state: str, after_s: float, number: signal.Signals) -> tuple[str, int]:
    program = (*AS_IN_A_TERMINAL, sys.executable, "-m", "knative_mig.cli", "dev")
    options = ("--port", "0", "--api-port", "0", "--state", state)
    with subprocess.Popen((*program, *options), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as dev:
        _has_begun(dev.pid)
        time.sleep(after_s)
        dev.send_signal(number)
        said, _ = dev.communicate(timeout=WITHIN_S)
        return said, dev.returncode


def _has_begun(pid: int) -> None:
    """Waits until Python's own start is over, which prints where it was interrupted: while the verb is imported then
    nobody catches SIGINT. Whoever did not look just then sees later that SIGTERM is caught, which Python's start never
    does.
    """
    deadline, was_caught = time.monotonic() + WITHIN_S, False
    while not (was_caught and not _catches(pid, signal.SIGINT)) and not _catches(pid, signal.SIGTERM):
        was_caught = was_caught or _catches(pid, signal.SIGINT)
        assert time.monotonic() < deadline
        time.sleep(0.001)


def _catches(pid: int, number: signal.Signals) -> bool:
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return bool(int(lines["SigCgt"], 16) >> (number - 1) & 1)


def _slow(dev: RunningDev, name: str, seconds: str) -> bytes:
    """An answer after so long; none where it is cut off."""
    connection = http.client.HTTPConnection("127.0.0.1", dev.port)
    with closing(connection):
        connection.request("GET", f"/slow/{seconds}", headers={"Host": f"{name}.default.localhost"})
        try:
            return connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return b""


def _pod_logs(dev: RunningDev) -> str:
    logs = Path(At.of(dev).logs).parent / "pods"
    return "".join(path.read_text() for path in logs.rglob("*") if path.is_file())


def _holders(api: Api) -> set[str]:
    """The pods that slices are held for; of one that is busy without, its own name."""
    busy = [each for each in GpuNodeView("node-1", api).slices() if each.state != "Idle"]
    return {pod for each in busy for pod in each.holders or (str(each),)}


def _of_pod(dev: RunningDev, uid: str) -> list[int]:
    """The function's own processes, not who minds them."""
    return [
        pid
        for pid, command in At.of(dev).processes().items()
        if "answering" in command and uid.encode() in Path(f"/proc/{pid}/environ").read_bytes()
    ]
