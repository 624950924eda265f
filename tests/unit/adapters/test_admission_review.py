"""Reviews as they come, and answers as they go: each patch can be applied to the object that it is for."""

import base64
import copy
import json
from typing import Any

import pytest

from knative_mig.adapters import admission_review as reviews
from knative_mig.adapters.admission import Admission, Outcome, Webhook
from knative_mig.adapters.admission_review import Verdict
from knative_mig.adapters.kube import pod_requests
from knative_mig.core.admission.choice import Choice, decide
from knative_mig.core.admission.function import Function, Part, Place
from knative_mig.core.admission.pods import Additions, NewPod, additions
from knative_mig.core.admission.problems import refusals
from knative_mig.core.errors import BadInput
from knative_mig.core.gpu_node import GATE
from knative_mig.core.profile import ProfileName
from knative_mig.ports.webhook import Judgement
from tests.fake_api.patches import patched
from tests.rigs.webhooks import UID, Answer, function_pod, pod, review, service

TOLERATION = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}


class Decisions:
    """Core's own, for a cluster of which little is known."""

    def choose(self, new: Function, old: Function | None) -> Choice:
        return decide(new, old, 3600)

    def judge(self, new: Function, old: Function | None) -> Judgement:
        return Judgement(refusals=tuple(refusals(new, old)))

    def add(self, pod: NewPod, *, dry_run: bool) -> Additions:  # noqa: ARG002
        return additions(pod, frozenset({ProfileName.parse("3g.20gb")}))


@pytest.fixture
def counted() -> list[tuple[Webhook, Outcome]]:
    return []


@pytest.fixture
def admission(counted: list[tuple[Webhook, Outcome]]) -> Admission:
    return Admission(Decisions(), lambda webhook, outcome: counted.append((webhook, outcome)))


def ask(admission: Admission, webhook: Webhook, content: Any) -> Answer:
    return Answer(200, admission.answer(webhook, json.dumps(content).encode()))


def mutated(admission: Admission, body: dict[str, Any], old: dict[str, Any] | None = None) -> dict[str, Any]:
    operation = "UPDATE" if old else "CREATE"
    return ask(admission, Webhook.MUTATE, review(operation, body, old, kind=body["kind"])).applied_to(body)


# -- functions ---------------------------------------------------------------------------------------------------------


def test_a_new_function_is_given_its_settings(admission: Admission) -> None:
    made = mutated(admission, service("3g.20gb"))["spec"]["template"]
    assert made["metadata"]["annotations"]["autoscaling.knative.dev/target-burst-capacity"] == "-1"
    assert made["spec"]["timeoutSeconds"] == made["spec"]["responseStartTimeoutSeconds"] == 570
    assert "knative-mig.dev/chosen" in made["metadata"]["annotations"]


@pytest.mark.parametrize(
    "template",
    [
        {"spec": {"containers": [{"resources": {"limits": {"nvidia.com/mig-3g.20gb": 1}}}]}},
        {"metadata": None, "spec": {"containers": [{"resources": {"limits": {"nvidia.com/mig-3g.20gb": "1"}}}]}},
        {"metadata": {}, "spec": {"containers": [{"resources": {"limits": {"nvidia.com/mig-3g.20gb": "1"}}}]}},
        {
            "metadata": {"annotations": None},
            "spec": {"containers": [{"resources": {"limits": {"nvidia.com/mig-3g.20gb": "1"}}}]},
        },
    ],
    ids=["no metadata", "null metadata", "no annotations", "null annotations"],
)
def test_what_is_not_there_is_made_on_the_way(admission: Admission, template: dict[str, Any]) -> None:
    body = service()
    body["spec"]["template"] = template
    assert "annotations" in mutated(admission, body)["spec"]["template"]["metadata"]


def test_a_name_of_any_letters_is_set_where_it_belongs() -> None:
    body = service(template={"example.com/a~1b": "kept"})
    edits = {Place(Part.ANNOTATIONS, name): "x" for name in ("example.com/a~b", "example.com/a~1c", "~0")}
    made = patched(body, reviews.of_settings(body, edits))
    annotations = made["spec"]["template"]["metadata"]["annotations"]
    assert annotations == {"example.com/a~1b": "kept", **{place.name: "x" for place in edits}}


