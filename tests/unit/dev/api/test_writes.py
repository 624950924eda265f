"""Creating, updating and patching, as a client sees it."""

import json
from typing import Any

import pytest

from knative_mig.dev.api.admission import Hook, Phase
from tests.rigs.api_server import CONFIG_MAPS, FUNCTIONS, GPU_NODES, PODS, Answered, Json, Rig, gpu_node

_CONTAINER = {"name": "a", "image": "x"}


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_new_object_has_what_the_system_gives_it(rig: Rig) -> None:
    made = rig.create(CONFIG_MAPS, "c", data={"a": "1"})
    about = made["metadata"]
    assert about["creationTimestamp"] == "2026-01-01T00:00:00Z"
    assert len(about["uid"]) == 36
    assert about["namespace"] == "default"
    assert "generation" not in about
    assert made == rig.get(f"{CONFIG_MAPS}/c")


def test_a_name_is_generated(rig: Rig) -> None:
    made = rig.call("POST", CONFIG_MAPS, {"metadata": {"generateName": "many-"}})
    assert len(made["metadata"]["name"]) == len("many-") + 5
    assert made["metadata"]["name"].startswith("many-")
    made = rig.call("POST", "/api/v1/namespaces", {"metadata": {"generateName": "tests-"}})
    assert made["metadata"]["labels"] == {"kubernetes.io/metadata.name": made["metadata"]["name"]}


def test_a_map_that_is_emptied_is_left_out_and_a_struct_stays(rig: Rig) -> None:
    rig.create(CONFIG_MAPS, "c", data={"a": "1"})
    assert "data" not in rig.merge(f"{CONFIG_MAPS}/c", {"data": {"a": None}})
    spec = {"containers": [{"name": "c", "image": "i"}], "nodeSelector": {}, "volumes": [{"name": "v", "emptyDir": {}}]}
    made = rig.create(PODS, "p", spec=spec)
    assert "nodeSelector" not in made["spec"]
    assert made["spec"]["volumes"] == [{"name": "v", "emptyDir": {}}]


def test_the_same_name_twice(rig: Rig) -> None:
    rig.create(FUNCTIONS, "f", spec={"template": {"spec": {"containers": [_CONTAINER]}}})
    with pytest.raises(Answered) as refused:
        rig.create(FUNCTIONS, "f", spec={"template": {"spec": {"containers": [_CONTAINER]}}})
    assert refused.value.body == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'services.serving.knative.dev "f" already exists',
        "reason": "AlreadyExists",
        "details": {"name": "f", "group": "serving.knative.dev", "kind": "services"},
        "code": 409,
    }


def test_a_dry_run_answers_as_if_and_keeps_nothing(rig: Rig) -> None:
    assert rig.call("POST", f"{CONFIG_MAPS}?dryRun=All", {"metadata": {"name": "c"}})["metadata"]["uid"]
    assert rig.names(CONFIG_MAPS) == []
    rig.create(CONFIG_MAPS, "c")
    with pytest.raises(Answered, match="already exists"):
        rig.call("POST", f"{CONFIG_MAPS}?dryRun=All", {"metadata": {"name": "c"}})
    rig.call("DELETE", f"{CONFIG_MAPS}/c?dryRun=All")
    assert rig.names(CONFIG_MAPS) == ["c"]


def test_an_update_over_an_old_version_is_a_conflict(rig: Rig) -> None:
    made = rig.create(CONFIG_MAPS, "c")
    rig.merge(f"{CONFIG_MAPS}/c", {"data": {"a": "1"}})
    with pytest.raises(Answered) as refused:
        rig.call("PUT", f"{CONFIG_MAPS}/c", {**made, "data": {"a": "2"}})
    assert refused.value.code == 409
    assert refused.value.body["message"] == (
        'Operation cannot be fulfilled on configmaps "c": the object has been modified; please apply your changes to '
        "the latest version and try again"
    )


def test_a_write_that_comes_between_is_a_conflict_for_who_named_a_version_alone(rig: Rig) -> None:
    def interrupts(review: bytes) -> bytes:
        rig.hooks = []
        rig.merge(f"{CONFIG_MAPS}/c", {"data": {"between": str(rig.server.store.version)}})
        return json.dumps({"response": {"uid": json.loads(review)["request"]["uid"], "allowed": True}}).encode()

    hook = Hook(name="hook", phase=Phase.VALIDATE, ask=interrupts, resources=("configmaps",), operations=("UPDATE",))
    made = rig.create(CONFIG_MAPS, "c")
    rig.hooks = [hook]
    assert rig.merge(f"{CONFIG_MAPS}/c", {"data": {"a": "1"}})["data"].keys() == {"a", "between"}
    rig.hooks = [hook]
    with pytest.raises(Answered, match="the object has been modified"):
        rig.call("PUT", f"{CONFIG_MAPS}/c", {**made, "metadata": rig.get(f"{CONFIG_MAPS}/c")["metadata"]})


