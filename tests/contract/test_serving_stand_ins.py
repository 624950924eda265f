"""Serving's stand-ins as they run in `dev`: threads, mirrors and HTTP, with what goes wrong there."""

import pytest

from knative_mig.adapters.kube.kinds import REVISION
from knative_mig.dev.serving import objects
from knative_mig.dev.serving.controllers import Name
from knative_mig.dev.serving.objects import REPLICA_SET, ROUTE
from knative_mig.ports.kube import Key
from tests.contract.serving_rig import serving
from tests.fake_api import FakeApi

pytestmark = pytest.mark.timeout(180)


def test_a_function_is_made_updated_scaled_and_comes_to_rest() -> None:
    with FakeApi() as api, serving(api) as rig:
        rig.apply("llm")
        rig.until(lambda: rig.is_ready("llm"))
        assert len(rig.pods()) == 1
        rig.apply("llm", image="dev.local/llm:v2")
        rig.until(lambda: objects.status(rig.get(ROUTE, "llm"))["traffic"][0]["revisionName"] == "llm-00002")
        rig.until(lambda: rig.is_ready("llm"))
        rig.wants("llm-00001", 0)
        rig.wants("llm-00002", 5)
        rig.until(lambda: len(rig.pods()) == 5)
        rig.until(lambda: rig.get(REVISION, "llm-00002")["status"].get("actualReplicas") == 5)
        version, passes = rig.quiet(), rig.loop.passes
        rig.quiet()
        assert (api.store.version, rig.loop.passes) == (version, passes)
        told = {reason for _, reason, _ in rig.told.events}
        assert {"Created", "RevisionReady", "LatestReadyUpdate", "ScalingReplicaSet", "SuccessfulCreate"} <= told


def test_no_pod_is_made_twice_however_late_the_watches_are() -> None:
    with FakeApi() as api, serving(api, watch_s=1.0) as rig:
        rig.apply("llm")
        rig.until(lambda: rig.is_ready("llm"))
        made = len([each for each in api.requests if each[0] == "POST" and each[1].endswith("/pods")])
        api.faults.silent_watches = True
        rig.wants("llm-00001", 20)
        rig.until(lambda: len(rig.pods()) >= 20)
        for name in [each["metadata"]["name"] for each in api.objects(REPLICA_SET)]:
            for _ in range(20):
                rig.loop.poke(Name.REPLICA_SET, Key("default", name))
        rig.quiet()
        api.faults.silent_watches = False
        api.drop_watches()
        rig.until(lambda: rig.get(REVISION, "llm-00001")["status"].get("actualReplicas") == 20)
        posts = [each for each in api.requests if each[0] == "POST" and each[1].endswith("/pods")]
        assert len(rig.pods()) == 20
        assert len(posts) - made == 19


def test_a_refused_pod_is_told_of_and_made_when_it_is_let_in() -> None:
    with FakeApi() as api, serving(api) as rig:
        api.faults.fail(403, times=3, method="POST", path="/pods")
        rig.apply("llm")
        rig.until(lambda: any(objects.condition(each, "ReplicaFailure") for each in api.objects(REPLICA_SET)))
        rig.until(lambda: rig.is_ready("llm"))
        assert not any(objects.condition(each, "ReplicaFailure") for each in api.objects(REPLICA_SET))
        assert ("ReplicaSet", "FailedCreate", "Error creating: a test wants it so") in rig.told.events


def test_an_api_server_that_fails_now_and_then_changes_nothing_in_the_end() -> None:
    with FakeApi() as api, serving(api) as rig:
        rig.apply("llm")
        api.faults.fail(500, times=5, method="PATCH")
        api.faults.fail(0, times=3, method="POST")
        rig.until(lambda: rig.is_ready("llm"))
        api.compact()
        rig.apply("llm", image="dev.local/llm:v2")
        rig.until(lambda: rig.is_ready("llm") and rig.get(REVISION, "llm-00002"))


def test_whoever_comes_after_a_restart_goes_on_and_makes_nothing_anew() -> None:
    with FakeApi() as api:
        with serving(api) as rig:
            rig.apply("llm")
            rig.until(lambda: rig.is_ready("llm"))
            before = rig.quiet()
        with serving(api) as rig:
            rig.quiet()
            assert api.store.version == before
            rig.wants("llm-00001", 3)
            rig.until(lambda: len(rig.pods()) == 3)


def test_a_route_waits_for_the_gateway_to_say_that_it_has_it() -> None:
    with FakeApi() as api, serving(api) as rig:
        rig.gateway.shut.add("llm")
        rig.apply("llm")
        rig.until(lambda: objects.condition(rig.get(ROUTE, "llm"), "IngressReady").get("reason") == "Uninitialized")
        assert not rig.is_ready("llm")
        rig.opens("llm")
        rig.until(lambda: rig.is_ready("llm"))
