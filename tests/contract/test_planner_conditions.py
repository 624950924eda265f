"""What a waiting pod's status says, by the whole planner process: it stays where Events expire, and is written once."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from knative_mig.adapters.kube import parse
from knative_mig.adapters.kube.kinds import EVENT, POD
from knative_mig.core.gpu_node import Condition
from knative_mig.ports.kube import Key
from reconfigurer.planner.process import Planner
from tests.contract.planner_rig import (
    answer,
    gates,
    offer,
    planner,
    pod,
    pod_object,
    put_node,
    read,
    spec_of,
    until,
)
from tests.fake_api import FakeApi
from tests.rigs.small_cluster import gpu

FULL = {"4g.20gb@0": "busy", "3g.20gb@4": "goes"}
FREE = {"4g.20gb@0": "busy", "3g.20gb@4": None}
UNREADY = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as api:
        put_node(api, gpu("GPU-1", FULL))
        api.put_object(pod_object("busy", "4g.20gb", node="n1"))
        api.put_object(pod_object("goes", "3g.20gb", node="n1"))
        yield api


def comes(api: FakeApi) -> None:
    """As the API server makes one that is gated."""
    made = pod_object("llm", "3g.20gb", gated=True)
    api.put_object({**made, "status": {"phase": "Pending", "conditions": [UNREADY]}})


def goes(api: FakeApi) -> None:
    api.remove_object(POD, Key("team", "goes"))
    answer(api, **{"GPU-1": FREE})
    offer(api)


def told(api: FakeApi) -> Condition | None:
    return parse.pod(pod(api, "llm")).told


def says(api: FakeApi, reason: str) -> bool:
    found = told(api)
    return found is not None and found.reason == reason


def writes(api: FakeApi) -> int:
    return len([path for method, path in api.requests if method == "PATCH" and path.endswith("/pods/llm/status")])


def stamped(api: FakeApi, token: int = 1) -> None:
    until(api, lambda: spec_of(api).spec.fencing_token == token)
    answer(api)


def plans_on(leader: Planner) -> None:
    """Some rounds more."""
    before = rounds(leader)
    while rounds(leader) < before + 3:
        leader.stop.wait(0.02)


def rounds(leader: Planner) -> float:
    lines = read(leader, "/metrics").splitlines()
    found = [line for line in lines if line.startswith('knative_mig_planner_rounds_total{outcome="planned"}')]
    return float(found[0].split()[1]) if found else 0.0


def test_a_pod_that_waits_says_why_and_then_that_it_was_given_its_slice(api: FakeApi) -> None:
    with planner(api):
        stamped(api)
        comes(api)
        until(api, lambda: says(api, "NoFreePlace"))
        waits = told(api)
        until(api, lambda: any(each["involvedObject"]["name"] == "llm" for each in api.objects(EVENT)))
        goes(api)
        until(api, lambda: says(api, "SliceGiven") and not gates(api, "llm"))
        given = told(api)
    assert waits is not None
    assert given is not None
    assert (waits.status, given.status) == (False, True)
    assert "what would help: team/goes-00001 scaling to zero" in waits.message
    assert given.message.startswith("3g.20gb@4 of GPU-1 on n1, reuse")
    assert waits.message in [each["message"] for each in api.objects(EVENT) if each["reason"] == "NoFreePlace"]
    assert UNREADY in pod(api, "llm")["status"]["conditions"]
    assert writes(api) == 2


def test_a_pod_that_is_served_at_once_has_no_such_condition(api: FakeApi) -> None:
    goes(api)
    with planner(api) as leader:
        stamped(api)
        comes(api)
        until(api, lambda: not gates(api, "llm"))
        plans_on(leader)
    assert told(api) is None
    assert writes(api) == 0


def test_a_new_leader_leaves_it_as_it_is_and_says_when_it_is_over(api: FakeApi) -> None:
    leading = ExitStack()
    leading.enter_context(planner(api, "planner-a"))
    stamped(api)
    comes(api)
    until(api, lambda: says(api, "NoFreePlace"))
    before = told(api)
    with planner(api, "planner-b") as follower:
        leading.close()
        stamped(api, 2)
        plans_on(follower)
        assert told(api) == before
        assert writes(api) == 1
        goes(api)
        until(api, lambda: says(api, "SliceGiven"))
    assert writes(api) == 2


@pytest.mark.parametrize("code", [0, 500, 429, 403])
def test_an_api_server_that_does_not_take_it_keeps_nobody_from_a_slice(api: FakeApi, code: int) -> None:
    api.faults.fail(code, times=1000, method="PATCH", path="/pods/llm/status")
    with planner(api) as leader:
        until(api, lambda: spec_of(api).spec.fencing_token == 1)
        answer(api)
        comes(api)
        while "knative_mig_planner_condition_writes_total{" not in read(leader, "/metrics"):
            leader.stop.wait(0.02)
        goes(api)
        until(api, lambda: not gates(api, "llm"))
    assert told(api) is None


def test_what_was_not_taken_for_a_moment_is_written_when_it_is(api: FakeApi) -> None:
    api.faults.fail(500, times=2, method="PATCH", path="/pods/llm/status")
    with planner(api):
        stamped(api)
        comes(api)
        until(api, lambda: says(api, "NoFreePlace"))
    assert writes(api) == 3
