"""A new Revision without a spare slice, by the whole planner process on an API server, as its template chooses.

The test is Knative and the agent: it answers each write as they would.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from knative_mig.adapters.kube.kinds import EVENT, POD, REVISION
from knative_mig.adapters.kube.move_objects import MOVES
from knative_mig.ports.kube import Key
from tests.contract.planner_rig import (
    answer,
    beat_object,
    gates,
    node_object,
    planner,
    pod,
    pod_object,
    put_gpu_node,
    until,
)
from tests.contract.test_planner_moves import notes, phases
from tests.fake_api import FakeApi
from tests.small_cluster import gpu, gpu_node

FULL = {"3g.20gb@4": "old", "4g.20gb@0": "other"}


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """One GPU, full: the older Revision has a part, somebody else the rest."""
    with FakeApi() as api:
        put_gpu_node(api, gpu_node("n1", gpu("GPU-1", FULL)))
        api.put_object(node_object("n1", {"nvidia.com/mig-3g.20gb": "1", "nvidia.com/mig-4g.20gb": "1"}))
        api.put_object(beat_object("n1"))
        put_pod(api, "old", 1, node="n1")
        put_pod(api, "other", 0, "4g.20gb", node="n1")
        api.put_object(revision(1))
        yield api


def revision(generation: int) -> dict[str, Any]:
    name = f"llm-0000{generation}"
    labels = {"serving.knative.dev/service": "llm", "serving.knative.dev/configurationGeneration": str(generation)}
    about = {"namespace": "team", "name": name, "uid": f"uid-{name}", "labels": labels, "annotations": {}}
    status = {"conditions": [{"type": "Ready", "status": "True" if generation == 1 else "Unknown"}]}
    return {"apiVersion": REVISION.group, "kind": "Revision", "metadata": about, "spec": {}, "status": status}


def put_pod(
    api: FakeApi,
    name: str,
    generation: int,
    profile: str = "3g.20gb",
    *,
    node: str = "",
    rollout: str = "",
    ready: bool = True,
) -> None:
    revision = f"{'llm' if generation else 'other'}-0000{generation}"
    notes = {"knative-mig.dev/rollout": rollout} if rollout else {}
    made = pod_object(name, profile, revision=revision, node=node, gated=not node, ready=ready, notes=notes)
    api.put_object(made)


def evictions(api: FakeApi) -> list[str]:
    return [path.split("/")[-2] for what, path in api.requests if what == "POST" and "/eviction" in path]


def told(api: FakeApi, kind: str, name: str) -> set[str]:
    return {
        each["reason"]
        for each in api.objects(EVENT)
        if (each["involvedObject"]["kind"], each["involvedObject"]["name"]) == (kind, name)
    }


def roll_out(api: FakeApi, rollout: str) -> None:
    until(api, lambda: bool(notes(api, MOVES)))
    answer(api)
    api.put_object(revision(2))
    put_pod(api, "new", 2, rollout=rollout)


@pytest.mark.parametrize("rollout", ["", "wait"])
def test_by_default_nobody_ends_and_pod_and_revision_are_told_why(api: FakeApi, rollout: str) -> None:
    with planner(api):
        roll_out(api, rollout)
        until(api, lambda: "NoSpareSlice" in told(api, "Pod", "new"))
        until(api, lambda: "NoSpareSlice" in told(api, "Revision", "llm-00002"))
        assert phases(api) == []
        assert evictions(api) == []

        api.remove_object(POD, _key("old"))
        answer(api, **{"GPU-1": FULL | {"3g.20gb@4": None}})
        until(api, lambda: not gates(api, "new"))


def test_recreate_ends_the_older_ones_pod_and_gives_its_slice_to_the_new_one(api: FakeApi) -> None:
    with planner(api):
        roll_out(api, "recreate")
        until(api, lambda: evictions(api) == ["old"])
        if any(each["metadata"]["name"] == "old" for each in api.objects(POD)):
            api.remove_object(POD, _key("old"))
        put_pod(api, "old-again", 1)
        answer(api, **{"GPU-1": FULL | {"3g.20gb@4": None}})

        until(api, lambda: not gates(api, "new"))
        assert gates(api, "old-again")
        put_pod(api, "new", 2, node="n1", rollout="recreate", ready=False)
        answer(api, **{"GPU-1": FULL | {"3g.20gb@4": "new"}})
        until(api, lambda: phases(api) == ["TakingOver"])
        assert pod(api, "old-again")["spec"].get("nodeName") is None

        put_pod(api, "new", 2, node="n1", rollout="recreate")
        until(api, lambda: phases(api) == [])
        until(api, lambda: "Recreated" in told(api, "Revision", "llm-00001") & told(api, "Revision", "llm-00002"))
        assert evictions(api) == ["old"]


def _key(name: str) -> Key:
    return Key("team", name)
