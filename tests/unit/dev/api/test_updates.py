"""The order of a write: who wrote what, then what the hooks make of it, and only then what counts as a change."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from knative_mig.dev.api.admission import Hook, Phase
from tests.rigs.api_server import CONFIG_MAPS, FUNCTIONS, PODS, Answered, Json, Rig

_FUNCTION = f"{FUNCTIONS}/f"
_SPEC = {"template": {"spec": {"containers": [{"image": "x"}]}}}
_ABOUT = {"apiVersion": "serving.knative.dev/v1", "kind": "Service"}


def _hook(change: Callable[[Json], None], *resources: str, operations: tuple[str, ...] = ("CREATE", "UPDATE")) -> Hook:
    """Sends the whole object as `change` leaves it."""

    def ask(review: bytes) -> bytes:
        request = json.loads(review)["request"]
        body = request["object"]
        change(body)
        patch = [{"op": "replace", "path": "", "value": body}]
        answer = {
            "uid": request["uid"],
            "allowed": True,
            "patch": base64.b64encode(json.dumps(patch).encode()).decode(),
        }
        return json.dumps({"response": answer}).encode()

    return Hook(
        name="hook",
        phase=Phase.MUTATE,
        ask=ask,
        resources=resources or ("services.serving.knative.dev",),
        operations=operations,
    )


def _completes(body: Json) -> None:
    spec = body["spec"]["template"]["spec"]
    spec.setdefault("timeoutSeconds", 300)
    spec["containers"][0].setdefault("name", "user-container")
    body["metadata"].setdefault("annotations", {}).setdefault("serving.knative.dev/creator", "me")


@pytest.fixture
def rig() -> Rig:
    return Rig([_hook(_completes)])


def _put(rig: Rig, made: Json) -> Json:
    about = {"name": "f", "resourceVersion": made["metadata"]["resourceVersion"]}
    return rig.call("PUT", _FUNCTION, {**_ABOUT, "metadata": {**made["metadata"], **about}, "spec": _SPEC})


def _merge(rig: Rig, _: Json) -> Json:
    return rig.merge(_FUNCTION, {"spec": _SPEC})


def _json_patch(rig: Rig, _: Json) -> Json:
    patch = [{"op": "replace", "path": "/spec", "value": _SPEC}]
    return rig.call("PATCH", _FUNCTION, patch, content_type="application/json-patch+json")


@pytest.mark.parametrize("send", [_put, _merge, _json_patch])
def test_what_hooks_complete_as_before_is_no_change(rig: Rig, send: Callable[[Rig, Json], Json]) -> None:
    rig.create(FUNCTIONS, "f", spec=_SPEC)
    made = send(rig, rig.get(_FUNCTION))  # whoever sends it takes the containers for his own
    version = rig.server.store.version
    rig.passes(60)
    assert send(rig, made) == made
    assert made["metadata"]["generation"] == 1
    assert rig.server.store.version == version


def test_what_is_applied_again_is_no_change(rig: Rig) -> None:
    wanted = {**_ABOUT, "metadata": {"name": "f"}, "spec": _SPEC}
    made = rig.apply(_FUNCTION, wanted, "alice")
    version = rig.server.store.version
    rig.passes(60)
    assert rig.apply(_FUNCTION, wanted, "alice") == made
    assert rig.server.store.version == version


def test_what_only_a_hook_changes_counts_in_the_generation(rig: Rig) -> None:
    rig.create(FUNCTIONS, "f", spec=_SPEC)
    rig.hooks = [_hook(lambda body: body["spec"]["template"]["spec"].update(timeoutSeconds=10))]
    made = rig.merge(_FUNCTION, {"metadata": {"labels": {"a": "b"}}})
    assert made["spec"]["template"]["spec"]["timeoutSeconds"] == 10
    assert made["metadata"]["generation"] == 2


def _paths(body: Json) -> str:
    return json.dumps([each["fieldsV1"] for each in body["metadata"].get("managedFields", [])])


def test_nobody_is_noted_for_what_a_hook_adds(rig: Rig) -> None:
    rig.create(FUNCTIONS, "f", spec=_SPEC)
    for send in (_put, _merge, _json_patch):
        assert "containers" in _paths(found := send(rig, rig.get(_FUNCTION)))
        assert "creator" not in _paths(found)
        assert "timeoutSeconds" not in _paths(found)
    wanted = {**_ABOUT, "metadata": {"name": "f"}, "spec": _SPEC}
    found = rig.apply(_FUNCTION, wanted, "alice", force=True)
    assert found["metadata"]["annotations"] == {"serving.knative.dev/creator": "me"}
    assert "creator" not in _paths(found)


def test_nobody_is_noted_for_what_a_cluster_adds_to_a_pod_or_a_service(rig: Rig) -> None:
    noted = _paths(rig.create(PODS, "p", spec={"containers": [{"name": "a", "image": "x"}]}))
    assert "f:schedulerName" in noted
    for each in ("serviceAccount", "tolerations", "priority", "preemptionPolicy"):
        assert each not in noted
    made = rig.create("/api/v1/namespaces/default/services", "s", spec={"ports": [{"port": 80}]})
    assert made["spec"]["clusterIPs"] == [made["spec"]["clusterIP"]]
    assert "f:internalTrafficPolicy" in _paths(made)
    assert "clusterIP" not in _paths(made)


def test_a_hook_sees_what_was_sent_and_who_wrote_it(rig: Rig) -> None:
    seen: list[Json] = []
    rig.hooks = [_hook(lambda body: seen.append(json.loads(json.dumps(body))), "pods")]
    spec = {"containers": [{"name": "a", "image": "x"}]}
    made = rig.call("POST", PODS, {"metadata": {"generateName": "p-"}, "spec": spec})
    assert seen[0]["metadata"].keys() == {"generateName", "namespace", "managedFields"}
    assert seen[0]["spec"]["serviceAccountName"] == "default"
    rig.merge(f"{PODS}/{made['metadata']['name']}", {"status": {"phase": "Failed"}, "metadata": {"labels": {"a": "b"}}})
    assert seen[1]["status"]["phase"] == "Failed"
    assert rig.get(f"{PODS}/{made['metadata']['name']}")["status"]["phase"] == "Pending"


def test_what_a_hook_adds_has_its_defaults(rig: Rig) -> None:
    rig.hooks = [_hook(lambda body: body["spec"]["containers"].append({"name": "b", "image": "y"}), "pods")]
    made = rig.create(PODS, "p", spec={"containers": [{"name": "a", "image": "x"}]})
    assert made["spec"]["containers"][1]["imagePullPolicy"] == "Always"


def test_a_hook_changes_no_status_but_through_it(rig: Rig) -> None:
    rig.create(FUNCTIONS, "f", spec=_SPEC)
    rig.hooks = [_hook(lambda body: body.update(status={"observedGeneration": 7}))]
    assert "status" not in rig.merge(_FUNCTION, {"metadata": {"labels": {"a": "b"}}})
    assert rig.merge(f"{_FUNCTION}/status", {"status": {"url": "http://x"}})["status"] == {"observedGeneration": 7}


def test_a_version_that_has_passed_is_seen_after_the_hooks(rig: Rig) -> None:
    made = rig.create(FUNCTIONS, "f", spec=_SPEC)
    rig.merge(_FUNCTION, {"metadata": {"labels": {"a": "b"}}})
    with pytest.raises(Answered, match="the object has been modified"):
        rig.call("PUT", _FUNCTION, made)
    refusing = json.dumps({"response": {"uid": "", "allowed": False}}).encode()
    resources = ("services.serving.knative.dev",)
    rig.hooks = [Hook(name="hook", phase=Phase.MUTATE, ask=lambda _: refusing, resources=resources)]
    with pytest.raises(Answered, match="denied the request"):
        rig.call("PUT", _FUNCTION, made)
    with pytest.raises(Answered, match="denied the request"):
        rig.create(FUNCTIONS, "f", spec=_SPEC)


def _times(body: Json) -> list[Any]:
    return [(each["manager"], each["time"][11:16]) for each in body["metadata"]["managedFields"]]


def test_a_time_is_that_of_the_last_change(rig: Rig) -> None:
    path, as_alice = f"{CONFIG_MAPS}/c", f"{CONFIG_MAPS}/c?fieldManager=alice"
    rig.call("POST", f"{CONFIG_MAPS}?fieldManager=alice", {"metadata": {"name": "c"}, "data": {"a": "1", "b": "1"}})
    rig.passes(60)
    assert _times(rig.merge(as_alice, {"data": {"a": "2"}})) == [("alice", "00:01")]
    rig.passes(60)
    assert _times(rig.merge(as_alice, {"data": {"b": None}})) == [("alice", "00:01")]
    wanted = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "3"}}
    rig.apply(path, wanted, "bob", force=True)
    rig.passes(60)
    assert _times(rig.apply(path, {**wanted, "data": {"a": "4"}}, "bob")) == [("bob", "00:03")]
    rig.passes(60)
    assert _times(rig.apply(path, {**wanted, "data": {"a": "4"}}, "bob")) == [("bob", "00:03")]


def test_of_what_nobody_manages_managers_are_noted_from_the_first_apply_on(rig: Rig) -> None:
    path = f"{CONFIG_MAPS}/c"
    rig.create(CONFIG_MAPS, "c", data={"a": "1"})
    assert "managedFields" not in rig.merge(path, {"metadata": {"managedFields": [{}]}})["metadata"]
    assert "managedFields" not in rig.merge(path, {"data": {"b": "1"}})["metadata"]
    wanted = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}}
    found = rig.apply(path, wanted, "alice")
    assert [each["manager"] for each in found["metadata"]["managedFields"]] == ["alice", "before-first-apply"]
    with pytest.raises(Answered, match=r'conflict with "before-first-apply" using v1 at .*: \.data\.b'):
        rig.apply(path, {**wanted, "data": {"a": "1", "b": "2"}}, "alice")


def test_who_writes_a_status_does_not_say_who_manages(rig: Rig) -> None:
    made = rig.create(FUNCTIONS, "f", spec=_SPEC)
    patch = {"metadata": {"managedFields": [{}]}, "status": {"url": "http://x"}}
    found = rig.merge(f"{_FUNCTION}/status", patch)
    assert found["metadata"]["managedFields"][0] == made["metadata"]["managedFields"][0]
    assert [each.get("subresource") for each in found["metadata"]["managedFields"]] == [None, "status"]


@pytest.mark.parametrize(("below", "generation"), [({}, 2), ({"subresources": {"status": {}}}, 1)])
def test_a_status_that_is_not_written_apart_is_meant_too(rig: Rig, below: Json, generation: int) -> None:
    any_ = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": any_}, **below}
    names = {"kind": "Widget", "plural": "widgets"}
    spec = {"group": "example.com", "scope": "Cluster", "names": names, "versions": [version]}
    rig.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "widgets.example.com", spec=spec)
    rig.create("/apis/example.com/v1/widgets", "w", status={"a": 1})
    found = rig.merge("/apis/example.com/v1/widgets/w", {"status": {"a": 2}})
    assert found["metadata"]["generation"] == generation
