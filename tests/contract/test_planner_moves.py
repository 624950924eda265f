"""A whole move by the whole planner process on an API server: what it writes, step by step, on Revisions and pods.

The test is Knative and the agent: it answers each write as they would.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from knative_mig.adapters.kube.floor_objects import RECORDS
from knative_mig.adapters.kube.kinds import CONFIG_MAP, GPU_NODE, POD, REVISION
from knative_mig.adapters.kube.move_objects import MOVES
from knative_mig.ports.kube import Key
from tests.contract.planner_rig import (
    answer,
    gates,
    notes,
    offer,
    phases,
    planner,
    pod,
    pod_object,
    put_node,
    until,
    wanted,
)
from tests.fake_api import FakeApi
from tests.rigs.small_cluster import gpu

COST = "controller.kubernetes.io/pod-deletion-cost"
MIN = "autoscaling.knative.dev/min-scale"


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """Two GPUs: a movable function sits where a pod that wants all of the first would go."""
    with FakeApi() as api:
        put_node(api, gpu("GPU-1", {"3g.20gb@4": "old"}), gpu("GPU-2", {"4g.20gb@0": "fixed"}))
        put_pod(api, "old", "3g.20gb", revision="llm-00001", node="n1")
        put_pod(api, "fixed", "4g.20gb", node="n1")
        api.put_object(revision())
        yield api


def revision() -> dict[str, Any]:
    about = {
        "namespace": "team",
        "name": "llm-00001",
        "uid": "uid-llm-00001",
        "labels": {"serving.knative.dev/service": "llm", "serving.knative.dev/configurationGeneration": "1"},
        "annotations": {"autoscaling.knative.dev/target-burst-capacity": "-1"},
    }
    status = {"conditions": [{"type": "Ready", "status": "True"}], "desiredReplicas": 1}
    return {"apiVersion": REVISION.group, "kind": "Revision", "metadata": about, "spec": {}, "status": status}


def put_pod(api: FakeApi, name: str, profile: str, *, revision: str = "", node: str = "", gated: bool = False) -> None:
    movable = {"knative-mig.dev/movable": "true"} if revision else {}
    api.put_object(pod_object(name, profile, revision=revision, node=node, gated=gated, notes=movable))


def floor(api: FakeApi) -> str | None:
    (body,) = api.objects(REVISION)
    found: str | None = body["metadata"]["annotations"].get(MIN)
    return found


def settle(api: FakeApi, first: Mapping[str, str | None], second: Mapping[str, str | None]) -> None:
    """The agent has carried out the spec: what stands on each GPU."""
    answer(api, **{"GPU-1": first, "GPU-2": second})


def begin_a_move(api: FakeApi) -> None:
    """For one that needs a whole GPU: until one pod more is asked for of the function that is in its way."""
    until(api, lambda: bool(notes(api, RECORDS)) and bool(notes(api, MOVES)))
    answer(api)
    put_pod(api, "whole", "7g.40gb", gated=True)
    until(api, lambda: wanted(api) == ["4g.20gb@0", "3g.20gb@4"])
    settle(api, {"3g.20gb@4": "old"}, {"4g.20gb@0": "fixed", "3g.20gb@4": None})
    offer(api)
    until(api, lambda: floor(api) == "2")


def test_a_function_moves_aside_and_nothing_but_its_three_values_and_its_mark_was_written(api: FakeApi) -> None:
    with planner(api):
        begin_a_move(api)
        assert COST not in pod(api, "old")["metadata"]["annotations"]
        put_pod(api, "new", "3g.20gb", revision="llm-00001", gated=True)

        until(api, lambda: not gates(api, "new"))
        assert pod(api, "new")["spec"]["nodeSelector"] == {"kubernetes.io/hostname": "n1"}
        put_pod(api, "new", "3g.20gb", revision="llm-00001", node="n1")
        settle(api, {"3g.20gb@4": "old"}, {"4g.20gb@0": "fixed", "3g.20gb@4": "new"})

        until(api, lambda: COST in pod(api, "old")["metadata"]["annotations"])
        until(api, lambda: floor(api) is None)
        assert COST not in pod(api, "new")["metadata"]["annotations"]
        assert phases(api) == ["Leaving"]
        api.remove_object(POD, Key("team", "old"))
        settle(api, {"3g.20gb@4": None}, {"4g.20gb@0": "fixed", "3g.20gb@4": "new"})

        until(api, lambda: wanted(api) == ["7g.40gb@0", "4g.20gb@0", "3g.20gb@4"])
        settle(api, {"7g.40gb@0": None}, {"4g.20gb@0": "fixed", "3g.20gb@4": "new"})
        offer(api)
        until(api, lambda: not gates(api, "whole"))
        put_pod(api, "whole", "7g.40gb", node="n1")

        until(api, lambda: phases(api) == [])
        until(api, lambda: set(notes(api, RECORDS)) == {"fencing-token"})
        assert notes(api, "floor-move") == {}
    (left,) = api.objects(REVISION)
    assert left["metadata"]["annotations"] == revision()["metadata"]["annotations"]
    assert left["spec"] == {}
    patched = {path.partition("?")[0].partition("/namespaces/")[2] for what, path in api.requests if what == "PATCH"}
    assert {each for each in patched if "/revisions/" in each} == {"team/revisions/llm-00001"}
    assert GPU_NODE.plural in {path.split("/")[4].partition("?")[0] for what, path in api.requests if what == "PATCH"}


def test_a_new_leader_goes_on_where_the_old_one_stopped(api: FakeApi) -> None:
    with planner(api, "planner-a"):
        begin_a_move(api)
    put_pod(api, "new", "3g.20gb", revision="llm-00001", node="n1")
    with planner(api, "planner-b"):
        until(api, lambda: notes(api, MOVES).get("fencing-token") == "2")
        settle(api, {"3g.20gb@4": "old"}, {"4g.20gb@0": "fixed", "3g.20gb@4": "new"})
        until(api, lambda: COST in pod(api, "old")["metadata"]["annotations"])
        until(api, lambda: floor(api) is None)


@pytest.mark.parametrize("edited", [False, True], ids=["deleted", "edited"])
def test_what_a_move_asks_stands_again_whoever_takes_it_away(api: FakeApi, *, edited: bool) -> None:
    with planner(api):
        begin_a_move(api)
        asked = notes(api, "floor-move")
        with api.store.changed:  # the planner puts it right as soon as it hears of it
            if edited:
                (body,) = [each for each in api.objects(CONFIG_MAP) if each["metadata"]["name"] == "floor-move"]
                api.put_object({**body, "data": {name: text.replace("2,", "7,", 1) for name, text in asked.items()}})
            else:
                api.remove_object(CONFIG_MAP, Key("knative-mig", "floor-move"))
            assert notes(api, "floor-move") != asked
        until(api, lambda: notes(api, "floor-move") == asked)
        until(api, lambda: floor(api) == "2")
        assert phases(api) == ["Starting"]


def test_somebody_elses_request_is_obeyed_and_restored_when_it_goes(api: FakeApi) -> None:
    entry = {"service": "team/llm", "minScale": 3, "expires": "2126-01-01T00:00:00Z", "reason": "open house"}
    about = {"namespace": "knative-mig", "name": "floor-prewarm"}
    with planner(api):
        asked = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": {"a": json.dumps(entry)}}
        api.put_object(asked)
        until(api, lambda: floor(api) == "3")
        api.remove_object(CONFIG_MAP, Key("knative-mig", "floor-prewarm"))
        until(api, lambda: floor(api) is None)
