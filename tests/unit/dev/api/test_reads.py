"""Lists and looks: pages, versions, selectors, and the forms that an answer has."""

import json
from typing import Any

import pytest

from tests.rigs.api_server import CONFIG_MAPS, FUNCTIONS, GPU_NODES, PODS, Answered, Json, Rig, gpu_node

_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


@pytest.fixture
def rig() -> Rig:
    return Rig()


def _fill(rig: Rig, *names: str) -> None:
    for name in names:
        rig.create(CONFIG_MAPS, name)


def test_a_list_says_of_what_it_is_and_its_items_do_not(rig: Rig) -> None:
    _fill(rig, "b", "a")
    found = rig.get(CONFIG_MAPS)
    assert (found["kind"], found["apiVersion"]) == ("ConfigMapList", "v1")
    assert [sorted(each) for each in found["items"]] == [["metadata"], ["metadata"]]
    rig.create(GPU_NODES, "n", spec=gpu_node(1, 0))
    assert rig.get(GPU_NODES)["items"][0]["kind"] == "GpuNode"  # custom kinds say it each


def test_pages_show_one_moment(rig: Rig) -> None:
    _fill(rig, "a", "b", "c", "d")
    first = rig.get(f"{CONFIG_MAPS}?limit=3")
    assert first["metadata"]["remainingItemCount"] == 1
    _fill(rig, "bb", "e")
    rig.delete(f"{CONFIG_MAPS}/d")
    rest = rig.get(f"{CONFIG_MAPS}?limit=3&continue={first['metadata']['continue']}")
    assert [each["metadata"]["name"] for each in (*first["items"], *rest["items"])] == ["a", "b", "c", "d"]
    assert rest["metadata"] == {"resourceVersion": first["metadata"]["resourceVersion"]}


def test_a_page_that_is_forgotten_is_told_so(rig: Rig) -> None:
    _fill(rig, "a", "b")
    token = rig.get(f"{CONFIG_MAPS}?limit=1")["metadata"]["continue"]
    _fill(rig, "c")
    rig.server.store.forget()
    with pytest.raises(Answered) as refused:
        rig.get(f"{CONFIG_MAPS}?limit=1&continue={token}")
    assert (refused.value.code, refused.value.body["reason"]) == (410, "Expired")
    with pytest.raises(Answered, match="continue key is not valid"):
        rig.get(f"{CONFIG_MAPS}?continue=nix")


def test_versions_of_a_list(rig: Rig) -> None:
    _fill(rig, "a")
    then = rig.get(CONFIG_MAPS)["metadata"]["resourceVersion"]
    _fill(rig, "b")
    assert rig.names(f"{CONFIG_MAPS}?resourceVersion={then}&resourceVersionMatch=Exact") == ["a"]
    assert rig.names(f"{CONFIG_MAPS}?resourceVersion={then}&resourceVersionMatch=NotOlderThan") == ["a", "b"]
    assert rig.names(f"{CONFIG_MAPS}?resourceVersion=0") == ["a", "b"]
    with pytest.raises(Answered) as refused:
        rig.get(f"{CONFIG_MAPS}?resourceVersion=99999")
    assert (refused.value.code, refused.value.body["reason"]) == (504, "Timeout")
    assert refused.value.body["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
    for query, said in (
        ("resourceVersionMatch=Exact", "is forbidden unless resourceVersion is provided"),
        ("resourceVersion=0&resourceVersionMatch=Exact", 'is forbidden for resourceVersion "0"'),
        (f"resourceVersion={then}&resourceVersionMatch=Nix", 'Unsupported value: "Nix"'),
        ("continue=x&resourceVersionMatch=Exact", "is forbidden when continue is provided"),
    ):
        with pytest.raises(Answered, match=said) as refused:
            rig.get(f"{CONFIG_MAPS}?{query}")
        assert refused.value.body["details"]["kind"] == "ListOptions"
    with pytest.raises(Answered, match="resourceVersion: Invalid value"):
        rig.get(f"{CONFIG_MAPS}?resourceVersion=nix")


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("app=a", ["1", "2"]),
        ("app==a,tier!=front", ["2"]),
        ("app in (a, b)", ["1", "2", "3"]),
        ("app notin (a)", ["3", "4"]),
        ("tier", ["1"]),
        ("!tier", ["2", "3", "4"]),
        ("app=a,tier in (front),!x", ["1"]),
        ("", ["1", "2", "3", "4"]),
    ],
)
def test_label_selectors(rig: Rig, selector: str, names: list[str]) -> None:
    for name, labels in (("1", {"app": "a", "tier": "front"}), ("2", {"app": "a"}), ("3", {"app": "b"}), ("4", {})):
        rig.create(CONFIG_MAPS, name, metadata={"labels": labels})
    assert rig.names(f"{CONFIG_MAPS}?labelSelector={selector.replace(' ', '%20')}") == names


@pytest.mark.parametrize("selector", ["a=b=c", "in (x)", "a in x", "a b", "=,="])
def test_a_label_selector_that_is_none(rig: Rig, selector: str) -> None:
    with pytest.raises(Answered, match="unable to parse requirement"):
        rig.get(f"{CONFIG_MAPS}?labelSelector={selector.replace(' ', '%20')}")


