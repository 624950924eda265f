"""Who is asked before a write is kept, and what happens where nobody answers."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from knative_mig.dev.api.admission import Hook, OnFailure, Phase
from tests.rigs.api_server import CONFIG_MAPS, FUNCTIONS, Answered, Json, Rig


def _answers(allowed: bool = True, **more: Any) -> Callable[[bytes], bytes]:  # noqa: FBT001, FBT002  the answer's word
    def ask(review: bytes) -> bytes:
        uid = json.loads(review)["request"]["uid"]
        return json.dumps({"response": {"uid": uid, "allowed": allowed, **more}}).encode()

    return ask


def _patch(*operations: Json) -> str:
    return base64.b64encode(json.dumps(operations).encode()).decode()


def _hook(ask: Callable[[bytes], bytes], phase: Phase = Phase.VALIDATE, **more: Any) -> Hook:
    return Hook(name="hook.example.com", phase=phase, ask=ask, **{"resources": ("configmaps",), **more})


def _fails(_: bytes) -> bytes:
    raise TimeoutError("no answer in 5 s")


def test_a_hook_changes_what_is_kept_and_who_judges_sees_it() -> None:
    seen: list[Json] = []

    def judge(review: bytes) -> bytes:
        seen.append(json.loads(review)["request"])
        return _answers()(review)

    adding = _patch({"op": "add", "path": "/metadata/labels", "value": {"a": "b"}})
    rig = Rig([_hook(judge), _hook(_answers(patch=adding, patchType="JSONPatch"), Phase.MUTATE)])
    assert rig.create(CONFIG_MAPS, "c")["metadata"]["labels"] == {"a": "b"}
    (request,) = seen
    assert (request["operation"], request["resource"]["resource"], request["namespace"]) == (
        "CREATE",
        "configmaps",
        "default",
    )
    assert request["object"]["metadata"]["labels"] == {"a": "b"}
    assert request["oldObject"] is None
    assert request["dryRun"] is False


def test_a_no_is_told_with_its_reason() -> None:
    rig = Rig([_hook(_answers(allowed=False, status={"message": "not here", "code": 422}))])
    with pytest.raises(Answered) as refused:
        rig.create(CONFIG_MAPS, "c")
    assert refused.value.code == 422
    assert refused.value.body["message"] == 'admission webhook "hook.example.com" denied the request: not here'
    assert rig.names(CONFIG_MAPS) == []


def test_warnings_reach_the_client() -> None:
    rig = Rig([_hook(_answers(warnings=['say "x"']))])
    rig.create(CONFIG_MAPS, "c")
    assert rig.warnings == ['299 - "say \\"x\\""']


def test_what_a_hook_makes_of_an_object_is_validated() -> None:
    adding = _patch({"op": "add", "path": "/metadata/labels", "value": {"a b": "c"}})
    rig = Rig([_hook(_answers(patch=adding), Phase.MUTATE)])
    with pytest.raises(Answered, match="name part must consist of"):
        rig.create(CONFIG_MAPS, "c")


def test_only_those_are_asked_whom_it_concerns() -> None:
    refusing = _answers(allowed=False)
    hooks = [
        _hook(refusing, resources=("pods",)),
        _hook(refusing, operations=("DELETE",)),
        _hook(refusing, takes=lambda body: body["metadata"]["name"] == "other"),
    ]
    rig = Rig(hooks)
    rig.create(CONFIG_MAPS, "c")
    with pytest.raises(Answered, match="denied the request without explanation"):
        rig.create(CONFIG_MAPS, "other")
    with pytest.raises(Answered, match="denied"):
        rig.delete(f"{CONFIG_MAPS}/c")


def test_a_hook_that_fails_refuses_or_is_passed_over() -> None:
    rig = Rig([_hook(_fails, on_failure=OnFailure.GO_ON)])
    rig.create(CONFIG_MAPS, "c")
    rig.hooks = [_hook(_fails)]
    with pytest.raises(Answered) as refused:
        rig.create(CONFIG_MAPS, "d")
    assert refused.value.code == 500
    assert refused.value.body["message"] == (
        'Internal error occurred: failed calling webhook "hook.example.com": no answer in 5 s'
    )
    rig.hooks = [_hook(lambda _: b"nix")]
    with pytest.raises(Answered, match="failed calling webhook"):
        rig.create(CONFIG_MAPS, "d")


def test_an_update_shows_both() -> None:
    seen: list[Json] = []

    def judge(review: bytes) -> bytes:
        seen.append(json.loads(review)["request"])
        return _answers()(review)

    rig = Rig()
    rig.create(CONFIG_MAPS, "c", data={"a": "1"})
    rig.hooks = [_hook(judge, operations=("UPDATE", "DELETE"))]
    rig.merge(f"{CONFIG_MAPS}/c", {"data": {"a": "2"}})
    rig.delete(f"{CONFIG_MAPS}/c")
    assert [(each["operation"], (each["object"] or {}).get("data"), each["oldObject"]["data"]) for each in seen] == [
        ("UPDATE", {"a": "2"}, {"a": "1"}),
        ("DELETE", None, {"a": "2"}),
    ]


def test_a_hook_may_write_while_others_wait_for_it() -> None:
    """As the project's own webhook does, which makes a namespace's secret where a pod is the first to need it."""
    rig = Rig()

    def ask(review: bytes) -> bytes:
        rig.hooks = []
        rig.create(CONFIG_MAPS, "made-by-the-hook")
        return _answers()(review)

    rig.hooks = [_hook(ask, resources=("services.serving.knative.dev",))]
    rig.create(FUNCTIONS, "f", spec={"template": {"spec": {"containers": [{"image": "x"}]}}})
    assert rig.names(CONFIG_MAPS) == ["made-by-the-hook"]


@pytest.mark.parametrize("on_failure", OnFailure)
def test_a_condition_that_cannot_be_told_is_a_hook_that_fails(on_failure: OnFailure) -> None:
    """As of an object that has not the field that the condition asks for."""

    def takes(body: Json) -> bool:
        return bool(body["spec"]["there"])

    rig = Rig([_hook(_answers(), takes=takes, on_failure=on_failure)])
    if on_failure is OnFailure.GO_ON:
        rig.create(CONFIG_MAPS, "c")
        assert rig.names(CONFIG_MAPS) == ["c"]
        return
    with pytest.raises(Answered, match="failed calling webhook"):
        rig.create(CONFIG_MAPS, "c")


def test_what_is_garbage_is_deleted_though_a_hook_cannot_tell_whether_it_is_asked() -> None:
    def takes(body: Json) -> bool:
        return bool(body["spec"]["there"])

    rig = Rig()
    owner = rig.create(CONFIG_MAPS, "owner")["metadata"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["uid"]}
    rig.create(CONFIG_MAPS, "owned", metadata={"ownerReferences": [reference]})
    rig.delete(f"{CONFIG_MAPS}/owner")
    rig.hooks.append(_hook(_answers(), takes=takes, operations=("DELETE",), on_failure=OnFailure.GO_ON))
    rig.settle()
    assert rig.names(CONFIG_MAPS) == []
