"""What people get wrong, and what they are told: the rest goes on."""

import http.client
import json
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.function import Function, ask
from tests.cluster.waits import eventually
from tests.dev.client import Client
from tests.dev_suite.conftest import QUICK
from tests.dev_suite.running import At, processes_of, refused

Handle = Callable[[str], Function]
_GB = 1 << 30


def test_a_field_that_does_not_exist_is_named(kubectl: Client) -> None:
    service = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": "hello"},
        "spec": {"template": {"spec": {"containers": [{"image": "none", "imagee": "none"}]}, "specc": {}}},
    }
    said = kubectl.fails("apply", "--filename", "-", stdin=json.dumps(service))
    assert 'unknown field "spec.template.spec.containers[0].imagee"' in said
    assert 'unknown field "spec.template.specc"' in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--annotation", "knative-mig.dev/movable=perhaps"), "knative-mig.dev/movable"),
        (("--annotation", "autoscaling.knative.dev/window=1s"), "autoscaling.knative.dev/window"),
        (("--scale-min", "3", "--scale-max", "2"), "max-scale=2 is less than min-scale=3"),
        (("--limit", "nvidia.com/mig-3g.20gb=2"), "nvidia.com/mig-3g.20gb"),
    ],
    ids=["our annotation", "Knative's annotation", "bounds", "two slices"],
)
def test_who_is_asked_before_a_write_says_what_is_wrong(kn: Client, words: tuple[str, ...], said: str) -> None:
    assert said in kn.fails("service", "create", "hello", *QUICK, *words)
    assert "No services found" in kn("service", "list")


@pytest.mark.parametrize(
    ("command", "exit_code", "told"),
    [
        (("--cmd", "/no/such/program"), 128, 'exec: "/no/such/program": no such file or directory'),
        (("--cmd", "sh", "--arg", "-c", "--arg", "echo I cannot; exit 3"), 3, "I cannot"),
    ],
    ids=["no such program", "exits at once"],
)
def test_a_command_that_does_not_run_backs_off_and_its_log_is_there(
    kubectl: Client, kn: Client, *, handle: Handle, command: tuple[str, ...], exit_code: int, told: str
) -> None:
    said = kn.fails("service", "create", "broken", "--image", "none", "--timeout", "15", *command)
    assert "RevisionFailed" in said
    assert told in said
    eventually("it backs off", lambda: kubectl("get", "pods"), lambda listed: "CrashLoopBackOff" in listed)
    [pod] = handle("broken").pods()
    [status] = pod["status"]["containerStatuses"]
    assert status["restartCount"] >= 1
    assert status["lastState"]["terminated"]["exitCode"] == exit_code
    name = pod["metadata"]["name"]
    if exit_code == 3:
        eventually("it has said so", lambda: kubectl("logs", name), lambda log: log == f"{told}\n")
        assert kubectl("logs", name, "--previous") == f"{told}\n"
    assert "BackOff" in kubectl("get", "events", "--field-selector", f"involvedObject.name={name}")
    assert f"ExitCode{exit_code}" in kn("service", "describe", "broken")
    kn("service", "delete", "broken", "--wait")
    assert "No resources found" in kubectl.run("get", "pods").stderr


def test_an_image_that_is_not_there_is_told_with_those_that_are(kn: Client) -> None:
    said = kn.fails("service", "create", "hello", "--image", "docker.io/library/nginx")
    assert "pulls no images" in said
    assert "dev.local/tiny-llm" in said


@pytest.mark.parametrize(
    "host", [b"", b"...", b"a b", b"h\xc3\xa9llo", b"\xff\xfe", b"[::1", b"hello.default.localhost:abc", b"../../etc",
             b"a" * 9000],
    ids=["none", "dots", "a space", "an accent", "no text", "half an address", "a word for a port", "a path", "long"],
)  # fmt: skip
def test_a_host_that_is_none_is_told(dev: At, host: bytes) -> None:
    with socket.create_connection(("127.0.0.1", dev.port), timeout=30) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status == 400
        assert "legal is NAME.NAMESPACE.localhost" in answer.read().decode()


def test_a_host_of_nobody_is_told_with_those_that_are(kn: Client, dev: At, handle: Handle) -> None:
    kn("service", "create", "hello", *QUICK)
    answer = ask(dev.gateway, "nobody.default.localhost")
    assert answer.status == 404
    assert handle("hello").host in answer.text


def test_a_body_is_taken_as_it_is(kn: Client, handle: Handle, curl: Callable[..., str], tmp_path: Path) -> None:
    kn("service", "create", "hello", *QUICK)
    hello = handle("hello")
    host = ("--header", f"Host: {hello.host}", f"http://{hello.gateway}/")
    body = tmp_path / "body"
    body.write_bytes(b"\xff\xfe\x00\x01" * 1000)
    assert curl("--data-binary", f"@{body}", *host) == "4000 bytes that begin with fffe0001fffe0001\n"


def test_a_gigabyte_is_refused_and_not_kept(dev: At, curl: Callable[..., str], tmp_path: Path) -> None:
    body = tmp_path / "body"
    with body.open("wb") as file:
        file.truncate(_GB)
    before = _most_memory(dev)
    said = curl(
        "--request", "POST", "--header", "Content-Type: application/json", "--upload-file", str(body),
        f"{dev.api}/api/v1/namespaces/default/configmaps",
    )  # fmt: skip
    status = json.loads(said)
    assert (status["code"], status["reason"]) == (413, "RequestEntityTooLarge")
    assert _most_memory(dev) - before < _GB / 4  # other tests have something of it at the same time


def test_what_is_no_json_is_told(dev: At, curl: Callable[..., str], namespace: str) -> None:
    said = curl(
        "--header", "Content-Type: application/json", "--data-binary", "@/bin/true",
        f"{dev.api}/api/v1/namespaces/{namespace}/configmaps",
    )  # fmt: skip
    assert json.loads(said)["code"] == 400


@pytest.mark.parametrize("option", ["--port", "--api-port"])
def test_a_port_that_is_taken_is_told_at_once(dev: At, option: str) -> None:
    taken = str(dev.port)
    assert refused(option, taken).splitlines() == [f"port {taken} is taken: {option} says another one, 0 takes any"]


def test_a_part_that_cannot_start_ends_it_and_is_told_with_what_it_said(tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    said = refused("--state", state, code=1, KNATIVE_MIG_SENDERS="many").splitlines()
    assert len(said) == 1
    assert "PartFailed: source ends each time that it is started: it ended with exit code 2" in said[0]
    assert "'many' is not a valid integer" in said[0]
    assert said[0].endswith(f"its log: {state}/logs/source.log")
    assert not processes_of(state)


def _most_memory(dev: At) -> int:
    """That its process has had at any time, in bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{dev.pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024
