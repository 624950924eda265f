"""A running generation that the planner's own process moves: two real relays are the pods, the test is Knative."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from knative_mig.adapters.kube.floor_objects import RECORDS
from knative_mig.adapters.kube.kinds import EVENT, POD, REVISION
from knative_mig.adapters.kube.move_objects import MOVES
from knative_mig.core.relays import MOVE_PORT
from knative_mig.ports.kube import Key
from tests.contract.planner_rig import answer, gates, notes, offer, phases, planner, pod_object, put_node, until, wanted
from tests.fake_api import FakeApi
from tests.rigs.relay_processes import SECRET, Reader, RelayProcess, slowly
from tests.rigs.relay_processes import until as until_so
from tests.rigs.small_cluster import gpu
from tests.rigs.tiny_server import asks

OLD_IP, NEW_IP = "127.77.0.1", "127.77.0.2"  # which nobody else has, as the port is everybody's
LONG = asks(max_tokens=300, temperature=1.0, prompt="Once upon a time " * 9)


def put_pod(api: FakeApi, name: str, address: str = "", *, ending: bool = False, **words: Any) -> None:
    body = pod_object(name, "3g.20gb", revision="llm-00001", notes={"knative-mig.dev/movable": "true"}, **words)
    body["status"]["podIP"] = address
    if ending:
        body["metadata"] |= {"deletionTimestamp": "2126-01-01T00:00:00Z", "deletionGracePeriodSeconds": 300}
    api.put_object(body)


def put_function(api: FakeApi) -> None:
    about = {"namespace": "team", "name": "llm-00001", "uid": "uid-llm-00001",
             "labels": {"serving.knative.dev/service": "llm", "serving.knative.dev/configurationGeneration": "1"},
             "annotations": {}}  # fmt: skip
    status = {"conditions": [{"type": "Ready", "status": "True"}], "desiredReplicas": 1}
    api.put_object({"apiVersion": REVISION.group, "kind": "Revision", "metadata": about, "spec": {}, "status": status})
    secret = {"secret": base64.b64encode(SECRET.encode()).decode()}
    where = {"namespace": "team", "name": "knative-mig-relay"}
    api.put_object({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": where, "data": secret})


def settle(api: FakeApi, first: Mapping[str, str | None], second: Mapping[str, str | None]) -> None:
    """The agent has carried out the spec: what stands on each GPU."""
    answer(api, **{"GPU-1": first, "GPU-2": second})


def test_a_generation_goes_on_in_the_new_pod_and_the_place_is_anothers_while_the_old_one_ends(tmp_path: Path) -> None:
    move_port = ("--move-port", str(MOVE_PORT))
    relays = [RelayProcess(tmp_path, "--host", each, *move_port) for each in (OLD_IP, NEW_IP)]
    try:
        for each in relays:
            each.wait_until_ready()
        whole = Reader(relays[0].port, "/v1/completions", LONG, host=OLD_IP).read_all()
        with FakeApi() as api:
            _move(api, relays[0], whole.told, tmp_path)
    finally:
        for each in relays:
            each.end()


def _move(api: FakeApi, source: RelayProcess, right: list[Any], folder: Path) -> None:
    fixed = {"4g.20gb@0": "fixed"}
    put_node(api, gpu("GPU-1", {"3g.20gb@4": "old"}), gpu("GPU-2", fixed))
    put_pod(api, "old", OLD_IP, node="n1")
    api.put_object(pod_object("fixed", "4g.20gb", node="n1"))
    put_function(api)
    with planner(api):
        until(api, lambda: bool(notes(api, RECORDS)) and bool(notes(api, MOVES)))
        answer(api)
        api.put_object(pod_object("whole", "7g.40gb", gated=True))
        until(api, lambda: wanted(api) == ["4g.20gb@0", "3g.20gb@4"])
        settle(api, {"3g.20gb@4": "old"}, {**fixed, "3g.20gb@4": None})
        offer(api)
        until(api, lambda: phases(api) == ["Starting"])
        put_pod(api, "new", NEW_IP, node="n1")
        settle(api, {"3g.20gb@4": "old"}, {**fixed, "3g.20gb@4": "new"})
        until(api, lambda: phases(api) == ["Leaving"])

        with slowly(folder):
            reader = Reader(source.port, "/v1/completions", LONG, host=OLD_IP)
            reader.read_until(40)
            put_pod(api, "old", OLD_IP, node="n1", ending=True, ready=False)
            until(api, lambda: phases(api) == ["Clearing"])
            until_so(lambda: not source.engine_lives, "the end of its engine")
        assert reader.read_all().is_done
        assert reader.told == right

        settle(api, {"3g.20gb@4": "!Released:old"}, {**fixed, "3g.20gb@4": "new"})
        until(api, lambda: wanted(api)[0] == "7g.40gb@0")
        settle(api, {"7g.40gb@0": None}, {**fixed, "3g.20gb@4": "new"})
        offer(api)
        until(api, lambda: not gates(api, "whole"))
        assert api.client().get(POD, Key("team", "old"))["metadata"]["deletionTimestamp"]
        until(api, lambda: "HandedOver" in {each["reason"] for each in api.objects(EVENT)})
    (told,) = [each["message"] for each in api.objects(EVENT) if each["reason"] == "HandedOver"]
    assert told == "1 of 1 generations of pod old go on in another"
