"""The life of a function under Serving's stand-ins, from its creation to its deletion, in virtual time."""

from knative_mig.adapters.kube.kinds import POD, POD_AUTOSCALER, REVISION
from knative_mig.dev.serving import objects, services
from knative_mig.dev.serving.objects import (
    CONFIGURATION,
    DEPLOYMENT,
    REPLICA_SET,
    ROUTE,
    SERVERLESS_SERVICE,
    SERVICE,
    WATCHED,
)
from knative_mig.dev.serving.settings import Settings
from knative_mig.dev.serving.writes import Change, Create
from knative_mig.ports.kube import Key
from tests.rigs.serving_world import ServingWorld

ALWAYS = Settings(domain="example.com", always_schedulable=True)


def test_a_new_service_gets_all_that_it_needs_and_is_ready_when_its_pod_is() -> None:
    world = ServingWorld(ALWAYS)
    world.apply("llm")
    assert world.names(CONFIGURATION) == world.names(ROUTE) == ["llm"]
    assert world.names(REVISION) == world.names(POD_AUTOSCALER) == world.names(SERVERLESS_SERVICE) == ["llm-00001"]
    assert world.names(DEPLOYMENT) == ["llm-00001-deployment"]
    assert world.condition(CONFIGURATION, "llm") == ("Unknown", "", "")
    (name,) = world.names(REPLICA_SET)
    (pod,) = world.names(POD)
    assert name.startswith("llm-00001-deployment-")
    assert pod.startswith(f"{name}-")
    assert world.condition(SERVICE, "llm") == (
        "Unknown",
        "RevisionMissing",
        'Configuration "llm" is waiting for a Revision to become ready.',
    )

    world.run_pods()

    service = world.get(SERVICE, "llm")
    assert world.condition(SERVICE, "llm") == ("True", "", "")
    assert service["status"]["url"] == "http://llm.default.example.com"
    assert service["status"]["address"] == {"url": "http://llm.default.svc.cluster.local"}
    assert service["status"]["latestReadyRevisionName"] == "llm-00001"
    assert service["status"]["traffic"] == [{"revisionName": "llm-00001", "percent": 100, "latestRevision": True}]
    assert service["status"]["observedGeneration"] == service["metadata"]["generation"]
    for kind, body in ((REVISION, "llm-00001"), (CONFIGURATION, "llm"), (ROUTE, "llm"), (POD_AUTOSCALER, "llm-00001")):
        assert world.condition(kind, body)[0] == "True", kind.kind


def test_a_service_is_never_called_ready_before_its_newest_template_serves() -> None:
    world = ServingWorld(ALWAYS)
    world.apply("llm")
    world.run_pods()
    world.apply("llm", image="dev.local/llm:v2", settle=False)
    seen = []
    for _ in range(40):
        world._round()
        service = world.get(SERVICE, "llm")
        seen.append((objects.is_observed(service), world.condition(SERVICE, "llm")[0]))
        if objects.is_observed(service):
            assert world.condition(SERVICE, "llm")[0] == "Unknown"
    assert seen[-1] == (True, "Unknown")
    assert world.get(SERVICE, "llm")["status"]["traffic"][0]["revisionName"] == "llm-00001"

    world.run_pods("llm-00002")

    assert world.condition(SERVICE, "llm")[0] == "True"
    assert world.get(SERVICE, "llm")["status"]["traffic"][0]["revisionName"] == "llm-00002"
    assert world.get(SERVICE, "llm")["status"]["latestCreatedRevisionName"] == "llm-00002"


def test_an_update_by_kn_of_what_another_client_made_comes_to_its_end() -> None:
    """It puts whole Services, with nulls that a merge patch to the Configuration cannot write."""
    world = ServingWorld(ALWAYS)
    world.apply("llm")
    world.run_pods()
    service = world.get(SERVICE, "llm")
    template = {**service["spec"]["template"], "metadata": {"creationTimestamp": None, "annotations": {"a": "b"}}}
    world.put(SERVICE, {**service, "spec": {**service["spec"], "template": template}})
    world.settle()
    world.run_pods("llm-00002")
    assert world.condition(SERVICE, "llm")[0] == "True"
    assert world.get(SERVICE, "llm")["status"]["latestReadyRevisionName"] == "llm-00002"


