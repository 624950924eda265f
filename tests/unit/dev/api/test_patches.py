"""The three patches that are merged into an object."""

from typing import Any

import pytest

from knative_mig.dev.api import patches, strategic_merge, types
from knative_mig.dev.api.refusals import Refusal

_TYPES = types.committed()


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": None}}, {"a": {"c": 2}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": 1}, {"a": {"b": None, "c": 1}}, {"a": {"c": 1}}),
    ],
)
def test_a_merge_patch(target: Any, patch: Any, result: Any) -> None:
    assert patches.merged(target, patch) == result


@pytest.mark.parametrize(
    ("operations", "result"),
    [
        ([{"op": "add", "path": "/c", "value": 1}], {"a": [1, 2], "b": {"x/y": 1}, "c": 1}),
        ([{"op": "add", "path": "/a/1", "value": 9}], {"a": [1, 9, 2], "b": {"x/y": 1}}),
        ([{"op": "add", "path": "/a/-", "value": 9}], {"a": [1, 2, 9], "b": {"x/y": 1}}),
        ([{"op": "remove", "path": "/a/0"}], {"a": [2], "b": {"x/y": 1}}),
        ([{"op": "replace", "path": "/b/x~1y", "value": 2}], {"a": [1, 2], "b": {"x/y": 2}}),
        ([{"op": "move", "from": "/a/0", "path": "/c"}], {"a": [2], "b": {"x/y": 1}, "c": 1}),
        ([{"op": "copy", "from": "/a", "path": "/c"}], {"a": [1, 2], "b": {"x/y": 1}, "c": [1, 2]}),
        ([{"op": "test", "path": "/a/1", "value": 2}, {"op": "remove", "path": "/b"}], {"a": [1, 2]}),
        ([{"op": "replace", "path": "", "value": {}}], {}),
    ],
)
def test_a_json_patch(operations: Any, result: Any) -> None:
    target = {"a": [1, 2], "b": {"x/y": 1}}
    assert patches.patched(target, operations) == result
    assert target == {"a": [1, 2], "b": {"x/y": 1}}


@pytest.mark.parametrize(
    ("operations", "code", "said"),
    [
        ([{"op": "test", "path": "/a", "value": 2}], 422, "testing value /a failed"),
        ([{"op": "remove", "path": "/b"}], 422, "remove operation does not apply: doc is missing path: /b"),
        ([{"op": "replace", "path": "/b", "value": 1}], 422, "doc is missing path"),
        ([{"op": "add", "path": "/l/5", "value": 1}], 422, "doc is missing path"),
        ([{"op": "add", "path": "/a/b", "value": 1}], 422, "doc is missing path"),
        ([{"op": "remove", "path": ""}], 422, "remove operation does not apply"),
        ([{"op": "copy", "path": "/a", "from": 1}], 422, "copy operation does not apply"),
        ([{"op": "move", "path": "/a", "from": None}], 422, "move operation does not apply"),
        ([{"op": "nix", "path": "/a"}], 422, "Unexpected kind: nix"),
        ([{"op": "add", "path": "a"}], 400, "'a' is no path"),
        ({}, 400, "a list of operations"),
        ([{"op": "add", "path": "/x", "value": 1}] * 10_001, 413, "is 10000, got 10001"),
    ],
)
def test_a_json_patch_that_does_not_fit(operations: Any, code: int, said: str) -> None:
    with pytest.raises(Refusal) as refused:
        patches.patched({"a": 1, "l": []}, operations)
    assert refused.value.code == code
    assert said in " ".join([refused.value.message, *getattr(refused.value, "__notes__", ())])


def test_why_a_json_patch_does_not_fit_is_kept_from_clients_as_the_real_one_keeps_it() -> None:
    with pytest.raises(Refusal) as refused:
        patches.patched({}, [{"op": "test", "path": "/a", "value": 2}])
    assert refused.value.body["message"] == "the server rejected our request due to an error in our request"
    assert refused.value.body["details"] == {}


def _spec(*containers: Any, **more: Any) -> Any:
    return {"containers": list(containers), **more}


_A, _B = {"name": "a", "image": "1", "args": ["x"]}, {"name": "b", "image": "2"}


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        (_spec(_A, _B), _spec({"name": "b", "image": "3"}), _spec(_A, {**_B, "image": "3"})),
        (_spec(_A), _spec(_B), _spec(_A, _B)),
        (_spec(_A, _B), _spec({"name": "a", "$patch": "delete"}), _spec(_B)),
        (_spec(_A, _B), _spec({"$patch": "replace"}, _B), _spec(_B)),
        (_spec(_A), _spec({"name": "a", "args": ["y"]}), _spec({**_A, "args": ["y"]})),
        (
            _spec(_A, _B),
            {
                "containers": [{"name": "c"}],
                "$setElementOrder/containers": [{"name": "c"}, {"name": "a"}, {"name": "b"}],
            },
            _spec({"name": "c"}, _A, _B),
        ),
        (
            _spec(_A, _B),
            {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]},
            _spec(_B, _A),
        ),
        (_spec(nodeSelector={"a": "1", "b": "2"}), {"nodeSelector": {"a": None}}, _spec(nodeSelector={"b": "2"})),
        (
            _spec(nodeSelector={"a": "1"}),
            {"nodeSelector": {"$patch": "replace", "b": "2"}},
            _spec(nodeSelector={"b": "2"}),
        ),
        (
            _spec(volumes=[{"name": "v", "emptyDir": {}}]),
            {"volumes": [{"$retainKeys": ["name", "hostPath"], "name": "v", "hostPath": {"path": "/x"}}]},
            _spec(volumes=[{"name": "v", "hostPath": {"path": "/x"}}]),
        ),
        (_spec(tolerations=[{"key": "a"}]), {"tolerations": [{"key": "b"}]}, _spec(tolerations=[{"key": "b"}])),
    ],
    ids=[
        "by the key",
        "one more",
        "one less",
        "all others",
        "a list without keys is replaced",
        "in an order",
        "an order alone",
        "a key less",
        "another map",
        "one of several",
        "replaced",
    ],
)
def test_a_strategic_merge(target: Any, patch: Any, result: Any) -> None:
    assert strategic_merge.merged(target, patch, _TYPES.named("core.v1.PodSpec"), _TYPES) == result


def test_primitive_lists_are_joined_and_thinned() -> None:
    about = _TYPES.named("meta.v1.ObjectMeta")
    assert strategic_merge.merged({"finalizers": ["a"]}, {"finalizers": ["b", "a"]}, about, _TYPES) == {
        "finalizers": ["a", "b"]
    }
    patch = {"$deleteFromPrimitiveList/finalizers": ["a"]}
    assert strategic_merge.merged({"finalizers": ["a", "b"]}, patch, about, _TYPES) == {"finalizers": ["b"]}


def test_a_field_whose_name_looks_like_a_directive_is_one_all_the_same() -> None:
    schema = _TYPES.named("apiextensions.v1.JSONSchemaProps")
    assert strategic_merge.merged({}, {"$ref": "x"}, schema, _TYPES) == {"$ref": "x"}


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        ({"containers": [{"image": "x"}]}, "does not contain declared merge key: name"),
        ({"$patch": "nix"}, "Unknown patch type found: nix"),
    ],
)
def test_a_strategic_merge_that_is_none(patch: Any, said: str) -> None:
    with pytest.raises(Refusal, match=said):
        strategic_merge.merged(_spec(_A), patch, _TYPES.named("core.v1.PodSpec"), _TYPES)