@pytest.mark.parametrize("spec", [{}, None, {"template": None}, {"template": {}}, {"template": {"spec": None}}])
def test_a_function_of_annotations_alone_may_lack_everything_else(admission: Admission, spec: Any) -> None:
    body = service(annotations={"knative-mig.dev/movable": "true"}) | {"spec": spec}
    made = mutated(admission, body)["spec"]["template"]
    assert made["metadata"]["annotations"]["knative-mig.dev/movable"] == "true"
    assert made["spec"]["timeoutSeconds"] > 0


def test_a_replace_with_the_first_file_changes_no_template(admission: Admission) -> None:
    written = service("3g.20gb", template={"example.com/mine": "~1/"})
    stored = mutated(admission, written)
    assert mutated(admission, written, stored)["spec"] == stored["spec"]


def test_a_slice_given_up_takes_its_settings_along(admission: Admission) -> None:
    stored = mutated(admission, service("3g.20gb", template={"example.com/mine": "1"}))
    plain = copy.deepcopy(stored)
    plain["spec"]["template"]["spec"]["containers"][0]["resources"] = {}
    made = mutated(admission, plain, stored)["spec"]["template"]
    assert made["metadata"]["annotations"] == {"example.com/mine": "1"}
    assert "timeoutSeconds" not in made["spec"]


def test_a_timeout_of_zero_is_none_to_knative_and_to_us(admission: Admission) -> None:
    made = mutated(admission, service("3g.20gb", timeoutSeconds=0, responseStartTimeoutSeconds=0))
    assert made["spec"]["template"]["spec"]["timeoutSeconds"] == 570
    assert made["spec"]["template"]["spec"]["responseStartTimeoutSeconds"] == 0


def test_what_cannot_be_is_refused_in_one_message(admission: Admission) -> None:
    bad = service("1g.5gb", "3g.20gb", template={"knative-mig.dev/x": "1"})
    response = ask(admission, Webhook.VALIDATE, review("CREATE", bad)).response
    assert response["allowed"] is False
    assert response["status"]["code"] == 400
    assert "knative-mig.dev/x is not known" in response["status"]["message"]
    assert "legal is one slice a pod" in response["status"]["message"]


def test_a_message_has_an_end(admission: Admission) -> None:
    bad = service(containers=[{"resources": {"limits": {f"nvidia.com/mig-{'x' * 100_000}": "1"}}}])
    message = ask(admission, Webhook.VALIDATE, review("CREATE", bad)).response["status"]["message"]
    assert len(message) <= 4096


def test_an_old_sin_holds_up_no_update(admission: Admission) -> None:
    bad = service("1g.5gb", "3g.20gb")
    assert ask(admission, Webhook.VALIDATE, review("UPDATE", bad, bad)).response["allowed"]


def test_the_validating_webhook_changes_nothing(admission: Admission) -> None:
    assert "patch" not in ask(admission, Webhook.VALIDATE, review("CREATE", service("3g.20gb"))).response


def test_a_dry_run_is_answered_like_any(admission: Admission) -> None:
    wet, dry = (
        ask(admission, Webhook.MUTATE, review("CREATE", service("3g.20gb"), dry_run=dry)).response
        for dry in (False, True)
    )
    assert wet == dry


@pytest.mark.parametrize("webhook", Webhook)
def test_a_deletion_is_let_in(admission: Admission, webhook: Webhook) -> None:
    response = ask(admission, webhook, review("DELETE", None, service("1g.5gb", "3g.20gb"))).response
    assert response == {"uid": UID, "allowed": True}


