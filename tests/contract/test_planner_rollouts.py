"""A new Revision without a spare slice, by the whole planner process on an API server, as its template chooses.

The test is Knative and the agent: it answers each write as they would.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from knative_mig.adapters.kube.floor_objects import PREFIX
from knative_mig.adapters.kube.kinds import EVENT, POD, REVISION
from knative_mig.adapters.kube.move_objects import MOVES
from knative_mig.ports.kube import Key
from tests.contract.planner_rig import answer, gates, notes, phases, planner, pod_object, put_node, until
from tests.fake_api import FakeApi
from tests.rigs.small_cluster import gpu

FULL = {"3g.20gb@4": "old", "4g.20gb@0": "other"}


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """One GPU, full: the older Revision has a part, somebody else the rest."""
    with FakeApi() as api:
        put_node(api, gpu("GPU-1", FULL))
        put_pod(api, "old", 1, node="n1")
        put_pod(api, "other", 0, "4g.20gb", node="n1")
        api.put_object(revision(1))
        yield api


def revision(generation: int, **template: str) -> dict[str, Any]:
    """`template`: what its user has said about its scaling."""
    name = f"llm-0000{generation}"
    labels = {"serving.knative.dev/service": "llm", "serving.knative.dev/configurationGeneration": str(generation)}
    annotations = {PREFIX + key: value for key, value in template.items()}
    about = {"namespace": "team", "name": name, "uid": f"uid-{name}", "labels": labels, "annotations": annotations}
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


def scaling(api: FakeApi, generation: int) -> dict[str, str]:
    """What the floor may write on a Revision, as it stands."""
    (about,) = [
        each["metadata"] for each in api.objects(REVISION) if each["metadata"]["name"] == f"llm-0000{generation}"
    ]
    return {key.removeprefix(PREFIX): value for key, value in about["annotations"].items() if key.startswith(PREFIX)}


def become(api: FakeApi, generation: int, *, ready: bool, routing: str) -> None:
    """Knative's own writes, which leave annotations alone."""
    with api.store.changed:  # the planner may be about to write some
        (there,) = [each for each in api.objects(REVISION) if each["metadata"]["name"] == f"llm-0000{generation}"]
        labels = {**there["metadata"]["labels"], "serving.knative.dev/routingState": routing}
        status = {"conditions": [{"type": "Ready", "status": str(ready)}]}
        api.put_object({**there, "metadata": {**there["metadata"], "labels": labels}, "status": status})


def told(api: FakeApi, kind: str, name: str) -> set[str]:
    return {
        each["reason"]
        for each in api.objects(EVENT)
        if (each["involvedObject"]["kind"], each["involvedObject"]["name"]) == (kind, name)
    }


def roll_out(api: FakeApi, rollout: str, **template: str) -> None:
    until(api, lambda: bool(notes(api, MOVES)))
    answer(api)
    api.put_object(revision(2, **template))
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


def test_recreate_has_the_traffic_go_first_then_the_older_one_and_gives_its_slice_to_the_new_one(api: FakeApi) -> None:
    with planner(api):
        roll_out(api, "recreate", **{"min-scale": "1"})
        until(api, lambda: scaling(api, 2) == {"min-scale": "0", "initial-scale": "0"})
        assert phases(api) == ["Switching"]
        assert scaling(api, 1) == {}

        become(api, 2, ready=True, routing="active")
        become(api, 1, ready=True, routing="reserve")
        until(api, lambda: scaling(api, 2) == {"min-scale": "1"} and scaling(api, 1) == {"window": "6s"})
        assert phases(api) == ["Ending"]
        assert gates(api, "new")

        api.remove_object(POD, _key("old"))
        answer(api, **{"GPU-1": FULL | {"3g.20gb@4": None}})
        until(api, lambda: not gates(api, "new"))
        put_pod(api, "new", 2, node="n1", rollout="recreate")
        answer(api, **{"GPU-1": FULL | {"3g.20gb@4": "new"}})
        until(api, lambda: phases(api) == [] and scaling(api, 1) == {})
        until(api, lambda: "Recreated" in told(api, "Revision", "llm-00001") & told(api, "Revision", "llm-00002"))
        assert evictions(api) == []


def test_an_older_one_that_requests_still_come_to_is_left_alone(api: FakeApi) -> None:
    with planner(api):
        roll_out(api, "recreate")
        until(api, lambda: scaling(api, 2) == {"initial-scale": "0"})
        become(api, 2, ready=True, routing="active")
        become(api, 1, ready=True, routing="active")
        until(api, lambda: "ReplacesRevision" in told(api, "Pod", "new"))
        assert (phases(api), scaling(api, 1)) == (["Switching"], {})


def _key(name: str) -> Key:
    return Key("team", name)
