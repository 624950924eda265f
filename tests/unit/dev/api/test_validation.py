"""What may not be as it is, in the real one's words."""

import re

import pytest

from tests.rigs.api_server import CONFIG_MAPS, FUNCTIONS, GPU_NODES, PODS, Answered, Json, Rig, gpu_node

_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_CONTAINER = {"name": "a", "image": "x"}


@pytest.fixture
def rig() -> Rig:
    return Rig()


def _refused(rig: Rig, path: str, name: str, **more: object) -> Json:
    with pytest.raises(Answered) as refused:
        rig.create(path, name, **more)
    assert refused.value.code == 422
    return refused.value.body


def test_all_that_is_wrong_is_told_at_once(rig: Rig) -> None:
    body = _refused(rig, PODS, "Bad_Name", spec={"containers": []})
    assert body["message"].startswith(
        'Pod "Bad_Name" is invalid: [metadata.name: Invalid value: "Bad_Name": a lowercase'
    )
    assert body["message"].endswith("spec.containers: Required value]")
    assert body["details"]["kind"] == "Pod"
    assert [(each["reason"], each["field"]) for each in body["details"]["causes"]] == [
        ("FieldValueInvalid", "metadata.name"),
        ("FieldValueRequired", "spec.containers"),
    ]


def test_an_object_needs_a_name(rig: Rig) -> None:
    with pytest.raises(Answered, match="name or generateName is required"):
        rig.call("POST", CONFIG_MAPS, {})


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({"a b": "c"}, 'metadata.labels: Invalid value: "a b": name part must consist of'),
        ({"a": "b c"}, 'metadata.labels: Invalid value: "b c": a valid label must be'),
        ({"Example.com/a": "b"}, 'metadata.labels: Invalid value: "Example.com/a": prefix part a lowercase'),
        ({"a": "b" * 64}, "a valid label must be"),
    ],
)
def test_labels_are_held_to_their_form(rig: Rig, labels: dict[str, str], said: str) -> None:
    assert said in _refused(rig, CONFIG_MAPS, "c", metadata={"labels": labels})["message"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"gpus": None}, "spec.gpus: Required value"),
        (
            {"fencingToken": "1"},
            'spec.fencingToken: Invalid value: "string": spec.fencingToken in body must be of type integer',
        ),
        ({"fencingToken": -1}, "spec.fencingToken in body should be greater than or equal to 0"),
        ({"gpus": [{"uuid": "nix"}]}, "spec.gpus[0].uuid in body should match '^GPU-"),
        ({"gpus": [{"uuid": "G" * 41}]}, "spec.gpus[0].uuid: Too long: may not be more than 40 bytes"),
        ({"gpus": gpu_node(1, 0)["gpus"] * 2}, 'spec.gpus[1]: Duplicate value: {"uuid":"GPU-01234567'),
        (
            {"gpus": [{"uuid": f"GPU-01234567-0123-0123-0123-0123456789{n:02}"} for n in range(17)]},
            "must have at most 16",
        ),
        (gpu_node(1, 0, 3), "spec.gpus[0].slices: Invalid value: two slices lie on the same memory units"),
    ],
    ids=["missing", "type", "minimum", "pattern", "length", "duplicate", "many", "overlap"],
)
def test_a_custom_kind_is_held_to_its_schema(rig: Rig, change: Json, said: str) -> None:
    spec = {key: value for key, value in {**gpu_node(1, 0), **change}.items() if value is not None}
    assert said in _refused(rig, GPU_NODES, "n", spec=spec)["message"]


def test_who_holds_an_object_and_who_owns_it_are_held_to_their_form(rig: Rig) -> None:
    with pytest.raises(Answered, match=r"metadata.finalizers\[0\]: Invalid value: \"bad fin\""):
        rig.create(CONFIG_MAPS, "c", metadata={"finalizers": ["bad fin"]})
    owners = [{"apiVersion": "v1", "kind": "Pod", "name": n, "uid": n, "controller": True} for n in ("a", "b")]
    with pytest.raises(Answered, match='Found "true" in references for Pod/a and Pod/b'):
        rig.create(CONFIG_MAPS, "c", metadata={"ownerReferences": owners})