@pytest.mark.parametrize("webhook", Webhook)
def test_a_function_that_is_being_deleted_is_let_in_as_it_is(admission: Admission, webhook: Webhook) -> None:
    """Its finalizers are taken away by an update."""
    going = service("1g.5gb", "3g.20gb")
    going["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z"
    assert ask(admission, webhook, review("UPDATE", going, service("1g.5gb"))).response == {
        "uid": UID,
        "allowed": True,
    }


@pytest.mark.parametrize(
    "broken",
    [
        {"spec": {"template": {"spec": {"containers": "many"}}}},
        {"spec": {"template": {"spec": {"containers": [7]}}}},
        {"spec": {"template": {"spec": {"timeoutSeconds": "long"}}}},
        {"spec": {"template": {"spec": {"timeoutSeconds": -4}}}},
        {"spec": {"template": {"metadata": []}}},
        {"spec": []},
    ],
)
@pytest.mark.parametrize("webhook", Webhook)
def test_an_object_that_cannot_be_read_is_left_to_its_schema(
    admission: Admission,
    counted: list[tuple[Webhook, Outcome]],
    webhook: Webhook,
    broken: dict[str, Any],
) -> None:
    body = service() | broken
    assert ask(admission, webhook, review("CREATE", body)).response == {"uid": UID, "allowed": True}
    assert counted == [(webhook, Outcome.UNREADABLE)]


# -- pods --------------------------------------------------------------------------------------------------------------


def test_a_pod_with_a_slice_is_gated_and_tolerates_the_taint_of_gpu_nodes(admission: Admission) -> None:
    before = pod("3g.20gb")
    made = mutated(admission, before)
    assert made["spec"]["schedulingGates"] == [{"name": GATE}]
    assert made["spec"]["tolerations"] == [*before["spec"]["tolerations"], TOLERATION]
    assert {**made["spec"], "schedulingGates": 0, "tolerations": 0} == {
        **before["spec"],
        "schedulingGates": 0,
        "tolerations": 0,
    }


@pytest.mark.parametrize("name", ["odd", "\n2026-01-31 INFO forged", "x" * 100_000])
def test_what_a_pod_asks_for_is_logged_on_one_short_line(
    admission: Admission, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    caplog.set_level("INFO")
    for resources in ({f"nvidia.com/mig-{name}": "1"}, {name: "no quantity"}):
        body = pod()
        body["spec"]["containers"].append({"name": "c", "resources": {"limits": resources}})
        assert mutated(admission, body) == body
    assert len(caplog.records) >= 1
    assert all(each.getMessage().isprintable() and len(each.getMessage()) < 600 for each in caplog.records)


def test_long_names_of_resources_take_no_memory(admission: Admission) -> None:
    before = pod_requests._profile.cache_info().currsize
    body = pod()
    limits = {f"nvidia.com/mig-{at}{'x' * 10_000}": "1" for at in range(5)}
    body["spec"]["containers"].append({"name": "c", "resources": {"limits": limits}})
    assert mutated(admission, body) == body
    assert pod_requests._profile.cache_info().currsize == before


def test_a_pod_without_a_list_of_either_is_given_one(admission: Admission) -> None:
    before = pod("3g.20gb")
    del before["spec"]["tolerations"]
    made = mutated(admission, before)
    assert made["spec"]["tolerations"] == [TOLERATION]


def test_a_gate_of_somebody_elses_stays(admission: Admission) -> None:
    other = {"name": "example.com/other"}
    assert mutated(admission, pod("3g.20gb", schedulingGates=[other]))["spec"]["schedulingGates"] == [
        other,
        {"name": GATE},
    ]


def test_a_pod_is_given_nothing_twice(admission: Admission) -> None:
    once = mutated(admission, pod("3g.20gb"))
    assert mutated(admission, once) == once


def test_other_pods_are_not_touched(admission: Admission) -> None:
    assert mutated(admission, pod()) == pod()


def test_a_pod_on_a_node_is_not_gated(admission: Admission) -> None:
    assert "schedulingGates" not in mutated(admission, pod("3g.20gb", nodeName="n1"))["spec"]


def test_what_holds_a_functions_slice_is_told_where_any_replica_of_it_is(admission: Admission) -> None:
    before = function_pod(movable=False)
    made = mutated(admission, before)
    container, queue = made["spec"]["containers"]
    assert container["env"] == [{"name": "KNATIVE_MIG_RELAY_FUNCTION_URL", "value": "http://tiny.team.svc"}]
    assert queue == before["spec"]["containers"][1]
    assert "volumes" not in made["spec"]


def test_a_functions_pod_that_may_be_moved_has_its_namespaces_secret(admission: Admission) -> None:
    has: dict[str, Any] = {
        "env": [{"name": "PORT", "value": "8080"}],
        "volumeMounts": [{"name": "own", "mountPath": "/own"}],
    }
    before = function_pod(**has)
    before["spec"]["volumes"] = [{"name": "own", "emptyDir": {}}]
    made = mutated(admission, before)
    container = made["spec"]["containers"][0]
    assert container["env"] == [
        *has["env"],
        {"name": "KNATIVE_MIG_RELAY_FUNCTION_URL", "value": "http://tiny.team.svc"},
        {"name": "KNATIVE_MIG_RELAY_SECRET_FILE", "value": "/var/run/knative-mig/relay/secret"},
    ]
    mount = {"name": "knative-mig-relay", "mountPath": "/var/run/knative-mig/relay", "readOnly": True}
    assert container["volumeMounts"] == [*has["volumeMounts"], mount]
    volume = {"name": "knative-mig-relay", "secret": {"secretName": "knative-mig-relay", "optional": True}}
    assert made["spec"]["volumes"] == [*before["spec"]["volumes"], volume]
    assert mutated(admission, made) == made, "nothing is given twice"


def test_a_pod_that_changes_is_not_touched(admission: Admission) -> None:
    """A gate may not be put back."""
    lifted = pod("3g.20gb")
    assert ask(admission, Webhook.MUTATE, review("UPDATE", lifted, pod("3g.20gb"), kind="Pod")).response == {
        "uid": UID,
        "allowed": True,
    }


# -- whatever else comes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Scale", "ConfigMap"])
@pytest.mark.parametrize("webhook", Webhook)
def test_what_is_not_ours_to_judge_is_let_in(admission: Admission, webhook: Webhook, kind: str) -> None:
    body = {"metadata": {"name": "any", "namespace": "team"}, "spec": {"replicas": 2}}
    assert ask(admission, webhook, review("UPDATE", body, body, kind=kind)).response == {"uid": UID, "allowed": True}


def test_the_status_of_a_function_is_not_ours(admission: Admission) -> None:
    content = review("UPDATE", service("3g.20gb"), service("3g.20gb"))
    content["request"]["subResource"] = "status"
    assert "patch" not in ask(admission, Webhook.MUTATE, content).response


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"7",
        b"\xff",
        b"[" * 100_000,
        b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}',
        b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1beta1","request":{"uid":"1"}}',
        b'{"kind":"Pod","apiVersion":"v1"}',
        json.dumps(review("PATCH", service())).encode(),
        json.dumps({**review("CREATE", service()), "request": []}).encode(),
        json.dumps(review("CREATE", service()) | {"request": {"uid": 7, "operation": "CREATE"}}).encode(),
    ],
)
def test_what_is_no_review_is_bad_input(
    admission: Admission, counted: list[tuple[Webhook, Outcome]], body: bytes
) -> None:
    with pytest.raises(BadInput) as told:
        admission.answer(Webhook.MUTATE, body)
    assert str(told.value).isprintable()
    assert counted == [(Webhook.MUTATE, Outcome.MALFORMED)]