def test_field_selectors_are_those_that_the_real_one_has(rig: Rig) -> None:
    containers = [{"name": "a", "image": "x"}]
    rig.create(PODS, "p", spec={"containers": containers, "nodeName": "n"})
    rig.create(PODS, "q", spec={"containers": containers})
    assert rig.names(f"{PODS}?fieldSelector=spec.nodeName=n,status.phase!=Failed") == ["p"]
    assert rig.names(f"{PODS}?fieldSelector=spec.nodeName%21%3Dn") == ["q"]
    assert rig.names(f"{CONFIG_MAPS}?fieldSelector=metadata.name=x") == []
    with pytest.raises(Answered, match="not supported: spec"):
        rig.get(f"{PODS}?fieldSelector=spec.image=x")
    with pytest.raises(Answered, match="not supported: status"):
        rig.get(f"{FUNCTIONS}?fieldSelector=status.url=x")


def _rows(found: dict[str, Any]) -> list[list[Any]]:
    return [row["cells"] for row in found["rows"]]


def test_a_table_has_the_columns_that_kubectl_prints(rig: Rig) -> None:
    rig.create(PODS, "p", spec={"containers": [{"name": "a", "image": "x"}], "nodeName": "n"})
    state = {
        "name": "a",
        "ready": False,
        "restartCount": 2,
        "image": "x",
        "imageID": "",
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
    }
    ended = {"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T00:00:00Z"}}
    rig.merge(
        f"{PODS}/p/status", {"status": {"phase": "Running", "containerStatuses": [{**state, "lastState": ended}]}}
    )
    rig.passes(125)
    found = rig.get(PODS, accept=_TABLE)
    assert [each["name"] for each in found["columnDefinitions"]][:5] == ["Name", "Ready", "Status", "Restarts", "Age"]
    assert _rows(found)[0][:5] == ["p", "0/1", "CrashLoopBackOff", "2 (2m5s ago)", "2m5s"]
    assert found["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    rig.delete(f"{PODS}/p")
    assert _rows(rig.get(f"{PODS}/p", accept=_TABLE))[0][2] == "Terminating"


@pytest.mark.parametrize(
    ("first", "says"),
    [
        ({"terminated": {"exitCode": 4, "reason": "Error"}}, "Init:Error"),
        ({"terminated": {"exitCode": 4}}, "Init:ExitCode:4"),
        ({"waiting": {"reason": "CrashLoopBackOff"}}, "Init:CrashLoopBackOff"),
        ({"waiting": {"reason": "PodInitializing"}}, "Init:0/2"),
        ({"terminated": {"exitCode": 0, "reason": "Completed"}}, "Init:1/2"),
    ],
)
def test_of_a_pod_that_begins_the_columns_are_about_its_start(rig: Rig, first: Json, says: str) -> None:
    containers = [{"name": name, "image": "x"} for name in ("main", "one", "two")]
    rig.create(PODS, "p", spec={"containers": containers[:1], "initContainers": containers[1:]})

    def status(name: str, state: Json) -> Json:
        return {"name": name, "ready": False, "restartCount": 1, "image": "x", "imageID": "", "state": state}

    waits = {"waiting": {"reason": "PodInitializing"}}
    begins = {"containerStatuses": [status("main", waits)]}
    begins["initContainerStatuses"] = [status("one", first), status("two", {"running": {}})]
    rig.merge(f"{PODS}/p/status", {"status": {"phase": "Pending", **begins}})
    ((_, _, told, restarts, *_),) = _rows(rig.get(f"{PODS}/p", accept=_TABLE))
    assert (told, restarts) == (says, "2" if says == "Init:1/2" else "1")


def test_a_custom_kinds_columns_are_paths(rig: Rig) -> None:
    rig.create(GPU_NODES, "n", spec=gpu_node(1, 0))
    applied = {
        "type": "SpecApplied",
        "status": "True",
        "reason": "A",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    rig.merge(
        f"{GPU_NODES}/n/status", {"status": {"layout": "dynamic", "summary": {"busy": 2}, "conditions": [applied]}}
    )
    found = rig.get(GPU_NODES, accept=_TABLE)
    assert _rows(found) == [["n", "dynamic", None, 2, None, None, None, None, "True", "0s"]]


def test_what_a_row_carries_is_asked_for(rig: Rig) -> None:
    _fill(rig, "c")
    assert rig.get(f"{CONFIG_MAPS}?includeObject=Object", accept=_TABLE)["rows"][0]["object"]["kind"] == "ConfigMap"
    assert "object" not in rig.get(f"{CONFIG_MAPS}?includeObject=None", accept=_TABLE)["rows"][0]


def test_metadata_alone(rig: Rig) -> None:
    rig.create(CONFIG_MAPS, "c", data={"a": "b"})
    found = rig.get(CONFIG_MAPS, accept="application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")
    assert found["kind"] == "PartialObjectMetadataList"
    assert sorted(found["items"][0]) == ["apiVersion", "kind", "metadata"]
    one = rig.get(f"{CONFIG_MAPS}/c", accept="application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1")
    assert (one["kind"], "data" in one) == ("PartialObjectMetadata", False)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/vnd.kubernetes.protobuf,application/json", "application/json"),
        ("application/vnd.kubernetes.protobuf, */*", "application/json"),
        ("application/json;q=0.1, application/yaml", "application/yaml"),
        ("application/json;as=Nix;v=v1;g=meta.k8s.io,application/json", "application/json"),
    ],
)
def test_the_first_form_that_is_served_is_taken(rig: Rig, accept: str, content_type: str) -> None:
    _, _, headers = rig.send("GET", CONFIG_MAPS, accept=accept)
    assert headers["content-type"] == content_type


def test_who_takes_nothing_that_is_served_is_told_what_is(rig: Rig) -> None:
    code, body, _ = rig.send("GET", CONFIG_MAPS, accept="application/cbor")
    assert code == 406
    assert "application/cbor" in json.loads(body)["message"]
