"""The verbs that show a cluster and ask its functions, against the fake API server and a function of a few lines."""

import fcntl
import http.server
import json
import os
import queue
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from knative_mig.adapters.kube import gpu_models
from knative_mig.adapters.kube.kinds import GPU_NODE
from knative_mig.cli import gpus, invoke, patience
from knative_mig.cli.main import main
from knative_mig.cli.phases import Phases
from knative_mig.core.mig_tables import gpu_model
from knative_mig.dev import whereabouts
from knative_mig.dev.whole.identities import written
from knative_mig.ports.kube import Key
from tests.fake_api import FakeApi

A100 = gpu_model("A100-40GB")
MIG = {"limits": {"nvidia.com/mig-1g.5gb": "1"}}
CHUNKS = (
    {"choices": [{"text": "a litt"}]},
    {"choices": [{"text": "le girl"}]},
    {"choices": [], "usage": {"completion_tokens": 5}},
)


@dataclass
class Function:
    """What it answers, and what it was asked."""

    models: tuple[int, bytes] = (200, json.dumps({"data": [{"id": "tiny-llm"}]}).encode())
    code: int = 200
    events: tuple[bytes, ...] = (*(b"data: %s\n\n" % json.dumps(each).encode() for each in CHUNKS), b"data: [DONE]\n\n")
    content_type: str = "text/event-stream"
    asked: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def function() -> Iterator[Function]:
    function = Function()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            function.asked.append((self.path, self.headers["Host"], {}))
            code, body = function.models
            self._head(code, "application/json", len(body))
            self.wfile.write(body)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            function.asked.append((self.path, self.headers["Host"], body))
            self._head(function.code, function.content_type, sum(map(len, function.events)))
            for each in function.events:
                self.wfile.write(each)

        def _head(self, code: int, content_type: str, length: int) -> None:
            self.send_response(code)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(length))
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's name)
            """Nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    function.url = f"http://tiny.default.localhost:{server.server_address[1]}"
    yield function
    server.shutdown()
    server.server_close()


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as api:
        yield api


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


Verb = Callable[..., Said]


@pytest.fixture
def verb(api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Verb:
    """Runs one on that API server."""
    named = {"name": "c", "cluster": {"server": api.url}}
    context = {"name": "c", "context": {"cluster": "c", "user": "c"}}
    users = [{"name": "c", "user": {}}]
    config = tmp_path / "config"
    config.write_text(json.dumps({"clusters": [named], "contexts": [context], "users": users, "current-context": "c"}))

    def run(*arguments: str) -> Said:
        code = main((*arguments, "--kubeconfig", str(config)))
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return run


def put_function(api: FakeApi, url: str, *, ready: str = "True", newest: str = "") -> None:
    condition = {"type": "Ready", "status": ready, "reason": "RevisionMissing", "message": "no image"}
    api.put_object({
        "apiVersion": "serving.knative.dev/v1", "kind": "Service",
        "metadata": {"name": "tiny", "namespace": "default"},
        "spec": {"template": {"spec": {"containers": [{"resources": MIG}]}}},
        "status": {"conditions": [condition], "latestCreatedRevisionName": newest} | ({"url": url} if url else {}),
    })  # fmt: skip


def put_pod(
    api: FakeApi,
    *,
    node: str = "",
    ready: bool = False,
    state: str = "waiting",
    reason: str = "ContainerCreating",
    ended: int | None = None,
) -> None:
    labels = {"serving.knative.dev/service": "tiny", "serving.knative.dev/revision": "tiny-00001"}
    last = {} if ended is None else {"terminated": {"exitCode": ended, "reason": "Error"}}
    api.put_object({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "tiny-1", "namespace": "default", "labels": labels},
        "spec": {"containers": [{"name": "c", "resources": MIG}]} | ({"nodeName": node} if node else {}),
        "status": {
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [{"name": "c", "state": {state: {"reason": reason}}, "lastState": last}],
        },
    })  # fmt: skip


def put_gpus(api: FakeApi, *, wanted: bool = False, state: str = "") -> None:
    place = {"profile": "1g.5gb", "start": 6, "size": 1}
    holder = {"namespace": "default", "pod": "tiny-1", "container": "c"}
    there = [{**place, "state": state, "migUUID": "MIG-1", "holders": [holder] if state == "Busy" else []}]
    gpu = {"uuid": "GPU-12345678-9", "product": "NVIDIA A100", "model": A100.name, "health": "Healthy"}
    api.put_object({
        "apiVersion": GPU_NODE.group, "kind": "GpuNode", "metadata": {"name": "node-1"},
        "spec": {"fencingToken": 1, "gpus": [{"uuid": gpu["uuid"], "slices": [place] if wanted else []}]},
        "status": {
            "models": [gpu_models.written(A100)],
            "gpus": [{**gpu, "slices": there if state else []}],
        },
    })  # fmt: skip


def test_invoke_prints_the_answer_alone_on_the_standard_output(api: FakeApi, function: Function, verb: Verb) -> None:
    put_function(api, function.url)
    said = verb("invoke", "tiny", "Once upon a time, é", "--max-tokens", "7")
    assert (said.code, said.out) == (0, "a little girl\n")
    lines = said.err.splitlines()
    assert [line.split()[0] for line in lines] == ["held", "first", "5"]
    assert lines[-1].startswith("5 tokens at ")
    host = function.url.removeprefix("http://")
    assert [(path, to) for path, to, _ in function.asked] == [("/v1/models", host), ("/v1/completions", host)]
    wanted = {"model": "tiny-llm", "prompt": "Once upon a time, é", "max_tokens": 7, "stream": True}
    assert wanted.items() <= function.asked[1][2].items()


def test_invoke_of_a_warm_function_has_no_phases_to_tell(api: FakeApi, function: Function, verb: Verb) -> None:
    put_function(api, function.url)
    put_pod(api, node="node-1", ready=True)
    assert verb("invoke", "tiny", "a", "--model", "m").err.splitlines()[0].startswith("first token ")
    assert verb("invoke", "tiny", "a", "-q").err == ""
    assert function.asked[0][2]["model"] == "m"


def test_phases_are_told_as_they_happen(api: FakeApi) -> None:
    put_gpus(api)
    said: queue.SimpleQueue[str] = queue.SimpleQueue()

    def told(count: int = 1) -> list[tuple[str, str]]:
        lines = [said.get(timeout=20).split(maxsplit=3) for _ in range(count)]
        return [(line[0], line[3]) for line in lines]

    with Phases(api.client(), Key("default", "tiny"), said.put) as phases:
        assert told() == [("held", "no replica is ready")]
        put_pod(api)
        assert told() == [("pending", "tiny-1 waits for 1g.5gb")]
        put_gpus(api, wanted=True)
        assert told() == [("planned", "1g.5gb@6 on node-1")]
        put_gpus(api, wanted=True, state="Idle")
        assert told() == [("slice", "1g.5gb@6 on node-1")]
        put_pod(api, node="node-1", state="running")
        assert told() == [("started", "tiny-1")]
        put_pod(api, node="node-1", state="running", ready=True)
        assert told() == [("ready", "tiny-1")]
        assert phases.last == "ready: tiny-1"
    assert said.empty()


_LATE = "504 Gateway Timeout: activator request timeout (it came as far as: held: no replica is ready)"
_TOO_LONG = b'{"error": {"message": "too\\nlong"}}'


@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        pytest.param({"models": (504, b"activator request timeout")}, 3, _LATE, id="late"),
        pytest.param({"models": (404, b"not here\n")}, 1, "OpenAI's API (GET /v1/models: 404 ", id="no model"),
        pytest.param({"models": (200, b"<html>")}, 1, "does not speak OpenAI's API", id="a page"),
        pytest.param({"code": 400, "events": (_TOO_LONG,)}, 1, "400 Bad Request: too long", id="a refusal"),
        pytest.param({"events": (b'data: {"choices": [{"text": "a"}]}\n\n',)}, 1, "the answer broke off", id="broken"),
        pytest.param({"events": (b'data: {"error": {"message": "gone"}}\n\n',)}, 1, "gone", id="error in the stream"),
        pytest.param({"events": (b"data: what\n\n",)}, 1, "a part of the answer is no completion: ", id="nonsense"),
    ],
)
def test_what_a_function_answers_instead_is_one_line(  # noqa: PLR0917  a story's givens
    api: FakeApi, function: Function, verb: Verb, answer: dict[str, Any], code: int, says: str
) -> None:
    for name, value in answer.items():
        setattr(function, name, value)
    put_function(api, function.url)
    said = verb("invoke", "tiny", "a", "-q")
    assert said.code == code
    assert says in said.err
    assert said.err.count("\n") == 1


def test_an_answer_in_one_piece_is_an_answer_too(api: FakeApi, function: Function, verb: Verb) -> None:
    function.content_type, function.events = "application/json", (b'{"choices": [{"text": "whole"}]}',)
    put_function(api, function.url)
    assert verb("invoke", "tiny", "a").out == "whole\n"


def test_a_function_that_cannot_be_asked_is_said(api: FakeApi, function: Function, verb: Verb) -> None:
    assert verb("invoke", "tiny", "a").err == (
        "no function 'tiny' in namespace 'default': there is none; `knative-mig ls` shows all\n"
    )
    empty = Said(2, "", "a function has a name and a namespace, and here one of them is empty\n")
    assert verb("invoke", "", "a") == verb("invoke", "tiny", "a", "-n", "") == empty
    put_function(api, "", ready="False")
    assert verb("invoke", "tiny", "a", "-q") == Said(1, "", "FunctionFailed: default/tiny: RevisionMissing: no image\n")
    put_function(api, function.url, ready="Unknown")
    said = verb("invoke", "tiny", "a", "-q", "--timeout", "0.1")
    assert (said.code, said.err.partition(" (")[0]) == (
        3, "default/tiny: not deployed in 0.1 s: RevisionMissing: no image",
    )  # fmt: skip
    put_function(api, "", ready="Unknown", newest="tiny-00001")
    put_pod(api, node="node-1", reason="CrashLoopBackOff", ended=1)
    said = verb("invoke", "tiny", "a", "-q", "--timeout", "0.1")
    assert said.err == (
        "default/tiny: not deployed in 0.1 s: "
        "tiny-00001: container c: CrashLoopBackOff: it ended with exit code 1 (Error)\n"
    )
    put_function(api, "http://tiny.default.localhost:1")
    said = verb("invoke", "tiny", "a", "-q")
    assert (said.code, said.err) == (
        1, "FunctionFailed: http://tiny.default.localhost:1 at 127.0.0.1:1: Connection refused\n",
    )  # fmt: skip
    put_function(api, "http://tiny.default.invalid")
    assert "name the address of the cluster's gateway with --gateway HOST:PORT" in verb("invoke", "tiny", "a").err
    gateway = function.url.rpartition("//")[2].replace("tiny.default.localhost", "127.0.0.1")
    assert verb("invoke", "tiny", "a", "--gateway", gateway).code == 0
    assert function.asked[-1][1] == "tiny.default.invalid"
    assert "legal is HOST or HOST:PORT" in verb("invoke", "tiny", "a", "--gateway", "a:b").err
    assert verb("invoke", "tina", "a").err.endswith(": there are tiny\n")


def test_the_running_devs_functions_are_asked_at_its_gateway_whatever_their_host(
    api: FakeApi, function: Function, verb: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whereabouts, "home", lambda: tmp_path)
    folder = tmp_path / "12345678"
    folder.mkdir()
    put_function(api, "http://tiny.default.invalid")
    (folder / "gateway").write_text(function.url.replace("http://tiny.default.localhost", "127.0.0.1"))
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        written(folder / "kubeconfig", "http://127.0.0.1:1", "dev")
        assert "with --gateway HOST:PORT" in verb("invoke", "tiny", "a").err  # that one is another
        written(folder / "kubeconfig", api.url, "dev")
        assert verb("invoke", "tiny", "a").out == "a little girl\n"
        assert verb("invoke", "tiny", "a", "--gateway", "127.0.0.1:1").code == 1
    assert function.asked[-1][1] == "tiny.default.invalid"


def test_a_function_that_was_just_made_is_waited_for(
    api: FakeApi, function: Function, verb: Verb, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_function(api, "", ready="Unknown")
    monkeypatch.setattr(invoke, "pause", lambda _: put_function(api, function.url))
    assert verb("invoke", "tiny", "a").out == "a little girl\n"


def test_ls_and_gpus_show_what_is_there(api: FakeApi, function: Function, verb: Verb) -> None:
    assert verb("gpus").out == "no GPUs: no node's agent has reported any\n"
    put_function(api, function.url)
    put_pod(api, node="node-1", ready=True)
    put_gpus(api, wanted=True, state="Busy")
    tiny = verb("ls").out.splitlines()[1].split()
    assert tiny == ["default", "tiny", "ready", "1", "1g.5gb", "1g.5gb@6", "on", "node-1", "GPU-12345678", function.url]
    assert verb("ls", "-n", "shop") == Said(0, "", "No resources found in shop namespace.\n")
    assert verb("ls", "-n", "shop", "--json").out == "[]\n"
    assert json.loads(verb("ls", "--json").out)[0]["slices"][0]["pod"] == "tiny-1"
    assert "    1g.5gb@6  busy  default/tiny-1" in verb("gpus").out.splitlines()
    assert json.loads(verb("gpus", "--json").out)[0]["slices"][0]["state"] == "Busy"
    assert verb("gpus", "--json", "-w").code == 2


def test_why_a_function_is_not_ready_is_said_in_a_line(api: FakeApi, verb: Verb) -> None:
    put_function(api, "", ready="False", newest="tiny-00001")
    put_pod(api, node="node-1", reason="CrashLoopBackOff", ended=1)
    why = "default/tiny: tiny-00001: container c: CrashLoopBackOff: it ended with exit code 1 (Error)"
    assert verb("ls").out.splitlines()[-1] == why
    assert verb("invoke", "tiny", "a", "-q") == Said(1, "", f"FunctionFailed: {why}\n")
    api.faults.fail(403, method="GET", path="/revisions")
    assert verb("ls").out.splitlines()[-1] == why  # who may not read Revisions sees what the pods say


def test_gpus_are_shown_again_when_one_changes(api: FakeApi) -> None:
    put_gpus(api)
    shown: list[str] = []

    def show(text: str) -> None:
        shown.append(text)
        if "busy" in text:
            raise KeyboardInterrupt
        put_gpus(api, wanted=True, state="Busy")

    with pytest.raises(KeyboardInterrupt):
        gpus._watch(api.client(), show, lambda _: None)
    assert "memory 0/8" in shown[0]
    assert "memory 1/8" in shown[-1]


def test_who_watches_gpus_hears_that_nobody_answers_and_sees_them_again_when_somebody_does(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "TELLS_AFTER_S", 0.2)
    monkeypatch.setattr(patience, "AGAIN_AFTER_S", 0.3)
    put_gpus(api)
    shown: list[str] = []
    told: list[str] = []

    def show(text: str) -> None:
        shown.append(text)
        if len(shown) == 2:
            raise KeyboardInterrupt
        api.faults.fail(0, times=1_000)

    def tell(line: str) -> None:
        told.append(line)
        if shown and len(told) >= 2:
            api.faults.mend()

    with pytest.raises(KeyboardInterrupt):
        gpus._watch(api.client(), show, tell)
    assert shown[0] == shown[1]
    assert set(told) == {f"the API server at {api.url} does not answer yet: it is asked until Ctrl-C"}


@pytest.mark.parametrize(("code", "why"), [(403, "Forbidden: GET /apis/"), (500, "ApiUnreachable: GET /apis/")])
def test_who_is_answered_no_when_he_watches_gpus_hears_that_and_not_that_nobody_answers(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, code: int, why: str
) -> None:
    monkeypatch.setattr(patience, "TELLS_AFTER_S", 0.0)
    put_gpus(api)
    api.faults.fail(code, times=1_000, path="watch=1")
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gpus._watch(api.client(), lambda _: None, tell)
    assert told[0].startswith(why)


def test_an_api_server_that_is_away_is_one_line(api: FakeApi, verb: Verb, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(config.read_text().replace(api.url, "http://127.0.0.1:1"))
    said = verb("ls")
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert said.err == (
        "ApiUnreachable: GET /apis/serving.knative.dev/v1/services at http://127.0.0.1:1: Connection refused\n"
    )


@pytest.mark.parametrize("words", [("ls",), ("gpus",), ("invoke", "tiny", "Once"), ("usage",)])
def test_an_api_server_that_does_not_answer_is_told_of_before_and_at_the_end(
    verb: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setattr(patience, "TELLS_AFTER_S", 0.05)
    monkeypatch.setattr(patience, "ANSWERS_WITHIN_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        server = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        config = tmp_path / "config"
        config.write_text(re.sub(r"http://127.0.0.1:\d+", server, config.read_text()))
        first, second = verb(*words).err.splitlines()
        assert first == f"the API server at {server} does not answer yet"
        assert re.fullmatch(f"ApiUnreachable: GET /\\S+ at {server}: no answer in 0.3 s", second)


def test_of_a_dev_that_is_stopped_it_is_said(verb: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "TELLS_AFTER_S", 0.05)
    monkeypatch.setattr(patience, "ANSWERS_WITHIN_S", 0.3)
    monkeypatch.setattr(whereabouts, "home", lambda: tmp_path / "home")
    folder = tmp_path / "home" / "dev"
    folder.mkdir(parents=True)
    with (
        socket.create_server(("127.0.0.1", 0)) as deaf,
        subprocess.Popen(["sleep", "60"]) as dev,
        (folder / "lock").open("w") as lock,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        print(dev.pid, file=lock, flush=True)
        server = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        written(folder / "kubeconfig", server, "user")
        (tmp_path / "config").write_text((folder / "kubeconfig").read_text())
        os.kill(dev.pid, signal.SIGSTOP)
        os.waitpid(dev.pid, os.WUNTRACED)
        stopped = f"(knative-mig dev, process {dev.pid}, is stopped: kill -CONT {dev.pid} lets it go on)"
        assert verb("ls").err.splitlines() == [
            f"the API server at {server} does not answer yet {stopped}",
            f"ApiUnreachable: GET /apis/serving.knative.dev/v1/services at {server}: no answer in 0.3 s {stopped}",
        ]
        dev.kill()


def test_who_wants_the_answer_alone_is_not_told_that_it_takes_its_time(
    verb: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "TELLS_AFTER_S", 0.05)
    monkeypatch.setattr(patience, "ANSWERS_WITHIN_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        config = tmp_path / "config"
        config.write_text(re.sub(r"127.0.0.1:\d+", f"127.0.0.1:{deaf.getsockname()[1]}", config.read_text()))
        assert verb("invoke", "tiny", "Once", "-q").err.count("\n") == 1
