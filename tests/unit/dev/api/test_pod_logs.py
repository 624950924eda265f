"""Whose log `kubectl logs` is answered with, and with which words it is refused."""

import asyncio
from typing import Any

import pytest

from knative_mig.dev.api import pod_logs
from knative_mig.dev.api.refusals import Refusal
from knative_mig.dev.http.messages import Request
from tests.rigs.api_server import PODS, Json, Rig

RUNS: Json = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
ENDED: Json = {"terminated": {"exitCode": 1}}


def waits(reason: str) -> Json:
    return {"waiting": {"reason": reason}}


def pod(state: Json, restarts: int = 0, last: Json | None = None, **spec: Any) -> Json:
    told = {"name": "main", "ready": False, "restartCount": restarts, "state": state, "lastState": last or {}}
    return {
        "metadata": {"name": "chat"},
        "spec": {"containers": [{"name": "main", "image": "x"}], **spec},
        "status": {"containerStatuses": [told]},
    }


@pytest.mark.parametrize(
    ("of", "life", "before"),
    [
        pytest.param(pod(RUNS), 0, None, id="runs, and is not ready"),
        pytest.param(pod(RUNS, 3, ENDED), 3, 2, id="was started again"),
        pytest.param(pod(waits("CrashLoopBackOff"), 3, ENDED), 3, 3, id="waits to be started again"),
        pytest.param(pod(ENDED), 0, None, id="has ended"),
        pytest.param(pod(ENDED, 1, ENDED), 1, 0, id="has ended again"),
    ],
)
def test_the_log_is_of_the_life_that_runs_or_ran_last(of: Json, life: int, before: int | None) -> None:
    assert pod_logs.life_of(of, "main", previous=False) == life
    if before is not None:
        assert pod_logs.life_of(of, "main", previous=True) == before
    else:
        with pytest.raises(Refusal, match=r'^previous terminated container "main" in pod "chat" not found$'):
            pod_logs.life_of(of, "main", previous=True)


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        ("ContainerCreating", "ContainerCreating"),
        ("CreateContainerConfigError", "CreateContainerConfigError"),
        ("ErrImagePull", "image can't be pulled"),
        ("ImagePullBackOff", "trying and failing to pull image"),
    ],
)
def test_one_that_never_ran_says_what_it_waits_for(reason: str, why: str) -> None:
    with pytest.raises(Refusal, match=f'^container "main" in pod "chat" is waiting to start: {why}$'):
        pod_logs.life_of(pod(waits(reason)), "main", previous=False)


def test_one_of_which_nothing_is_told_yet_is_not_available() -> None:
    with pytest.raises(Refusal, match=r'^container "main" in pod "chat" is not available$'):
        pod_logs.life_of({**pod(RUNS), "status": {}}, "main", previous=False)


def test_a_container_is_named_where_there_are_several_and_one_of_the_start_always() -> None:
    two = pod(RUNS, containers=[{"name": "main"}, {"name": "side"}], initContainers=[{"name": "first"}])
    assert pod_logs.container_of(pod(RUNS), "") == "main"
    assert pod_logs.container_of(two, "first") == "first"
    with pytest.raises(Refusal, match=r"must be specified for pod chat, choose one of: \[first main side\]$"):
        pod_logs.container_of(two, "")
    with pytest.raises(Refusal, match=r"^container other is not valid for pod chat$"):
        pod_logs.container_of(two, "other")


def test_a_pod_that_no_node_has_yet_has_nothing_to_say_and_that_is_no_error() -> None:
    rig = Rig()
    rig.create(PODS, "chat", spec=pod(RUNS)["spec"])
    assert rig.send("GET", f"{PODS}/chat/log")[:2] == (204, b"")


def test_a_running_container_that_has_said_nothing_has_an_empty_log() -> None:
    rig = Rig()
    rig.create(PODS, "chat", spec=pod(RUNS, nodeName="node-1")["spec"])
    rig.merge(f"{PODS}/chat/status", {"status": pod(RUNS)["status"]})
    asked = Request(method="GET", target=f"{PODS}/chat/log?tailLines=3", headers={"host": "127.0.0.1"})
    answer = rig.server.service.handle(asked)
    assert answer.status == 200
    assert answer.stream is not None
    stream = answer.stream

    async def said() -> bytes:
        return b"".join([each async for each in stream])

    assert asyncio.run(said()) == b""
