"""Which webhooks are asked about which write: by the configurations that are installed, as they are."""

from typing import Any

import pytest

from knative_mig.dev.api.admission import Hook, OnFailure, Phase
from knative_mig.dev.api.store import Key, Store
from knative_mig.dev.serving.settings import Settings
from knative_mig.dev.serving.webhook.admission import Webhooks
from knative_mig.dev.whole import objects
from knative_mig.dev.whole.admission import Admission

_PLACES = {
    "Namespace": "namespaces",
    "MutatingWebhookConfiguration": "mutatingwebhookconfigurations.admissionregistration.k8s.io",
    "ValidatingWebhookConfiguration": "validatingwebhookconfigurations.admissionregistration.k8s.io",
}
_SLICE = {"name": "a", "resources": {"limits": {"nvidia.com/mig-1g.5gb": "1"}}}


def made() -> Store:
    found = Store()
    namespaces = [{"kind": "Namespace", "metadata": {"name": each}} for each in ("default", "quiet", "kube-system")]
    for body in (*objects.initial([]), *namespaces):
        if body["kind"] in _PLACES:
            name = body["metadata"]["name"]
            labels = {"kubernetes.io/metadata.name": name} if body["kind"] == "Namespace" else {}
            if name == "quiet":
                labels["knative-mig.dev/admission"] = "disabled"
            body["metadata"]["labels"] = labels
            found.put(Key(_PLACES[body["kind"]], "", name), body, over=0)
    return found


@pytest.fixture(scope="module")
def hooks() -> list[Hook]:
    return list(Admission(made(), {}, Webhooks(Settings)).hooks())


def asked(hooks: list[Hook], resource: str, body: dict[str, Any], operation: str = "CREATE") -> list[tuple[str, str]]:
    return [
        (each.phase, each.name)
        for each in hooks
        if resource in each.resources and operation in each.operations and each.takes(body)
    ]


def function(namespace: str = "default", *containers: Any, **annotations: str) -> dict[str, Any]:
    template = {"metadata": {"annotations": annotations}, "spec": {"containers": list(containers)}}
    return {"metadata": {"name": "f", "namespace": namespace}, "spec": {"template": template}}


def test_ours_come_before_knatives_and_what_changes_before_what_refuses(hooks: list[Hook]) -> None:
    assert asked(hooks, "services.serving.knative.dev", function("default", _SLICE)) == [
        (Phase.MUTATE, "functions.knative-mig.dev"),
        (Phase.MUTATE, "webhook.serving.knative.dev"),
        (Phase.VALIDATE, "functions.knative-mig.dev"),
        (Phase.VALIDATE, "validation.webhook.serving.knative.dev"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        function("default", {"name": "a"}),
        function("kube-system", _SLICE),
        function("quiet", _SLICE),
        {**function("default", _SLICE), "metadata": {"namespace": "default", "deletionTimestamp": "x"}},
    ],
    ids=["no slice", "a system's namespace", "a namespace that says no", "one that ends"],
)
def test_ours_are_not_asked_about_what_their_conditions_leave_out(hooks: list[Hook], body: dict[str, Any]) -> None:
    assert [name for _, name in asked(hooks, "services.serving.knative.dev", body)] == [
        "webhook.serving.knative.dev",
        "validation.webhook.serving.knative.dev",
    ]


def test_an_annotation_of_ours_is_reason_enough(hooks: list[Hook]) -> None:
    body = function("default", {"name": "a"}, **{"knative-mig.dev/model": "llama-3-8b"})
    assert (Phase.MUTATE, "functions.knative-mig.dev") in asked(hooks, "services.serving.knative.dev", body)


def test_a_pod_is_asked_about_by_the_policy_for_its_kind(hooks: list[Hook]) -> None:
    pod: dict[str, Any] = {"metadata": {"namespace": "default", "labels": {}}, "spec": {"containers": [_SLICE]}}
    assert asked(hooks, "pods", pod) == [(Phase.MUTATE, "other-pods.knative-mig.dev")]
    pod["metadata"]["labels"]["serving.knative.dev/revision"] = "f-00001"
    assert asked(hooks, "pods", pod) == [(Phase.MUTATE, "function-pods.knative-mig.dev")]
    assert asked(hooks, "pods", pod, "UPDATE") == []
    policies = {each.name: each.on_failure for each in hooks}
    assert policies["function-pods.knative-mig.dev"] is OnFailure.REFUSE
    assert policies["other-pods.knative-mig.dev"] is OnFailure.GO_ON


def test_a_configuration_that_changes_counts_from_then_on() -> None:
    store = made()
    admission = Admission(store, {}, Webhooks(Settings))
    before = admission.hooks()
    assert admission.hooks() is before
    key = Key(_PLACES["ValidatingWebhookConfiguration"], "", "admission.knative-mig.dev")
    found = store.read(key)
    assert found is not None
    store.put(key, {**found.body, "webhooks": []}, over=found.version)
    names = [each.name for each in admission.hooks() if each.phase is Phase.VALIDATE]
    assert names == [
        "validation.webhook.eventing.knative.dev",
        "validation.webhook.serving.knative.dev",
        "config.webhook.serving.knative.dev",
    ]
