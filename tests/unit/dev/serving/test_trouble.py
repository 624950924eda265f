"""What a function says when something is wrong with it, and how it gets well again."""

from typing import Any

import pytest

from knative_mig.adapters.kube.kinds import POD, POD_AUTOSCALER, REVISION, Kind
from knative_mig.dev.serving import objects
from knative_mig.dev.serving.controllers import Name, concerned
from knative_mig.dev.serving.held_failures import HELD_S
from knative_mig.dev.serving.objects import CONFIGURATION, DEPLOYMENT, REPLICA_SET, ROUTE, SERVICE, Object
from knative_mig.dev.serving.settings import Settings
from knative_mig.dev.serving.writes import Change
from tests.rigs.serving_world import ServingWorld

LATE = "ProgressDeadlineExceeded"


def crashed(code: int, message: str = "") -> dict[str, Any]:
    ended = {"terminated": {"exitCode": code, **({"message": message} if message else {})}}
    status = {"name": "user-container", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended}
    return {"phase": "Running", "conditions": [], "containerStatuses": [status]}


@pytest.mark.parametrize(
    ("status", "reason", "message"),
    [
        (crashed(1, "no weights"), "ExitCode1", "Container failed with: no weights"),
        (crashed(0), "ExitCode0", "Container failed with: container exited with no error"),
    ],
)
def test_a_container_that_ends_fails_the_function_with_its_last_words(
    status: dict[str, Any], reason: str, message: str
) -> None:
    world = ServingWorld()
    world.apply("llm")
    world.run(world.pods()[0], **status)
    world.settle()
    assert world.condition(REVISION, "llm-00001") == ("False", reason, message)
    told = f'Revision "llm-00001" failed with message: {message}.'
    assert world.condition(CONFIGURATION, "llm") == ("False", "RevisionFailed", told)
    assert world.condition(SERVICE, "llm", "ConfigurationsReady") == ("False", "RevisionFailed", told)
    # The route has nothing to give traffic to: that is what Ready says, as it was said last.
    assert world.condition(ROUTE, "llm")[1:] == (
        "RevisionMissing",
        'Configuration "llm" does not have any ready Revision.',
    )
    world.run_pods()
    assert world.condition(SERVICE, "llm")[0] == "True"


def test_why_a_revision_failed_is_told_before_that_nothing_is_served() -> None:
    world = ServingWorld()
    world.apply("llm")
    revision = world.get(REVISION, "llm-00001")
    looks = concerned(REVISION, objects.key(revision), revision, world.seen())
    order = list(dict.fromkeys(each.controller for each in looks))
    assert order.index(Name.CONFIGURATION) < order.index(Name.SERVICE) < order.index(Name.ROUTE)


def test_a_new_revision_that_fails_takes_no_traffic_from_the_one_before() -> None:
    world = ServingWorld()
    world.apply("llm")
    world.run_pods()
    world.apply("llm", image="dev.local/llm:v2")
    (pod,) = world.pods("llm-00002")
    world.run(pod, **crashed(137, "killed"))
    world.settle()
    assert world.condition(SERVICE, "llm")[:2] == ("False", "RevisionFailed")
    service = world.get(SERVICE, "llm")
    assert service["status"]["latestReadyRevisionName"] == "llm-00001"
    assert service["status"]["latestCreatedRevisionName"] == "llm-00002"
    assert [each["revisionName"] for each in service["status"]["traffic"]] == ["llm-00001"]
    assert world.condition(ROUTE, "llm")[0] == "True"


def test_an_image_that_cannot_be_had_is_said_before_anything_is_made() -> None:
    world = ServingWorld()
    world.images.missing.add("dev.local/nope")
    world.apply("llm", image="dev.local/nope")
    assert world.condition(REVISION, "llm-00001") == (
        "False",
        "ContainerMissing",
        'Unable to fetch image "dev.local/nope": no such image',
    )
    assert world.names(DEPLOYMENT) == []
    world.images.missing.clear()
    world.settle()
    world.run_pods()
    assert world.condition(SERVICE, "llm")[0] == "True"


