"""Which pods a ReplicaSet takes away first, and how a Deployment comes from one template to the next."""

from typing import Any

import pytest

from knative_mig.adapters.kube.fields import time_text
from knative_mig.adapters.kube.kinds import POD, REVISION
from knative_mig.dev.serving import objects
from knative_mig.dev.serving.objects import DEPLOYMENT, REPLICA_SET, Object
from knative_mig.dev.serving.pods import DELETION_COST, first_to_go, is_ready
from knative_mig.dev.serving.settings import Settings
from knative_mig.dev.serving.writes import Change
from tests.rigs.serving_world import START, ServingWorld

NOW = START


def pod(name: str, *, ready_s: float | None = 100, phase: str = "Running", **more: Any) -> Object:
    conditions = []
    if ready_s is not None:
        conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": time_text(NOW - ready_s)}]
    restarts = [{"name": "user-container", "restartCount": more.get("restarts", 0)}]
    return {
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": name,
            "creationTimestamp": time_text(NOW - more.get("age_s", 200)),
            "annotations": {DELETION_COST: more["cost"]} if "cost" in more else {},
        },
        "spec": {"nodeName": more.get("node", "n1")},
        "status": {"phase": phase, "conditions": conditions, "containerStatuses": restarts},
    }


@pytest.mark.parametrize(
    ("goes", "stays"),
    [
        (pod("b", node="", ready_s=None, phase="Pending"), pod("a", ready_s=None, phase="Pending")),
        (pod("b", ready_s=None, phase="Pending"), pod("a", ready_s=None)),
        (pod("b", ready_s=None), pod("a")),
        (pod("b", cost="-100", ready_s=5000), pod("a")),
        (pod("b"), pod("a", cost="7", ready_s=1)),
        (pod("b", ready_s=10), pod("a", ready_s=1000)),
        (pod("b", restarts=3), pod("a")),
        (pod("b", age_s=10), pod("a", age_s=1000)),
        (pod("a", ready_s=100), pod("b", ready_s=90)),  # as good as equally old: the uid decides
    ],
)
def test_what_serves_least_goes_first(goes: Object, stays: Object) -> None:
    for order in ([goes, stays], [stays, goes]):
        assert first_to_go(order, order, 1, NOW) == [goes]


@pytest.mark.parametrize("text", ["", "07", "1.5", "+1", "9999999999"])
def test_a_cost_that_is_no_number_counts_as_none(text: str) -> None:
    cheap, odd = pod("b", cost="-1"), pod("a", cost=text)
    assert first_to_go([odd, cheap], [], 1, NOW) == [cheap]
    dear = pod("b", cost="1")
    assert first_to_go([odd, dear], [], 1, NOW) == [odd]


def test_of_equal_pods_those_go_that_share_their_node() -> None:
    pods = [pod("a", node="n1"), pod("b", node="n2"), pod("c", node="n2")]
    assert [each["metadata"]["name"] for each in first_to_go(pods, pods, 1, NOW)] == ["b"]
    other = pod("d", node="n1"), pod("e", node="n1")
    assert [each["metadata"]["name"] for each in first_to_go(pods, [*pods, *other], 1, NOW)] == ["a"]


def test_a_pod_takes_requests_while_it_runs_is_ready_and_is_not_being_deleted() -> None:
    ending = pod("a")
    ending["metadata"]["deletionTimestamp"] = time_text(NOW)
    found = [is_ready(each) for each in (pod("a"), pod("a", ready_s=None), pod("a", phase="Pending"), ending)]
    assert found == [True, False, False, False]


def test_the_pod_that_the_mover_marked_is_the_one_that_goes() -> None:
    world = ServingWorld(Settings(always_schedulable=True))
    world.autoscaler.wants["llm-00001"] = 3
    world.apply("llm")
    world.run_pods()
    marked = world.pods()[0]
    world.patch(POD, marked, {"metadata": {"annotations": {DELETION_COST: "-100"}}})
    world.autoscaler.wants["llm-00001"] = 2
    world.settle()
    assert marked["metadata"]["name"] not in world.names(POD)
    assert len(world.names(POD)) == 2


def test_a_pod_that_ended_or_is_ending_is_replaced_at_once() -> None:
    world = ServingWorld(Settings(always_schedulable=True))
    world.apply("llm")
    world.run_pods()
    (first,) = world.pods()
    world.patch(POD, first, {"metadata": {"deletionTimestamp": time_text(world.now)}})
    world.settle()
    assert len(world.pods()) == 2
    world.run(world.pods()[1], phase="Failed", conditions=[])
    world.settle()
    assert len(world.pods()) == 3
    (name,) = world.names(REPLICA_SET)
    assert world.get(REPLICA_SET, name)["status"]["replicas"] == 1


