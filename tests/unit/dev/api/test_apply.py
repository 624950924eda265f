"""Server-side apply: who owns which field, what is a conflict, and what goes with its last owner."""

from typing import Any

import pytest

from tests.rigs.api_server import CONFIG_MAPS, GPU_NODES, Answered, Json, Rig, gpu_node

_DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


@pytest.fixture
def rig() -> Rig:
    return Rig()


def _config_map(**data: str) -> Json:
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "c"}, "data": data}


def _deployment(*containers: Json, **more: Any) -> Json:
    spec = {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": list(containers)}},
        **more,
    }
    return {"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "d"}, "spec": spec}


def _managers(body: Json) -> dict[str, Any]:
    return {each["manager"]: each["fieldsV1"] for each in body["metadata"]["managedFields"]}


def test_it_creates_and_notes_who_applied_what(rig: Rig) -> None:
    made = rig.apply(f"{CONFIG_MAPS}/c", _config_map(a="1"), "alice")
    (entry,) = made["metadata"]["managedFields"]
    assert entry == {
        "manager": "alice",
        "operation": "Apply",
        "apiVersion": "v1",
        "time": "2026-01-01T00:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:data": {"f:a": {}}},
    }


def test_the_same_again_changes_nothing(rig: Rig) -> None:
    made = rig.apply(f"{CONFIG_MAPS}/c", _config_map(a="1"), "alice")
    rig.passes(60)
    assert rig.apply(f"{CONFIG_MAPS}/c", _config_map(a="1"), "alice") == made


def test_anothers_field_is_a_conflict_and_force_takes_it(rig: Rig) -> None:
    rig.apply(f"{CONFIG_MAPS}/c", _config_map(a="1", b="1"), "alice")
    with pytest.raises(Answered) as refused:
        rig.apply(f"{CONFIG_MAPS}/c", _config_map(a="2"), "bob")
    assert refused.value.body["message"] == 'Apply failed with 1 conflict: conflict with "alice": .data.a'
    assert refused.value.body["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "alice"', "field": ".data.a"}
    ]
    found = rig.apply(f"{CONFIG_MAPS}/c", _config_map(a="2"), "bob", force=True)
    assert found["data"] == {"a": "2", "b": "1"}
    assert _managers(found) == {"alice": {"f:data": {"f:b": {}}}, "bob": {"f:data": {"f:a": {}}}}


def test_several_conflicts_stand_below_each_other(rig: Rig) -> None:
    rig.apply(f"{CONFIG_MAPS}/c", _config_map(a="1", b="1"), "alice")
    with pytest.raises(Answered) as refused:
        rig.apply(f"{CONFIG_MAPS}/c", _config_map(a="2", b="2"), "bob")
    assert refused.value.body["message"] == (
        'Apply failed with 2 conflicts: conflicts with "alice":\n- .data.a\n- .data.b'
    )


def test_the_same_value_is_shared_and_stays_with_whoever_keeps_it(rig: Rig) -> None:
    rig.apply(f"{CONFIG_MAPS}/c", _config_map(a="1"), "alice")
    rig.apply(f"{CONFIG_MAPS}/c", _config_map(a="1"), "bob")
    assert rig.apply(f"{CONFIG_MAPS}/c", _config_map(), "alice")["data"] == {"a": "1"}
    found = rig.apply(f"{CONFIG_MAPS}/c", _config_map(), "bob")
    assert not found.get("data")


def test_what_somebody_updates_is_his(rig: Rig) -> None:
    rig.apply(f"{CONFIG_MAPS}/c", _config_map(a="1"), "alice")
    found = rig.merge(f"{CONFIG_MAPS}/c?fieldManager=carol", {"data": {"a": "2"}})
    assert _managers(found) == {"carol": {"f:data": {"f:a": {}}}}
    with pytest.raises(Answered, match=r'conflict with "carol" using v1 at 2026-01-01T00:00:00Z: \.data\.a'):
        rig.apply(f"{CONFIG_MAPS}/c", _config_map(a="3"), "alice")


def test_entries_of_lists_are_owned_one_by_one(rig: Rig) -> None:
    rig.apply(f"{_DEPLOYMENTS}/d", _deployment({"name": "a", "image": "a:1"}), "alice")
    found = rig.apply(f"{_DEPLOYMENTS}/d", _deployment({"name": "b", "image": "b:1"}), "bob")
    assert [each["name"] for each in found["spec"]["template"]["spec"]["containers"]] == ["a", "b"]
    found = rig.apply(f"{_DEPLOYMENTS}/d", _deployment({"name": "c", "image": "c:1"}), "bob")
    assert [each["name"] for each in found["spec"]["template"]["spec"]["containers"]] == ["a", "c"]
    with pytest.raises(Answered, match=r'\.spec\.template\.spec\.containers\[name="a"\]\.image'):
        rig.apply(f"{_DEPLOYMENTS}/d", _deployment({"name": "a", "image": "a:2"}), "bob")


