"""A kind that a user defines: what its definition may not say, and what its objects are held to."""

from typing import Any

import pytest

from tests.rigs.api_server import Answered, Json, Rig

_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"
_SPEC: Json = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {"type": "integer", "minimum": 1},
        "color": {"type": "string", "enum": ["red", "blue"], "default": "red"},
        "tags": {"type": "array", "minItems": 1, "items": {"type": "string"}},
    },
}


@pytest.fixture
def rig() -> Rig:
    return Rig()


def _version(**changes: Any) -> Json:
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": _SPEC}}}
    return {"name": "v1", "served": True, "storage": True, "schema": schema, **changes}


def _definition(**changes: Any) -> Json:
    names = {"kind": "Widget", "plural": "widgets"}
    return {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [_version()], **changes}


def test_a_definition_has_the_name_of_what_it_defines(rig: Rig) -> None:
    with pytest.raises(Answered) as refused:
        rig.create(_DEFINITIONS, "widget", spec=_definition())
    assert refused.value.body["message"] == (
        'CustomResourceDefinition.apiextensions.k8s.io "widget" is invalid: metadata.name: Invalid value: "widget": '
        'must be spec.names.plural+"."+spec.group'
    )
    assert refused.value.code == 422
    rig.create(_DEFINITIONS, "widgets.example.com", spec=_definition())


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("widgets.example", {"group": "example"}, "spec.group: Invalid value: .* a domain with at least one dot"),
        ("widgets.example.com", {"scope": "World"}, 'spec.scope: Unsupported value: "World": supported values: "Clu'),
        (
            "Widgets.example.com",
            {"names": {"kind": "Widget", "plural": "Widgets"}},
            'spec.names.plural: Invalid value: "Widgets": a DNS-1035 label must consist of',
        ),
        (
            "widgets.example.com",
            {"names": {"kind": "Wid get", "plural": "widgets"}},
            'spec.names.kind: Invalid value: "Wid get": may have mixed case, but should otherwise match: a DNS-1035',
        ),
        (
            "widgets.example.com",
            {"versions": [_version(schema=None)]},
            r"spec.versions\[0\].schema.openAPIV3Schema: Required value",
        ),
        (
            "widgets.example.com",
            {"versions": [_version(name="1")]},
            r'spec.versions\[0\].name: Invalid value: "1": a DNS-1035 label',
        ),
        (
            "widgets.example.com",
            {"versions": [_version(), _version(storage=False)]},
            "spec.versions: Invalid value: .*: must contain unique version names",
        ),
        (
            "widgets.example.com",
            {"versions": [_version(storage=False)]},
            "spec.versions: Invalid value: .*: must have exactly one version marked as storage version",
        ),
    ],
    ids=["group", "scope", "plural", "kind", "schema", "version", "twice", "storage"],
)
def test_a_definition_that_defines_nothing_is_refused(rig: Rig, name: str, changes: Json, said: str) -> None:
    with pytest.raises(Answered, match=said):
        rig.create(_DEFINITIONS, name, spec=_definition(**changes))


def test_what_objects_are_found_by_stays(rig: Rig) -> None:
    rig.create(_DEFINITIONS, "widgets.example.com", spec=_definition())
    changes: list[Json] = [{"scope": "Cluster"}, {"group": "other.com"}, {"names": {"kind": "Wheel"}}]
    for each in changes:
        with pytest.raises(Answered, match="field is immutable"):
            rig.merge(f"{_DEFINITIONS}/widgets.example.com", {"spec": each})
    rig.merge(f"{_DEFINITIONS}/widgets.example.com", {"spec": {"names": {"shortNames": ["wd"]}}})


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({}, "spec.size: Required value"),
        ({"size": "x"}, 'spec.size: Invalid value: "string": spec.size in body must be of type integer: "string"'),
        ({"size": 0}, "spec.size in body should be greater than or equal to 1"),
        ({"size": 1, "color": "green"}, 'spec.color: Unsupported value: "green": supported values: "red", "blue"'),
        ({"size": 1, "tags": []}, "spec.tags: Invalid value: 0: spec.tags in body should have at least 1 items"),
    ],
)
def test_an_object_is_held_to_its_schema(rig: Rig, spec: Json, said: str) -> None:
    rig.create(_DEFINITIONS, "widgets.example.com", spec=_definition())
    with pytest.raises(Answered) as refused:
        rig.create(_WIDGETS, "w", spec=spec)
    assert refused.value.code == 422
    assert refused.value.body["message"].endswith(said)


def test_what_its_schema_does_not_know_is_taken_away_and_what_it_presumes_is_there(rig: Rig) -> None:
    rig.create(_DEFINITIONS, "widgets.example.com", spec=_definition())
    made = rig.create(_WIDGETS, "w", spec={"size": 1, "more": 2})
    assert made["spec"] == {"size": 1, "color": "red"}
    assert rig.warnings == ['299 - "unknown field \\"spec.more\\""']