def test_traffic_that_has_not_moved_yet_is_said_to_be_on_its_way() -> None:
    world = ServingWorld(ALWAYS)
    world.apply("llm")
    world.run_pods()
    configuration = world.get(CONFIGURATION, "llm")
    newer = {**configuration["status"], "latestReadyRevisionName": "llm-00002"}
    world.put_status(CONFIGURATION, configuration, newer)
    (write,) = services.decide(world.seen(), Key("default", "llm")).writes
    assert isinstance(write, Change)
    world.patch(SERVICE, world.get(SERVICE, "llm"), write.patch)
    told = ("Unknown", "TrafficNotMigrated", "Traffic is not yet migrated to the latest revision.")
    assert world.condition(SERVICE, "llm", "RoutesReady") == told


def test_the_old_revision_is_let_go_once_the_traffic_has_left_it() -> None:
    world = ServingWorld(ALWAYS)
    world.apply("llm")
    world.run_pods()
    assert objects.labels(world.get(REVISION, "llm-00001"))[objects.ROUTING_STATE] == "active"
    world.apply("llm", image="dev.local/llm:v2")
    assert objects.labels(world.get(REVISION, "llm-00001"))[objects.ROUTING_STATE] == "active"
    assert world.get(POD_AUTOSCALER, "llm-00001")["spec"]["reachability"] == "Reachable"
    world.run_pods("llm-00002")
    old, new = world.get(REVISION, "llm-00001"), world.get(REVISION, "llm-00002")
    assert objects.labels(old)[objects.ROUTING_STATE] == "reserve"
    assert objects.ROUTES not in objects.annotations(old)
    assert objects.annotations(new)[objects.ROUTES] == "llm"
    assert world.get(POD_AUTOSCALER, "llm-00001")["spec"]["reachability"] == "Unreachable"
    assert world.get(POD_AUTOSCALER, "llm-00002")["spec"]["reachability"] == "Reachable"


def test_traffic_is_split_between_revisions_and_each_tag_has_a_url() -> None:
    world = ServingWorld(ALWAYS)
    world.apply("llm")
    world.run_pods()
    split = [
        {"revisionName": "llm-00001", "percent": 90, "latestRevision": False},
        {"latestRevision": True, "percent": 10, "tag": "canary"},
    ]
    world.apply("llm", image="dev.local/llm:v2", traffic=split)
    world.run_pods()
    assert world.condition(SERVICE, "llm")[0] == "True"
    assert world.get(SERVICE, "llm")["status"]["traffic"] == [
        {"revisionName": "llm-00001", "percent": 90, "latestRevision": False},
        {
            "revisionName": "llm-00002",
            "percent": 10,
            "latestRevision": True,
            "tag": "canary",
            "url": "http://canary-llm.default.example.com",
        },
    ]


def test_a_rollback_makes_no_new_revision_and_waits_for_nothing() -> None:
    world = ServingWorld(ALWAYS)
    world.apply("llm")
    world.run_pods()
    world.apply("llm", image="dev.local/llm:v2")
    world.run_pods()
    back = [{"revisionName": "llm-00001", "percent": 100, "latestRevision": False}]
    world.apply("llm", image="dev.local/llm:v2", traffic=back)
    assert world.names(REVISION) == ["llm-00001", "llm-00002"]
    assert world.condition(SERVICE, "llm")[0] == "True"
    assert world.get(ROUTE, "llm")["status"]["traffic"][0]["revisionName"] == "llm-00001"