def test_an_update_of_another_object_of_that_name_is_a_conflict(rig: Rig) -> None:
    rig.create(CONFIG_MAPS, "c")
    with pytest.raises(Answered, match="Precondition failed: UID in precondition: other"):
        rig.merge(f"{CONFIG_MAPS}/c", {"metadata": {"uid": "other"}})


def test_an_update_without_a_version_is_for_built_in_kinds_alone(rig: Rig) -> None:
    rig.create(CONFIG_MAPS, "c")
    rig.call("PUT", f"{CONFIG_MAPS}/c", {"metadata": {"name": "c"}, "data": {"a": "2"}})
    rig.create(GPU_NODES, "n", spec=gpu_node(1, 0))
    with pytest.raises(Answered, match="must be specified for an update"):
        rig.call("PUT", f"{GPU_NODES}/n", {"metadata": {"name": "n"}, "spec": gpu_node(1, 0)})


def test_a_patch_gives_no_other_name(rig: Rig) -> None:
    rig.create(CONFIG_MAPS, "c")
    with pytest.raises(Answered, match=r"the name of the object \(d\) does not match the name on the URL \(c\)"):
        rig.merge(f"{CONFIG_MAPS}/c", {"metadata": {"name": "d"}})


def test_what_changes_nothing_makes_no_version(rig: Rig) -> None:
    made = rig.create(CONFIG_MAPS, "c", data={"a": "1"})
    rig.passes(60)
    assert rig.call("PUT", f"{CONFIG_MAPS}/c", made) == made
    assert rig.merge(f"{CONFIG_MAPS}/c", {"data": {"a": "1"}}) == made


def test_a_generation_counts_changes_of_what_is_meant(rig: Rig) -> None:
    made = rig.create(GPU_NODES, "n", spec=gpu_node(1, 0))
    assert made["metadata"]["generation"] == 1
    assert rig.merge(f"{GPU_NODES}/n", {"metadata": {"labels": {"a": "b"}}})["metadata"]["generation"] == 1
    assert rig.merge(f"{GPU_NODES}/n/status", {"status": {"layout": "dynamic"}})["metadata"]["generation"] == 1
    assert rig.merge(f"{GPU_NODES}/n", {"spec": {"fencingToken": 2}})["metadata"]["generation"] == 2


def test_status_and_the_rest_are_written_apart(rig: Rig) -> None:
    made = rig.create(PODS, "p", spec={"containers": [_CONTAINER]}, status={"phase": "Running"})
    assert made["status"]["phase"] == "Pending"  # a new pod's status is not its maker's
    rig.merge(f"{PODS}/p/status", {"status": {"phase": "Running"}, "spec": {"nodeName": "n"}})
    found = rig.get(f"{PODS}/p")
    assert found["status"]["phase"] == "Running"
    assert "nodeName" not in found["spec"]
    rig.merge(f"{PODS}/p", {"status": {"phase": "Failed"}, "metadata": {"labels": {"a": "b"}}})
    assert rig.get(f"{PODS}/p")["status"]["phase"] == "Running"


def test_defaults_are_filled_in(rig: Rig) -> None:
    spec = rig.create(
        PODS, "p", spec={"containers": [{**_CONTAINER, "resources": {"limits": {"nvidia.com/mig-1g.5gb": 1}}}]}
    )["spec"]
    assert spec["restartPolicy"] == "Always"
    assert spec["terminationGracePeriodSeconds"] == 30
    assert spec["containers"][0]["resources"]["requests"] == {"nvidia.com/mig-1g.5gb": 1}
    secret = rig.create("/api/v1/namespaces/default/secrets", "s", stringData={"a": "b"})
    assert (secret["type"], secret["data"], secret.get("stringData")) == ("Opaque", {"a": "Yg=="}, None)


@pytest.mark.parametrize(
    ("query", "warned"),
    [
        ("", ['299 - "unknown field \\"datta\\""']),
        ("?fieldValidation=Warn", ['299 - "unknown field \\"datta\\""']),
        ("?fieldValidation=Ignore", []),
    ],
)
def test_unknown_fields_are_told_as_the_client_wants(rig: Rig, query: str, warned: list[str]) -> None:
    assert "datta" not in rig.call("POST", f"{CONFIG_MAPS}{query}", {"metadata": {"name": "c"}, "datta": {}})
    assert rig.warnings == warned


