"""Released manifests in, ours out: local images, small requests, the system node, settings for tests."""

import json
from pathlib import Path

from tests.cluster.testbed import manifests
from tests.cluster.testbed.manifests import Document
from tests.cluster.testbed.topology import Topology

TOPOLOGY = Topology()


def deployment(image: str, **container: object) -> Document:
    return {
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {"template": {"spec": {"containers": [{"name": "c", "image": image, **container}]}}},
    }


def adapted_container(document: Document) -> Document:
    (fresh,) = manifests.adapt([document], TOPOLOGY)
    container: Document = fresh["spec"]["template"]["spec"]["containers"][0]
    return container


def test_an_image_reference_becomes_a_local_image() -> None:
    container = adapted_container(deployment("ko://knative.dev/serving/cmd/activator"))
    assert container["image"] == "dev.local/serving/activator:dev"
    assert container["imagePullPolicy"] == "IfNotPresent"


def test_repositories_with_equal_commands_keep_apart() -> None:
    names = {
        adapted_container(deployment(f"ko://knative.dev/{repository}/cmd/controller"))["image"]
        for repository in ("serving", "eventing")
    }
    assert len(names) == 2


def test_an_image_named_in_an_environment_variable_is_replaced_too() -> None:
    reference = "ko://knative.dev/eventing/cmd/in_memory/channel_dispatcher"
    container = adapted_container(deployment("x", env=[{"name": "DISPATCHER_IMAGE", "value": reference}]))
    assert container["env"][0]["value"] == "dev.local/eventing/channel_dispatcher:dev"


def test_whatever_envoy_the_release_names_ours_runs_without_its_shell_hook() -> None:
    hook = {"preStop": {"exec": {"command": ["/bin/sh"]}}}
    container = adapted_container(deployment("docker.io/envoyproxy/envoy:v9-latest", lifecycle=hook))
    assert container["image"] == "dev.local/envoy:dev"
    assert "lifecycle" not in container


def test_system_pods_go_to_the_system_node() -> None:
    (fresh,) = manifests.adapt([deployment("x")], TOPOLOGY)
    assert fresh["spec"]["template"]["spec"]["nodeSelector"] == {"knative-mig.dev/pool": "system"}


def test_settings_are_added_and_the_checksummed_example_is_kept() -> None:
    example = {"_example": "scale-to-zero-grace-period: 30s"}
    (fresh,) = manifests.adapt(
        [{"kind": "ConfigMap", "metadata": {"name": "config-autoscaler"}, "data": example}], TOPOLOGY
    )
    assert fresh["data"]["_example"] == example["_example"]
    assert fresh["data"]["stable-window"] == "6s"


def test_a_configmap_without_data_gets_some() -> None:
    (fresh,) = manifests.adapt([{"kind": "ConfigMap", "metadata": {"name": "config-domain"}}], TOPOLOGY)
    assert fresh["data"] == {"10.210.0.10.sslip.io": ""}


def test_autoscalers_and_budgets_are_left_out_and_the_rest_is_in_order() -> None:
    kinds = ["Deployment", "HorizontalPodAutoscaler", "ConfigMap", "PodDisruptionBudget", "Namespace"]
    documents = [
        deployment("x") if kind == "Deployment" else {"kind": kind, "metadata": {"name": "n"}} for kind in kinds
    ]
    assert [d["kind"] for d in manifests.adapt(documents, TOPOLOGY)] == ["Namespace", "ConfigMap", "Deployment"]


def test_the_input_is_not_changed() -> None:
    document = deployment("ko://knative.dev/serving/cmd/webhook")
    manifests.adapt([document], TOPOLOGY)
    assert document == deployment("ko://knative.dev/serving/cmd/webhook")


def test_webhook_configurations_are_set_apart() -> None:
    documents: list[Document] = [{"kind": "Service"}, {"kind": "ValidatingWebhookConfiguration"}]
    ordinary, webhooks = manifests.split_webhooks(documents)
    assert [d["kind"] for d in ordinary] == ["Service"]
    assert [d["kind"] for d in webhooks] == ["ValidatingWebhookConfiguration"]


def test_what_is_written_is_one_list_that_kubectl_takes(tmp_path: Path) -> None:
    path = manifests.write([deployment("x")], tmp_path / "deeper" / "out.json")
    written = json.loads(path.read_text())
    assert (written["apiVersion"], written["kind"], len(written["items"])) == ("v1", "List", 1)