def test_a_rule_of_transitions_is_asked_of_updates_alone(rig: Rig) -> None:
    rig.create(GPU_NODES, "n", spec=gpu_node(5, 0))
    with pytest.raises(Answered, match="fencingToken is lower than the one there, so another planner leads"):
        rig.merge(f"{GPU_NODES}/n", {"spec": {"fencingToken": 4}})
    rig.merge(f"{GPU_NODES}/n", {"spec": {"fencingToken": 6}})


def test_an_enum_names_what_is_legal(rig: Rig) -> None:
    rig.create(GPU_NODES, "n", spec=gpu_node(5, 0))
    with pytest.raises(Answered, match='Unsupported value: "mixed": supported values: "dynamic", "static"'):
        rig.merge(f"{GPU_NODES}/n/status", {"status": {"layout": "mixed"}})


_NODES = "/api/v1/nodes"


@pytest.mark.parametrize(
    ("taint", "said"),
    [
        (
            {"key": "a", "effect": "NoSchedul"},
            'metadata.taints[0].effect: Unsupported value: "NoSchedul": supported values: "NoSchedule", "PreferNo',
        ),
        ({"key": "a", "effect": ""}, "taints[0].effect: Required value"),
        ({"key": "a"}, "taints[0].effect: Required value"),
        ({"key": "", "effect": "NoExecute"}, 'metadata.taints[0].key: Invalid value: "": name part must'),
        ({"key": "a", "value": "b c", "effect": "NoExecute"}, 'metadata.taints[0].value: Invalid value: "b c"'),
    ],
)
def test_a_nodes_taints_are_held_to_their_form(rig: Rig, taint: Json, said: str) -> None:
    assert said in _refused(rig, _NODES, "n", spec={"taints": [taint]})["message"]
    rig.create(_NODES, "n", spec={"taints": [{"key": "a", "value": "b", "effect": "NoExecute"}]})
    with pytest.raises(Answered, match=re.escape(said)):
        rig.merge(f"{_NODES}/n", {"spec": {"taints": [taint]}})


def test_a_taint_comes_once(rig: Rig) -> None:
    taint = {"key": "a", "effect": "NoExecute"}
    said = _refused(rig, _NODES, "n", spec={"taints": [taint, {**taint, "value": "b"}]})["message"]
    assert "taints must be unique by key and effect pair" in said


def _definition(**version: object) -> Json:
    return {
        "group": "example.com",
        "names": {"kind": "Foo", "plural": "foos"},
        "scope": "Namespaced",
        "versions": [{"served": True, "storage": True, **version}],
    }


@pytest.mark.parametrize("demand", [{"type": "int"}, {"type": "string", "pattern": "("}, {"pattern": r"^\pL+\z"}])
def test_of_a_schema_that_says_nothing_of_sense_objects_are_held_to_the_rest(rig: Rig, demand: Json) -> None:
    properties = {"odd": demand, "size": {"type": "integer"}}
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}
    rig.create(_DEFINITIONS, "foos.example.com", spec=_definition(name="v1", schema={"openAPIV3Schema": schema}))
    foos = "/apis/example.com/v1/namespaces/default/foos"
    rig.create(foos, "a", spec={"odd": "b", "size": 1})
    assert (
        "spec.size in body must be of type integer"
        in _refused(rig, foos, "c", spec={"odd": "b", "size": "1"})["message"]
    )


def test_a_version_of_a_kind_needs_a_name(rig: Rig) -> None:
    schema = {"openAPIV3Schema": {"type": "object"}}
    said = _refused(rig, _DEFINITIONS, "foos.example.com", spec=_definition(schema=schema))["message"]
    assert "spec.versions[0].name: Required value" in said


def test_a_function_needs_its_containers(rig: Rig) -> None:
    body = _refused(rig, FUNCTIONS, "f", spec={"template": {"spec": {}}})
    assert body["message"] == (
        'Service.serving.knative.dev "f" is invalid: spec.template.spec.containers: Required value'
    )