def test_unknown_fields_are_refused_where_that_is_wanted(rig: Rig) -> None:
    body = {"metadata": {"name": "c"}, "datta": {}}
    with pytest.raises(Answered, match='ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding'):
        rig.call("POST", f"{CONFIG_MAPS}?fieldValidation=Strict", body)
    with pytest.raises(Answered, match='fieldValidation: Unsupported value: "Nix"'):
        rig.call("POST", f"{CONFIG_MAPS}?fieldValidation=Nix", body)


def test_a_patch_that_is_refused_is_shown_as_the_object_that_would_come_of_it(rig: Rig) -> None:
    made = rig.create(FUNCTIONS, "f", spec={"template": {"spec": {"containers": [{"image": "x"}]}}})
    with pytest.raises(Answered) as refused:
        rig.merge(f"{FUNCTIONS}/f?fieldValidation=Strict", {"spec": {"tempo": "\u00e9"}})
    would_be = {**made, "spec": {**made["spec"], "tempo": "\u00e9"}}
    shown = json.dumps(
        json.dumps(would_be, separators=(",", ":"), sort_keys=True, ensure_ascii=False), ensure_ascii=False
    )
    why = f'Invalid value: {shown}: strict decoding error: unknown field "spec.tempo"'
    assert refused.value.code == 422
    assert refused.value.body["message"] == f' "" is invalid: patch: {why}'
    assert refused.value.body["details"] == {
        "causes": [{"reason": "FieldValueInvalid", "message": why, "field": "patch"}]
    }


def test_a_strategic_merge_patch_that_is_refused_is_shown_itself(rig: Rig) -> None:
    """As Go prints a map."""
    rig.create(PODS, "p", spec={"containers": [{"name": "a", "image": "x"}]})
    patch = {"spec": {"tempo": [1, 0.5, True, None, "a b"]}, "metadata": {"labels": {}}}
    with pytest.raises(Answered) as refused:
        rig.call(
            "PATCH", f"{PODS}/p?fieldValidation=Strict", patch, content_type="application/strategic-merge-patch+json"
        )
    assert refused.value.body["message"] == (
        ' "" is invalid: patch: Invalid value: "map[metadata:map[labels:map[]] spec:map[tempo:[1 0.5 true <nil> a b]]]"'
        ': strict decoding error: unknown field "spec.tempo"'
    )


def test_a_field_that_comes_twice_is_told(rig: Rig) -> None:
    with pytest.raises(Answered, match='duplicate field "name"'):
        rig.call("POST", f"{CONFIG_MAPS}?fieldValidation=Strict", b'{"metadata":{"name":"a","name":"b"}}')


@pytest.mark.parametrize(
    ("content_type", "patch", "replicas"),
    [
        ("application/merge-patch+json", {"spec": {"replicas": 4}}, 4),
        ("application/json-patch+json", [{"op": "replace", "path": "/spec/replicas", "value": 5}], 5),
    ],
)
def test_scaling_is_a_small_object_of_its_own(rig: Rig, content_type: str, patch: Any, replicas: int) -> None:
    where = "/apis/apps/v1/namespaces/default/deployments"
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [_CONTAINER]}}
    rig.create(where, "d", spec={"selector": {"matchLabels": {"a": "b"}}, "template": template})
    seen = rig.get(f"{where}/d/scale")
    assert (seen["kind"], seen["spec"], seen["status"]) == (
        "Scale",
        {"replicas": 1},
        {"replicas": 0, "selector": "a=b"},
    )
    assert rig.call("PATCH", f"{where}/d/scale", patch, content_type=content_type)["spec"]["replicas"] == replicas
    assert rig.get(f"{where}/d")["metadata"]["generation"] == 2
    with pytest.raises(Answered, match="must be greater than or equal to 0"):
        rig.call("PATCH", f"{where}/d/scale", {"spec": {"replicas": -1}}, content_type="application/merge-patch+json")


def test_a_pod_is_bound_once(rig: Rig) -> None:
    rig.create(PODS, "p", spec={"containers": [_CONTAINER]})
    rig.call("POST", f"{PODS}/p/binding", {"target": {"kind": "Node", "name": "n"}})
    found = rig.get(f"{PODS}/p")
    assert found["spec"]["nodeName"] == "n"
    assert found["status"]["conditions"][0]["type"] == "PodScheduled"
    with pytest.raises(Answered, match='pod p is already assigned to node "n"'):
        rig.call("POST", f"{PODS}/p/binding", {"target": {"kind": "Node", "name": "other"}})