def test_fields_that_are_newer_than_we_are_do_not_matter(admission: Admission) -> None:
    content = review("CREATE", service("3g.20gb"))
    content["request"]["newer"] = {"than": "us"}
    assert "patch" in ask(admission, Webhook.MUTATE, content).response


def test_a_warning_is_as_long_as_an_api_server_passes_on() -> None:
    answer = json.loads(reviews.written("1", Verdict(warnings=("x" * 300,))))
    assert len(answer["response"]["warnings"][0]) == 256


def test_a_fault_of_ours_is_counted_and_not_hidden(counted: list[tuple[Webhook, Outcome]]) -> None:
    class Broken(Decisions):
        def add(self, pod: NewPod, *, dry_run: bool) -> Additions:  # noqa: ARG002
            raise ZeroDivisionError(pod)

    admission = Admission(Broken(), lambda webhook, outcome: counted.append((webhook, outcome)))
    with pytest.raises(ZeroDivisionError):
        ask(admission, Webhook.MUTATE, review("CREATE", pod("3g.20gb"), kind="Pod"))
    assert counted == [(Webhook.MUTATE, Outcome.FAILED)]


def test_a_patch_is_base64_of_json(admission: Admission) -> None:
    response = ask(admission, Webhook.MUTATE, review("CREATE", pod("3g.20gb"), kind="Pod")).response
    assert json.loads(base64.b64decode(response["patch"], validate=True))[0]["op"] == "add"