def test_a_pods_spec_is_what_it_was(rig: Rig) -> None:
    rig.create(PODS, "p", spec={"containers": [_CONTAINER]})
    with pytest.raises(Answered, match="Forbidden: pod updates may not change fields other than"):
        rig.merge(f"{PODS}/p", {"spec": {"nodeName": "n"}})
    rig.call(
        "PATCH",
        f"{PODS}/p",
        [{"op": "replace", "path": "/spec/containers/0/image", "value": "y"}],
        content_type="application/json-patch+json",
    )


def test_a_gate_is_only_lifted_and_what_waits_at_it_is_narrowed(rig: Rig) -> None:
    rig.create(PODS, "p", spec={"containers": [_CONTAINER], "schedulingGates": [{"name": "a"}]})
    rig.merge(f"{PODS}/p", {"spec": {"nodeSelector": {"a": "b"}}})
    with pytest.raises(Answered, match="no mutations or deletions"):
        rig.merge(f"{PODS}/p", {"spec": {"nodeSelector": {"a": "c"}}})
    rig.merge(f"{PODS}/p", {"spec": {"schedulingGates": []}})
    with pytest.raises(Answered, match="only deletion is allowed, but found new scheduling gate"):
        rig.merge(f"{PODS}/p", {"spec": {"schedulingGates": [{"name": "b"}]}})


