"""A function's life by kn: made, served, at zero and back, updated with its traffic split, rolled back, gone."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.api import AUTOSCALER, DEPLOYMENT, POD, REVISION, SERVERLESS_SERVICE, SERVICE, Api
from tests.cluster.function import Function
from tests.cluster.slices import GpuNodeView
from tests.cluster.waits import eventually, until_all
from tests.dev.client import Client
from tests.dev_suite.conftest import QUICK, TINY
from tests.dev_suite.running import At

Handle = Callable[[str], Function]
Curl = Callable[..., str]


def test_an_update_shares_the_traffic_and_a_rollback_takes_it_back(kn: Client, handle: Handle, curl: Curl) -> None:
    said = kn("service", "create", "hello", *QUICK, "--env", "ANSWER=first")
    hello = handle("hello")
    url = f"http://{hello.host}:{hello.gateway.partition(':')[2]}"
    assert url in said
    assert curl(url) == "first\n"
    row = kn("service", "list").splitlines()[1].split()
    assert row[:3] == ["hello", url, "hello-00001"]
    assert "True" in row

    kn("service", "update", "hello", "--env", "ANSWER=second", "--traffic", "hello-00001=50", "--traffic", "@latest=50")
    assert hello.revisions() == ["hello-00001", "hello-00002"]
    eventually("both revisions answer", lambda: _asked(hello, 10), lambda answers: len(answers) == 2)
    answers = _asked(hello, 100)
    # 100 fair coins fall outside of 25..75 once in some million runs.
    assert 25 <= answers["first\n"] <= 75, answers
    described = kn("service", "describe", "hello")
    assert "50%  @latest (hello-00002)" in described

    kn("service", "update", "hello", "--traffic", "hello-00001=100", "--tag", "hello-00002=candidate")
    eventually("the old revision has it all", lambda: _asked(hello, 30), lambda answers: set(answers) == {"first\n"})
    assert curl(url.replace("http://", "http://candidate-")) == "second\n"
    assert kn("revision", "list", "--service", "hello").count("True") == 2


def test_a_deletion_leaves_nothing(kn: Client, handle: Handle, api: Api, dev: At, namespace: str) -> None:
    kn("service", "create", "hello", *QUICK, "--limit", "nvidia.com/mig-1g.5gb=1")
    hello = handle("hello")
    assert hello.ask().text == "hello\n"
    [pod] = hello.pods()
    uid = pod["metadata"]["uid"]
    assert _processes_of_pod(uid)

    kn("service", "delete", "hello", "--wait")
    for kind in (SERVICE, REVISION, AUTOSCALER, SERVERLESS_SERVICE, DEPLOYMENT, POD):
        until_all(api, kind, namespace, f"no {kind.plural} left", lambda world: not world)
    assert hello.ask().status == 404
    assert "No services found" in kn("service", "list")
    assert not _processes_of_pod(uid)
    nodes = [GpuNodeView(name, api) for name in ("node-1", "node-2")]
    eventually(
        "no slice is held by its pod",
        lambda: [str(each) for node in nodes for each in node.slices() if pod["metadata"]["name"] in each.holders],
        lambda held: not held,
    )
    eventually(  # more than one look, too, where files of other tests go while it looks
        "no file is its pod's",
        lambda: [path for path in Path(dev.folder).rglob("*") if uid in str(path) or namespace in str(path)],
        lambda left: not left,
    )


@pytest.mark.long
def test_a_function_goes_to_zero_and_a_request_brings_it_back(kn: Client, handle: Handle, curl: Curl) -> None:
    kn("service", "create", "tiny", *TINY, "--limit", "nvidia.com/mig-1g.5gb=1", "--timeout", "60")
    tiny = handle("tiny")
    tiny.wait_zero()
    url = f"http://{tiny.host}:{tiny.gateway.partition(':')[2]}/v1/completions"
    assert "choices" in curl(url, "--json", '{"model": "tiny-llm", "prompt": "Once upon a time"}')
    assert tiny.pods()


def _asked(function: Function, times: int) -> Counter[str]:
    return Counter(function.ask().text for _ in range(times))


def _processes_of_pod(uid: str) -> list[str]:
    name = uid.encode()
    return [str(each) for each in Path("/proc").glob("[0-9]*/environ") if name in _read(each)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