def test_a_pod_whose_labels_are_taken_off_is_let_go_and_replaced() -> None:
    world = ServingWorld(Settings(always_schedulable=True))
    world.apply("llm")
    world.run_pods()
    (sick,) = world.pods()
    world.patch(POD, sick, {"metadata": {"labels": {"pod-template-hash": None}}})
    world.settle()
    (name,) = world.names(REPLICA_SET)
    assert world.get(REPLICA_SET, name)["status"]["replicas"] == 1
    assert world.get(POD, sick["metadata"]["name"])["metadata"]["ownerReferences"] == []
    assert len(world.names(POD)) == 2


def test_an_annotation_on_a_revision_rolls_its_pods_with_none_missing() -> None:
    world = ServingWorld(Settings(always_schedulable=True))
    world.autoscaler.wants["llm-00001"] = 4
    world.apply("llm")
    world.run_pods()
    (old,) = world.names(REPLICA_SET)
    world.patch(REVISION, world.get(REVISION, "llm-00001"), {"metadata": {"annotations": {"team": "a"}}})
    most = 0
    for _ in range(20):
        world.settle()
        serving = [each for each in world.pods() if objects.condition(each, "Ready")]
        most = max(most, len(world.pods()))
        assert len(serving) >= 4
        for each in world.pods():
            if not objects.condition(each, "Ready"):
                world.run(each)
    assert most == 5
    renewals = [
        each.patch["spec"]
        for each in world.wrote
        if isinstance(each, Change) and "template" in each.patch.get("spec", {})
    ]
    assert [each for each in renewals if "replicas" in each] == []
    assert renewals
    assert old not in world.names(REPLICA_SET)
    assert len(world.names(REPLICA_SET)) == 1
    assert {objects.annotations(each)["team"] for each in world.pods()} == {"a"}
    assert world.condition(DEPLOYMENT, "llm-00001-deployment", "Progressing")[:2] == ("True", "NewReplicaSetAvailable")


def test_a_new_template_of_what_is_at_zero_scales_nothing_up_and_tells_of_nothing() -> None:
    world = ServingWorld(Settings(always_schedulable=True))
    world.apply("llm")
    world.run_pods()
    world.autoscaler.wants["llm-00001"] = 0
    world.settle()
    assert [each.message for each in world.told if each.reason == "ScalingReplicaSet"] == [
        f"Scaled up replica set {world.names(REPLICA_SET)[0]} from 0 to 1",
        f"Scaled down replica set {world.names(REPLICA_SET)[0]} from 1 to 0",
    ]
    world.told.clear()
    world.patch(REVISION, world.get(REVISION, "llm-00001"), {"metadata": {"annotations": {"team": "a"}}})
    world.settle()
    (name,) = world.names(REPLICA_SET)
    assert objects.annotations(world.get(REPLICA_SET, name)["spec"]["template"])["team"] == "a"
    assert [each.message for each in world.told if each.reason == "ScalingReplicaSet"] == []


def test_a_scaling_annotation_on_a_revision_reaches_the_autoscaler_and_no_pod() -> None:
    world = ServingWorld(Settings(always_schedulable=True))
    world.apply("llm")
    world.run_pods()
    before = world.names(POD)
    name = "autoscaling.knative.dev/min-scale"
    world.patch(REVISION, world.get(REVISION, "llm-00001"), {"metadata": {"annotations": {name: "2"}}})
    world.settle()
    assert world.names(POD) == before
    assert world.autoscaler.asked["llm-00001"].annotations[name] == "2"
    world.patch(REVISION, world.get(REVISION, "llm-00001"), {"metadata": {"annotations": {name: None}}})
    world.settle()
    assert name not in world.autoscaler.asked["llm-00001"].annotations
    assert world.names(POD) == before


def test_a_pod_has_what_knative_gives_it() -> None:
    world = ServingWorld(Settings(always_schedulable=True))
    world.apply("llm")
    (found,) = world.pods()
    (container,) = found["spec"]["containers"]
    env = {each["name"]: each["value"] for each in container["env"]}
    assert env == {"PORT": "8080", "K_REVISION": "llm-00001", "K_CONFIGURATION": "llm", "K_SERVICE": "llm"}
    assert container["ports"] == [{"name": "user-port", "containerPort": 8080, "protocol": "TCP"}]
    assert found["spec"]["terminationGracePeriodSeconds"] == 300
    assert objects.labels(found)["serving.knative.dev/service"] == "llm"
    assert objects.labels(found)["app"] == "llm-00001"
    assert "serving.knative.dev/routingState" not in objects.labels(found)