def test_a_function_at_zero_stays_ready_and_says_that_nobody_asks_for_it() -> None:
    world = ServingWorld(ALWAYS)
    world.apply("llm")
    world.run_pods()
    world.autoscaler.wants["llm-00001"] = 0
    world.settle()
    assert world.names(POD) == []
    assert world.condition(SERVICE, "llm")[0] == "True"
    assert world.condition(REVISION, "llm-00001", "Active") == (
        "False",
        "NoTraffic",
        "The target is not receiving traffic.",
    )
    assert world.get(REVISION, "llm-00001")["status"]["desiredReplicas"] == 0
    world.autoscaler.wants["llm-00001"] = 2
    world.settle()
    assert len(world.names(POD)) == 2
    assert world.condition(REVISION, "llm-00001")[0] == "True"
    assert world.condition(POD_AUTOSCALER, "llm-00001", "Active")[:2] == ("Unknown", "Queued")


def test_a_waiting_pod_fails_the_revision_unless_pods_are_taken_for_schedulable() -> None:
    told = []
    for settings in (ALWAYS, Settings()):
        world = ServingWorld(settings)
        world.apply("llm")
        (pod,) = world.pods()
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
        world.put_status(POD, pod, {"phase": "Pending", "conditions": [condition]})
        world.settle()
        told.append(
            (world.condition(REVISION, "llm-00001"), world.get(POD_AUTOSCALER, "llm-00001")["spec"]["reachability"])
        )
    assert told[0] == (("Unknown", "Deploying", ""), "Reachable")
    assert told[1] == (("False", "Unschedulable", "0/1 nodes"), "Unreachable")


def test_deleting_a_service_leaves_nothing() -> None:
    world = ServingWorld(ALWAYS)
    world.apply("llm")
    world.run_pods()
    world.delete(SERVICE, "llm")
    world.settle()
    assert {kind.kind: world.names(kind) for kind in WATCHED if world.names(kind)} == {}


def test_a_route_is_ready_only_when_the_gateway_has_it() -> None:
    world = ServingWorld(ALWAYS)
    world.gateway.shut.add("llm")
    world.apply("llm")
    world.run_pods()
    assert world.condition(SERVICE, "llm") == ("Unknown", "Uninitialized", "Waiting for load balancer to be ready")
    assert world.get(ROUTE, "llm")["status"]["traffic"][0]["revisionName"] == "llm-00001"
    world.gateway.shut.clear()
    world.settle()
    assert world.condition(SERVICE, "llm")[0] == "True"


def test_a_revision_says_where_it_comes_from() -> None:
    world = ServingWorld(ALWAYS)
    modifier = {"serving.knative.dev/lastModifier": "ann"}
    world.apply("llm", annotations={"team": "a"}, service_annotations=modifier)
    revision = world.get(REVISION, "llm-00001")
    configuration, service = world.get(CONFIGURATION, "llm"), world.get(SERVICE, "llm")
    assert objects.labels(revision) == {
        "serving.knative.dev/configuration": "llm",
        "serving.knative.dev/configurationGeneration": "1",
        "serving.knative.dev/configurationUID": configuration["metadata"]["uid"],
        "serving.knative.dev/routingState": "active",
        "serving.knative.dev/service": "llm",
        "serving.knative.dev/serviceUID": service["metadata"]["uid"],
    }
    notes = objects.annotations(revision)
    assert (notes["team"], notes["serving.knative.dev/creator"], notes["serving.knative.dev/routes"]) == (
        "a",
        "ann",
        "llm",
    )


def test_a_function_starts_with_as_many_pods_as_it_asks_for() -> None:
    for asked, pods in (("3", 3), ("0", 0)):
        world = ServingWorld(ALWAYS)
        world.autoscaler.wants["llm-00001"] = pods
        world.apply("llm", annotations={"autoscaling.knative.dev/initial-scale": asked})
        (made,) = [
            each.body["spec"]["replicas"]
            for each in world.wrote
            if isinstance(each, Create) and each.kind is DEPLOYMENT
        ]
        assert made == len(world.pods()) == pods