def test_a_port_is_known_by_its_number_and_the_protocol_that_it_has_by_default(rig: Rig) -> None:
    rig.apply(f"{_DEPLOYMENTS}/d", _deployment({"name": "a", "image": "a", "ports": [{"containerPort": 80}]}), "alice")
    named = {"containerPort": 80, "protocol": "TCP", "name": "http"}
    found = rig.apply(f"{_DEPLOYMENTS}/d", _deployment({"name": "a", "image": "a", "ports": [named]}), "bob")
    assert found["spec"]["template"]["spec"]["containers"][0]["ports"] == [named]
    assert 'k:{"containerPort":80,"protocol":"TCP"}' in str(_managers(found)["alice"])


def test_what_is_atomic_has_one_owner(rig: Rig) -> None:
    rig.apply(f"{_DEPLOYMENTS}/d", _deployment({"name": "a", "image": "a", "args": ["1"]}), "alice")
    with pytest.raises(Answered, match="args"):
        rig.apply(f"{_DEPLOYMENTS}/d", _deployment({"name": "a", "image": "a", "args": ["1", "2"]}), "bob")


def test_lists_of_a_custom_kind_merge_by_the_keys_that_it_names(rig: Rig) -> None:
    about = {"kind": "GpuNode", "apiVersion": "knative-mig.dev/v1alpha1", "metadata": {"name": "n"}}
    rig.apply(f"{GPU_NODES}/n", {**about, "spec": gpu_node(1, 0)}, "alice")
    found = rig.apply(f"{GPU_NODES}/n", {**about, "spec": gpu_node(1, 4)}, "bob")
    assert [each["start"] for each in found["spec"]["gpus"][0]["slices"]] == [0, 4]


def test_status_is_applied_apart(rig: Rig) -> None:
    about = {"kind": "GpuNode", "apiVersion": "knative-mig.dev/v1alpha1", "metadata": {"name": "n"}}
    rig.apply(f"{GPU_NODES}/n", {**about, "spec": gpu_node(1, 0)}, "alice")
    found = rig.apply(f"{GPU_NODES}/n/status", {**about, "status": {"layout": "dynamic"}}, "alice")
    entries = found["metadata"]["managedFields"]
    assert [each.get("subresource") for each in entries] == [None, "status"]
    assert found["spec"] == gpu_node(1, 0)


def test_kubectl_takes_over_what_its_own_apply_had_written(rig: Rig) -> None:
    last = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"a":"1"}}'
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": last}
    body = {**_config_map(a="1"), "metadata": {"name": "c", "annotations": annotations}}
    rig.call("POST", f"{CONFIG_MAPS}?fieldManager=kubectl-client-side-apply", body)
    assert rig.apply(f"{CONFIG_MAPS}/c", _config_map(a="2"), "kubectl")["data"] == {"a": "2"}
    with pytest.raises(Answered, match="conflict"):
        rig.apply(f"{CONFIG_MAPS}/c", _config_map(a="3"), "bob")


def test_who_applies_has_to_say_who_he_is(rig: Rig) -> None:
    with pytest.raises(Answered, match="fieldManager: Required value: is required for apply patch"):
        rig.call("PATCH", f"{CONFIG_MAPS}/c", _config_map(), content_type="application/apply-patch+yaml")


def test_a_version_that_has_passed_is_a_conflict(rig: Rig) -> None:
    made = rig.apply(f"{CONFIG_MAPS}/c", _config_map(a="1"), "alice")
    rig.merge(f"{CONFIG_MAPS}/c", {"data": {"b": "1"}})
    body = _config_map(a="2")
    body["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"]
    with pytest.raises(Answered, match="the object has been modified"):
        rig.apply(f"{CONFIG_MAPS}/c", body, "alice")


def test_managers_may_be_written_by_whoever_means_it(rig: Rig) -> None:
    rig.apply(f"{CONFIG_MAPS}/c", _config_map(a="1"), "alice")
    found = rig.merge(f"{CONFIG_MAPS}/c", {"metadata": {"managedFields": [{}]}})
    assert "managedFields" not in found["metadata"]
