"""Whom the webhooks are asked about, and what waits for them while they are away: nobody else."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from activator_hooks.webhook.__main__ import command
from activator_hooks.webhook.settings import WebhookSettings
from knative_mig.adapters.admission import Webhook
from knative_mig.adapters.kube.parse import REVISION_LABEL
from knative_mig.adapters.kube.webhooks import CONFIGURATION, MUTATING, SECRET_NAME, VALIDATING
from knative_mig.core.admission.annotations import PREFIX
from knative_mig.core.profile import RESOURCE_PREFIX

CONFIG = Path(__file__).parents[3] / "config"
KNATIVES = "webhook.serving.knative.dev"
Object = dict[str, Any]


def documents(*paths: Path) -> list[Object]:
    return [each for path in paths for each in yaml.safe_load_all(path.read_text()) if each]


CONFIGURATIONS = documents(CONFIG / "core" / "540-admission.yaml")
WEBHOOKS = [each for configuration in CONFIGURATIONS for each in configuration["webhooks"]]
PROCESS = documents(CONFIG / "core" / "530-webhook.yaml")


def of(kind: str, documents: list[Object]) -> Object:
    [found] = [each for each in documents if each["kind"] == kind]
    return found


def mutating(name: str) -> Object:
    [found] = [each for each in of(MUTATING.kind, CONFIGURATIONS)["webhooks"] if each["name"] == name]
    return found  # type: ignore[no-any-return]


def test_ours_come_before_knatives_and_are_not_asked_twice() -> None:
    assert [each["kind"] for each in CONFIGURATIONS] == [MUTATING.kind, VALIDATING.kind]
    for each in CONFIGURATIONS:
        assert each["metadata"]["name"] == CONFIGURATION < KNATIVES
    assert {each["reinvocationPolicy"] for each in of(MUTATING.kind, CONFIGURATIONS)["webhooks"]} == {"Never"}


def test_a_dry_run_is_reviewed_too_for_nothing_is_done_on_the_side() -> None:
    """With pods a Secret may be made, in a dry run none. A pod may say that it is a function's and be nobody's."""
    assert {each["name"]: each["sideEffects"] for each in WEBHOOKS} == {
        "functions.knative-mig.dev": "None",
        "function-pods.knative-mig.dev": "NoneOnDryRun",
        "other-pods.knative-mig.dev": "NoneOnDryRun",
    }
    assert all(each["admissionReviewVersions"] == ["v1"] for each in WEBHOOKS)


def test_nothing_is_asked_of_us_that_has_no_slice() -> None:
    for each in WEBHOOKS:
        conditions = {condition["name"]: condition["expression"] for condition in each["matchConditions"]}
        narrow = conditions.get("is-a-function-on-a-slice") or conditions["asks-for-a-slice"]
        assert f"startsWith('{RESOURCE_PREFIX}')" in narrow
        assert "initContainers" in narrow
        if "services" in each["rules"][0]["resources"]:
            assert f"startsWith('{PREFIX}')" in narrow
            assert conditions["is-not-being-deleted"] == "!has(object.metadata.deletionTimestamp)"


def test_each_webhook_is_asked_about_one_kind_and_no_subresource() -> None:
    asked = {
        (each["clientConfig"]["service"]["path"], *rule["apiGroups"], *rule["resources"], *rule["operations"])
        for each in WEBHOOKS
        for rule in each["rules"]
    }
    assert asked == {
        (Webhook.MUTATE, "serving.knative.dev", "services", "CREATE", "UPDATE"),
        (Webhook.VALIDATE, "serving.knative.dev", "services", "CREATE", "UPDATE"),
        (Webhook.MUTATE, "", "pods", "CREATE"),
    }


@pytest.mark.parametrize(
    "namespace", ["kube-system", "knative-mig", "knative-mig-agent", "knative-serving", "knative-eventing"]
)
def test_no_webhook_stands_in_the_way_of_the_system_or_of_itself(namespace: str) -> None:
    for each in WEBHOOKS:
        by_name, by_choice = each["namespaceSelector"]["matchExpressions"]
        assert (by_name["key"], by_name["operator"]) == ("kubernetes.io/metadata.name", "NotIn")
        assert namespace in by_name["values"]
        assert by_choice == {"key": "knative-mig.dev/admission", "operator": "NotIn", "values": ["disabled"]}


def test_every_namespace_of_ours_is_among_those_that_are_left_out() -> None:
    ours = {each["metadata"]["name"] for each in documents(CONFIG / "core" / "100-namespaces.yaml")}
    assert all(ours <= {*each["namespaceSelector"]["matchExpressions"][0]["values"]} for each in WEBHOOKS)


def test_only_what_is_tried_again_or_would_be_wrong_for_good_waits_for_a_webhook_that_is_away() -> None:
    policies = {each["name"]: each["failurePolicy"] for each in WEBHOOKS}
    assert policies == {
        "functions.knative-mig.dev": "Fail",
        "function-pods.knative-mig.dev": "Fail",
        "other-pods.knative-mig.dev": "Ignore",
    }
    for name, operator in (("function-pods", "Exists"), ("other-pods", "DoesNotExist")):
        assert mutating(f"{name}.knative-mig.dev")["objectSelector"] == {
            "matchExpressions": [{"key": REVISION_LABEL, "operator": operator}]
        }


def test_nobody_waits_long() -> None:
    assert all(each["timeoutSeconds"] <= 5 for each in WEBHOOKS)


def test_reviews_reach_the_process_by_the_name_in_its_certificate() -> None:
    service, deployment = of("Service", PROCESS), of("Deployment", PROCESS)
    about = service["metadata"]
    for each in WEBHOOKS:
        called = each["clientConfig"]["service"]
        assert (called["namespace"], called["name"]) == (about["namespace"], about["name"])
        assert f"{called['name']}.{called['namespace']}.svc" in WebhookSettings().names
        assert "caBundle" not in each["clientConfig"]  # applying it again would take the bundle away
    [port] = service["spec"]["ports"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert {called["clientConfig"]["service"]["port"] for called in WEBHOOKS} == {port["port"]}
    assert ports == {port["targetPort"]: WebhookSettings().port, "ops": WebhookSettings().ops_port}
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"] == labels


def test_two_replicas_run_and_one_goes_at_a_time() -> None:
    spec = of("Deployment", PROCESS)["spec"]
    assert of("Deployment", PROCESS)["metadata"]["name"] == "knative-mig-webhook"
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert of("PodDisruptionBudget", PROCESS)["spec"]["minAvailable"] == 1


def test_one_that_ends_serves_until_no_api_server_knows_it_any_more() -> None:
    pod = of("Deployment", PROCESS)["spec"]["template"]["spec"]
    [container] = pod["containers"]
    sleep = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert sleep + 2 < pod["terminationGracePeriodSeconds"]


def test_the_process_is_told_only_what_it_understands() -> None:
    [container] = of("Deployment", PROCESS)["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["-m", "activator_hooks.webhook"]
    understood = {name for option in command.params for name in _names(option.envvar)}
    assert {each["name"] for each in container["env"]} <= understood


def _names(envvar: object) -> list[str]:
    return [str(each) for each in envvar] if isinstance(envvar, list) else []


def test_the_secret_is_installed_empty() -> None:
    secret = of("Secret", PROCESS)
    assert secret["metadata"]["name"] == SECRET_NAME
    assert not {"data", "stringData", "immutable"} & set(secret)


def test_knative_is_told_what_the_test_cluster_is_told_and_is_not_removed_with_us() -> None:
    found = {each["metadata"]["name"]: each["data"] for each in documents(CONFIG / "knative" / "settings.yaml")}
    assert set(found) == {"config-autoscaler", "config-defaults", "config-deployment"}
    tested = documents(CONFIG / "overlays" / "kind" / "settings.yaml")
    for name, data in found.items():
        [same] = [each["data"] for each in tested if each["metadata"]["name"] == name]
        assert data.items() <= same.items()
    for folder in (CONFIG / "core", *(CONFIG / "overlays").iterdir()):
        listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
        assert not any("config/knative" in str((folder / each).resolve()) for each in listed)