def test_nothing_is_made_where_no_namespace_is(rig: Rig) -> None:
    with pytest.raises(Answered, match='namespaces "nowhere" not found'):
        rig.create("/api/v1/namespaces/nowhere/configmaps", "c")
    with pytest.raises(Answered, match="does not match the namespace sent on the request"):
        rig.create(CONFIG_MAPS, "c", metadata={"namespace": "other"})


def test_a_pod_of_an_account_that_is_not_there_is_refused(rig: Rig) -> None:
    pod = {"metadata": {"generateName": "web-"}, "spec": {"containers": [_CONTAINER], "serviceAccountName": "robot"}}
    with pytest.raises(Answered) as refused:
        rig.call("POST", PODS, pod)
    assert (refused.value.code, refused.value.body["message"]) == (
        403,
        'pods "web-" is forbidden: error looking up service account default/robot: serviceaccount "robot" not found',
    )
    rig.create("/api/v1/namespaces/default/serviceaccounts", "robot")
    assert rig.call("POST", PODS, pod)["spec"]["serviceAccountName"] == "robot"
    with pytest.raises(Answered, match="default/ghost"):  # its old name
        rig.create(PODS, "p", spec={"containers": [_CONTAINER], "serviceAccount": "ghost"})


def test_an_event_is_one_in_both_of_its_groups(rig: Rig) -> None:
    about: Json = {"involvedObject": {"kind": "Pod", "name": "p"}, "message": "hello", "reason": "Said"}
    rig.create("/api/v1/namespaces/default/events", "e", **about)
    found = rig.get("/apis/events.k8s.io/v1/namespaces/default/events/e")
    assert (found["apiVersion"], found["note"], found["regarding"]["name"]) == ("events.k8s.io/v1", "hello", "p")
    rig.create(
        "/apis/events.k8s.io/v1/namespaces/default/events", "f", regarding={"kind": "Pod", "name": "q"}, note="x"
    )
    assert rig.get("/api/v1/namespaces/default/events/f")["message"] == "x"
    assert rig.names("/apis/events.k8s.io/v1/namespaces/default/events") == ["e", "f"]


def test_an_object_that_no_store_would_take_is_too_large(rig: Rig) -> None:
    with pytest.raises(Answered) as refused:
        rig.create(PODS, "p", spec={"containers": [{"name": "a", "image": "x", "args": ["x" * 2_000_000]}]})
    assert (refused.value.code, refused.value.body["reason"]) == (413, "RequestEntityTooLarge")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "no application/json"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"[]", "no object of kind ConfigMap"),
        (b'{"apiVersion":"v2","metadata":{"name":"c"}}', "the API version in the data (v2) does not match"),
        (b'{"kind":"Pod","metadata":{"name":"c"}}', "cannot be handled as a ConfigMap"),
        (b'{"metadata":[]}', "cannot unmarshal metadata"),
        (b'{"metadata":{"name":"c"},"data":{"a":1}}', "cannot unmarshal integer into Go struct field ConfigMap.data.a"),
        (b'{"metadata":{"name":"c"},"data":NaN}', "invalid character in literal NaN"),
        (b"[" * 5000 + b"]" * 5000, "deep"),
        (b"", "no application/json"),
    ],
)
def test_what_is_no_object_is_refused_in_words(rig: Rig, body: bytes, said: str) -> None:
    code, answer, _ = rig.send("POST", CONFIG_MAPS, body)
    assert code == 400
    assert said in answer.decode()


def test_what_is_sent_as_yaml_is_read_as_yaml(rig: Rig) -> None:
    made = rig.call("POST", CONFIG_MAPS, b"metadata: {name: c}\ndata: {a: 'on'}\n", content_type="application/yaml")
    assert made["data"] == {"a": "on"}
    with pytest.raises(Answered, match="aliases"):
        rig.call("POST", CONFIG_MAPS, b"a: &x [1]\nb: *x\n", content_type="application/yaml")


def test_unknown_ways_of_sending_fail_with_their_name(rig: Rig) -> None:
    rig.create(CONFIG_MAPS, "c")
    for content_type in ("application/nix", "application/strategic-merge-patch+json"):
        where, method = (f"{GPU_NODES}/x", "PATCH") if "strategic" in content_type else (CONFIG_MAPS, "POST")
        with pytest.raises(Answered) as refused:
            rig.call(method, where, {"metadata": {"name": "x"}}, content_type=content_type)
        assert refused.value.code == 415
        assert content_type in refused.value.body["message"]