def test_a_workload_selects_what_it_makes(rig: Rig) -> None:
    template = {"metadata": {"labels": {"a": "c"}}, "spec": {"containers": [_CONTAINER]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    said = _refused(rig, "/apis/apps/v1/namespaces/default/deployments", "d", spec=spec)["message"]
    assert "`selector` does not match template `labels`" in said


def test_what_is_immutable_stays(rig: Rig) -> None:
    rig.create(CONFIG_MAPS, "c", data={"a": "1"}, immutable=True)
    with pytest.raises(Answered, match="field is immutable when `immutable` is set"):
        rig.merge(f"{CONFIG_MAPS}/c", {"data": {"a": "2"}})
    said = _refused(rig, CONFIG_MAPS, "d", data={"a/b": "1"})["message"]
    assert 'data[a/b]: Invalid value: "a/b": a valid config key must consist of' in said


_NO_QUANTITY = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"


@pytest.mark.parametrize("amount", ["many", "1 Gi", "", "1gb", True, {"a": 1}])
def test_an_amount_that_is_none_is_no_object_of_the_kind(rig: Rig, amount: object) -> None:
    with pytest.raises(Answered, match=re.escape(f'Pod in version "v1" cannot be handled as a Pod: {_NO_QUANTITY}')):
        rig.create(PODS, "p", spec={"containers": [{**_CONTAINER, "resources": {"limits": {"cpu": amount}}}]})
    with pytest.raises(Answered, match=re.escape(_NO_QUANTITY)):
        rig.create("/api/v1/namespaces/default/resourcequotas", "q", spec={"hard": {"pods": amount}})


@pytest.mark.parametrize("amount", ["2", "500m", "1.5Gi", "1e3", 3, 0.5])
def test_an_amount_is_a_text_or_a_number(rig: Rig, amount: object) -> None:
    rig.create(PODS, "p", spec={"containers": [{**_CONTAINER, "resources": {"limits": {"cpu": amount}}}]})


def test_a_null_of_a_custom_kind_is_as_nothing_but_where_it_may_be_one(rig: Rig) -> None:
    fields = {
        "plain": {"type": "string"},
        "filled": {"type": "string", "default": "a"},
        "nullable": {"type": "string", "nullable": True, "default": "b"},
        "needed": {"type": "integer"},
        "values": {"type": "object", "additionalProperties": {"type": "string"}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    }
    spec = {"type": "object", "properties": fields, "required": ["needed"]}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    rig.create(_DEFINITIONS, "foos.example.com", spec=_definition(name="v1", schema=schema))
    foos = "/apis/example.com/v1/namespaces/default/foos"
    nulls = {"plain": None, "filled": None, "nullable": None, "values": {"a": None, "b": "c"}, "free": {"d": None}}
    made = rig.create(foos, "a", spec={**nulls, "needed": 1})
    kept = {"filled": "a", "nullable": None, "needed": 1, "values": {"b": "c"}, "free": {"d": None}}
    assert made["spec"] == kept
    assert rig.merge(f"{foos}/a", {"spec": {"plain": "e"}})["spec"] == {**kept, "plain": "e"}
    assert "spec.needed: Required value" in _refused(rig, foos, "b", spec={**nulls, "needed": None})["message"]


def test_a_default_has_the_defaults_of_its_own_fields(rig: Rig) -> None:
    strategy = {"type": "object", "default": {}, "properties": {"type": {"type": "string", "default": "Rolling"}}}
    fields = {"replicas": {"type": "integer", "default": 2}, "strategy": strategy}
    spec = {"type": "object", "default": {}, "properties": fields}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    rig.create(_DEFINITIONS, "foos.example.com", spec=_definition(name="v1", schema=schema))
    made = rig.create("/apis/example.com/v1/namespaces/default/foos", "a")
    assert made["spec"] == {"replicas": 2, "strategy": {"type": "Rolling"}}


def test_a_list_has_as_many_entries_as_its_schema_asks_for(rig: Rig) -> None:
    sizes = {"type": "array", "minItems": 2, "items": {"type": "string"}}
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"sizes": sizes}}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": "Widget", "plural": "widgets"}
    spec = {"group": "example.com", "names": names, "scope": "Namespaced", "versions": [version]}
    rig.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "widgets.example.com", spec=spec)
    widgets = "/apis/example.com/v1/namespaces/default/widgets"
    said = _refused(rig, widgets, "w", spec={"sizes": ["s"]})["message"]
    assert "spec.sizes: Invalid value: 1: spec.sizes in body should have at least 2 items" in said
    rig.create(widgets, "w", spec={"sizes": ["s", "m"]})


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"labels": "x"}, "cannot unmarshal string into Go struct field Service.metadata.labels"),
        ({"annotations": 1.5}, "Service.metadata.annotations"),
        ({"finalizers": -1}, "Service.metadata.finalizers"),
        ({"finalizers": [1]}, "cannot unmarshal integer into Go struct field Service.metadata.finalizers[0]"),
        ({"finalizers": [None]}, "Service.metadata.finalizers[0]"),
        ({"ownerReferences": True}, "Service.metadata.ownerReferences"),
        ({"ownerReferences": [None]}, "cannot unmarshal null into Go struct field Service.metadata.ownerReferences[0]"),
        ({"name": [{}]}, "Service.metadata.name"),
    ],
)
def test_metadata_of_another_form_is_told_of_custom_kinds_too(rig: Rig, about: Json, said: str) -> None:
    with pytest.raises(Answered, match=re.escape(said)) as refused:
        rig.create(FUNCTIONS, "f", metadata=about, spec={})
    assert refused.value.code == 400


def test_a_list_has_no_entry_that_is_null(rig: Rig) -> None:
    with pytest.raises(Answered, match=r"cannot unmarshal null into Go struct field Pod\.spec\.containers\[0\]"):
        rig.create(PODS, "p", spec={"containers": [None]})
    with pytest.raises(Answered, match=r"Pod\.spec\.containers\[0\]\.env\[0\]"):
        rig.create(PODS, "p", spec={"containers": [{**_CONTAINER, "env": [None]}]})
    spec = {**gpu_node(1, 0), "gpus": [None]}
    assert 'spec.gpus[0] in body must be of type object: "null"' in _refused(rig, GPU_NODES, "n", spec=spec)["message"]
    with pytest.raises(Answered, match=r"CustomResourceDefinition\.spec\.versions\[0\]"):
        rig.create(_DEFINITIONS, "foos.example.com", spec={**_definition(name="v1"), "versions": [None]})