def test_what_does_not_start_within_its_deadline_has_failed() -> None:
    world = ServingWorld(Settings(always_schedulable=True))
    world.apply("llm", annotations={"serving.knative.dev/progress-deadline": "90s"})
    (pod,) = world.pods()
    waiting = {"name": "user-container", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no"}}}
    world.put_status(POD, pod, {"phase": "Pending", "containerStatuses": [waiting]})
    world.after(80)
    assert world.condition(REVISION, "llm-00001")[0] == "Unknown"
    world.after(20)
    assert world.condition(DEPLOYMENT, "llm-00001-deployment", "Progressing")[:2] == ("False", LATE)
    # The container's own reason is more to the point than that it took too long.
    assert world.condition(REVISION, "llm-00001") == ("False", "ImagePullBackOff", "no")
    world.run_pods()
    assert world.condition(SERVICE, "llm")[0] == "True"


def test_a_function_that_was_complete_once_is_never_late_again() -> None:
    world = ServingWorld(Settings(always_schedulable=True, progress_deadline_s=60))
    world.apply("llm")
    world.run_pods()
    world.autoscaler.wants["llm-00001"] = 0
    world.settle()
    world.autoscaler.wants["llm-00001"] = 1
    world.settle()
    world.after(500)
    assert world.condition(DEPLOYMENT, "llm-00001-deployment", "Progressing")[:2] == ("True", "NewReplicaSetAvailable")
    assert world.condition(SERVICE, "llm")[0] == "True"


def test_a_scale_that_is_never_reached_fails_the_revision_when_the_autoscaler_gives_up() -> None:
    world = ServingWorld(Settings(always_schedulable=True))
    world.apply("llm")
    world.autoscaler.wants["llm-00001"] = 0
    world.settle()
    assert world.condition(REVISION, "llm-00001", "ResourcesAvailable") == (
        "False",
        LATE,
        "Initial scale was never achieved",
    )


def test_a_quota_says_its_no_as_a_replica_failure_until_there_is_room() -> None:
    world = ServingWorld()
    no = 'pods "llm-00001-deployment-" is forbidden: exceeded quota: gpus'

    def refuses(kind: Kind, body: Object) -> str:
        return no if kind is POD and body["spec"] else ""

    world.refuses = refuses
    world.apply("llm")
    (replica_set,) = world.names(REPLICA_SET)
    assert world.condition(REPLICA_SET, replica_set, "ReplicaFailure") == ("True", "FailedCreate", no)
    assert world.condition(DEPLOYMENT, "llm-00001-deployment", "ReplicaFailure") == ("True", "FailedCreate", no)
    assert world.condition(REVISION, "llm-00001") == ("False", "FailedCreate", no)
    world.after(30)
    assert world.condition(REVISION, "llm-00001") == ("False", "FailedCreate", no)
    world.refuses = lambda _kind, _body: ""
    world.after(30)
    assert len(world.pods()) == 1
    assert world.condition(DEPLOYMENT, "llm-00001-deployment", "ReplicaFailure") == ("", "", "")
    assert world.condition(REVISION, "llm-00001") == ("Unknown", "Deploying", "")
    assert world.condition(CONFIGURATION, "llm") == ("Unknown", "", "")
    world.run_pods()
    assert world.condition(SERVICE, "llm")[0] == "True"


def test_a_revision_that_is_refused_says_so_on_the_configuration() -> None:
    world = ServingWorld()
    world.refuses = lambda kind, _body: "admission webhook denied it" if kind is REVISION else ""
    world.apply("llm")
    assert world.condition(SERVICE, "llm", "ConfigurationsReady") == (
        "False",
        "RevisionFailed",
        "Revision creation failed with message: admission webhook denied it.",
    )
    world.refuses = lambda _kind, _body: ""
    world.after(30)
    world.run_pods()
    assert world.condition(SERVICE, "llm")[0] == "True"


def test_a_revision_name_that_another_has_is_no_ones_to_take() -> None:
    world = ServingWorld()
    world.apply("other", revision="other-blue")
    world.apply("llm", revision="other-blue")
    assert world.condition(SERVICE, "llm", "RoutesReady") == (
        "False",
        "RevisionNameTaken",
        'The revision name "other-blue" is taken by a conflicting Revision, so traffic will not be migrated',
    )
    assert world.condition(CONFIGURATION, "llm")[2] == (
        'Revision creation failed with message: revisions.serving.knative.dev "other-blue" already exists.'
    )


def test_the_users_own_revision_name_is_used_and_found_again() -> None:
    world = ServingWorld()
    world.apply("llm", revision="llm-blue")
    world.run_pods()
    assert world.names(REVISION) == ["llm-blue"]
    assert world.condition(SERVICE, "llm")[0] == "True"
    world.apply("llm", revision="llm-green", image="dev.local/llm:v2")
    world.run_pods()
    assert world.names(REVISION) == ["llm-blue", "llm-green"]
    assert world.get(SERVICE, "llm")["status"]["latestReadyRevisionName"] == "llm-green"


@pytest.mark.parametrize("kind", [CONFIGURATION, ROUTE])
def test_what_somebody_else_made_under_the_functions_name_is_left_alone(kind: Kind) -> None:
    world = ServingWorld()
    other = {"template": {"spec": {"containers": [{"image": "x"}]}}, "traffic": []}
    world.create(kind, {"metadata": {"name": "llm", "namespace": "default"}, "spec": other})
    world.apply("llm")
    told = f'There is an existing {kind.kind} "llm" that we do not own.'
    assert world.condition(SERVICE, "llm") == ("False", "NotOwned", told)
    assert world.get(kind, "llm")["spec"] == other


def test_traffic_to_a_revision_that_is_not_there_is_said_and_changes_nothing() -> None:
    world = ServingWorld()
    world.apply("llm")
    world.run_pods()
    world.apply("llm", traffic=[{"revisionName": "llm-00009", "percent": 100, "latestRevision": False}])
    assert world.condition(SERVICE, "llm") == (
        "False",
        "RevisionMissing",
        'Revision "llm-00009" referenced in traffic not found.',
    )
    assert world.get(ROUTE, "llm")["status"]["traffic"][0]["revisionName"] == "llm-00001"


def test_a_failure_of_a_new_spec_is_said_only_once_a_client_had_the_time_to_watch_for_it() -> None:
    """One as kn gets a Service once after it wrote it, and from then on waits for a change."""
    world = ServingWorld()
    world.apply("llm")
    world.run_pods()
    world.after(60)
    nowhere = [{"revisionName": "llm-00009", "percent": 100, "latestRevision": False}]
    world.apply("llm", traffic=nowhere, settle=False)
    world.rest()
    assert world.condition(ROUTE, "llm")[0] == "False"
    assert world.condition(SERVICE, "llm")[:2] == ("Unknown", "OutOfDate")
    world.after(HELD_S / 2)
    assert world.condition(SERVICE, "llm")[0] == "Unknown"
    world.after(HELD_S / 2)
    assert world.condition(SERVICE, "llm")[:2] == ("False", "RevisionMissing")
    assert objects.is_observed(world.get(SERVICE, "llm"))

    # That it is False already makes no difference: what it is by the newer spec is news.
    world.apply("llm", traffic=[*nowhere, {"latestRevision": True, "tag": "newest"}], settle=False)
    world.rest()
    assert not objects.has_failed(world.get(SERVICE, "llm"))
    world.after(HELD_S)
    assert objects.has_failed(world.get(SERVICE, "llm"))

    # What was well before is not held, nor is a failure of a spec that has been there for longer.
    world.apply("llm", settle=False)
    world.rest()
    assert world.condition(SERVICE, "llm")[0] == "True"
    world.after(60)
    world.run(world.pods()[0], **crashed(1))
    world.rest()
    assert world.condition(SERVICE, "llm")[0] == "False"


def test_why_there_is_no_revision_is_said_before_that_there_is_none() -> None:
    """As the Route knows that a moment later than the Configuration, and kn shows what it hears first."""
    world = ServingWorld()
    world.images.missing.add("no/such/image")
    world.apply("llm", image="no/such/image")
    of_service = [each.patch for each in world.wrote if isinstance(each, Change) and each.kind is SERVICE]
    ready = [objects.condition(patch, "Ready") for patch in of_service if "status" in patch]
    failed = [each["reason"] for each in ready if each.get("status") == "False"]
    assert failed == ["RevisionFailed", "RevisionMissing"]
    assert world.condition(SERVICE, "llm")[1] == "RevisionMissing"


def test_another_ones_revision_takes_none_of_the_traffic() -> None:
    world = ServingWorld()
    world.apply("other")
    world.apply("llm", traffic=[{"revisionName": "other-00001", "percent": 100, "latestRevision": False}])
    world.run_pods()
    assert world.condition(ROUTE, "llm")[1:] == (
        "RevisionNotOwned",
        'Revision "other-00001" belongs to Service "other", not Service "llm".',
    )


def test_a_failed_revisions_autoscaler_is_told_that_nobody_can_reach_it() -> None:
    world = ServingWorld()
    world.apply("llm", annotations={"autoscaling.knative.dev/min-scale": "3"})
    assert world.get(POD_AUTOSCALER, "llm-00001")["spec"]["reachability"] == "Reachable"
    world.run(world.pods()[0], **crashed(1))
    world.settle()
    assert world.get(POD_AUTOSCALER, "llm-00001")["spec"]["reachability"] == "Unreachable"
    assert not world.autoscaler.asked["llm-00001"].reachable


def test_a_class_that_nobody_here_serves_is_left_to_whoever_does() -> None:
    world = ServingWorld()
    world.apply("llm", annotations={"autoscaling.knative.dev/class": "hpa.autoscaling.knative.dev"})
    world.run_pods()
    assert world.autoscaler.asked == {}
    assert world.condition(REVISION, "llm-00001") == ("Unknown", "Deploying", "")


def test_an_autoscalers_first_status_has_all_that_its_schema_requires() -> None:
    world = ServingWorld()
    world.apply("llm")
    first = next(each for each in world.wrote if isinstance(each, Change) and each.kind is POD_AUTOSCALER)
    status = first.patch["status"]
    assert (status["serviceName"], status["metricsServiceName"]) == ("", "")


def test_an_autoscaler_that_is_gone_is_forgotten() -> None:
    world = ServingWorld()
    world.apply("llm")
    body = world.get(POD_AUTOSCALER, "llm-00001")
    world.patch(POD_AUTOSCALER, body, {"metadata": {"deletionTimestamp": "2027-01-15T08:00:00Z"}})
    world.settle()
    assert world.autoscaler.forgotten[-1] == "llm-00001"


def test_a_function_that_falls_ill_is_not_replaced_by_an_older_one() -> None:
    world = ServingWorld()
    world.apply("llm")
    world.run_pods()
    world.apply("llm", image="dev.local/llm:v2")
    world.run_pods()
    (pod,) = world.pods("llm-00002")
    world.run(pod, **crashed(137, "killed"))
    world.settle()
    assert world.condition(REVISION, "llm-00002") == ("False", "ExitCode137", "Container failed with: killed")
    assert world.condition(REVISION, "llm-00001")[0] == "True"
    assert world.get(SERVICE, "llm")["status"]["latestReadyRevisionName"] == "llm-00002"
    world.run_pods()
    assert world.condition(SERVICE, "llm")[0] == "True"
