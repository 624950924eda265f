"""What kn, kubectl and the Python client ask of the API server can be recorded, with the shape of the answers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes

from tests.cluster.api import Api
from tests.cluster.driver import Cluster
from tests.cluster.function import Function
from tests.cluster.kn import Kn
from tests.cluster.recorder import recording
from tests.cluster.testbed.kubectl import Kubectl
from tests.cluster.testbed.system_images import FUNCTION_IMAGE


def test_a_kn_session_is_recorded_with_the_shape_of_its_answers(
    api: Api, cluster: Cluster, handle: Callable[[str], Function], namespace: str, tmp_path: Path
) -> None:
    services = f"/apis/serving.knative.dev/v1/namespaces/{namespace}/services"

    with recording(api, tmp_path / "exchanges.jsonl") as (record, kubeconfig):
        kn = Kn(cluster.kn, kubeconfig, namespace)
        kn("service", "create", "hello", "--image", FUNCTION_IMAGE, "--env", "SECRET=do-not-record-values")
        assert handle("hello").ask().status == 200
        assert "hello" in kn("service", "list")
        kn("service", "delete", "hello")

    lines = record.lines()
    (created,) = [line for line in lines if (line["method"], line["path"]) == ("POST", services)]
    assert created["client"].startswith("kn/")
    assert created["status"] == 201
    assert created["answer_type"] == "application/json"
    assert created["answer"]["kind"] == "Service"
    assert created["answer"]["metadata"]["uid"] == "string"
    (container,) = created["asked"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "string"

    # kn waits for Ready by a watch, whose events are Services too.
    (watched, *_) = [line for line in lines if line["path"].startswith(f"{services}?") and "watch=" in line["path"]]
    assert watched["events"] >= 1
    assert watched["answer"]["object"]["kind"] == "Service"
    assert any(line["method"] == "DELETE" and line["path"].startswith(f"{services}/hello") for line in lines)
    assert "do-not-record-values" not in record.path.read_text()


def test_kubectl_and_the_python_client_are_recorded_too(
    api: Api, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    manifest: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "note"}}
    with recording(api, tmp_path / "exchanges.jsonl") as (record, kubeconfig):
        kubectl = Kubectl(binary=cluster.kubectl.binary, kubeconfig=kubeconfig)
        kubectl("apply", "--filename=-", f"--namespace={namespace}", stdin=json.dumps(manifest))
        assert "note" in kubectl("get", "configmaps", f"--namespace={namespace}")
        with kubernetes.config.new_client_from_config(str(kubeconfig)) as client:  # type: ignore[no-untyped-call]
            listed = kubernetes.client.CoreV1Api(client).list_namespaced_config_map(namespace)
    assert "note" in [item.metadata.name for item in listed.items if item.metadata]

    lines = [line for line in record.lines() if f"namespaces/{namespace}/configmaps" in line["path"]]
    clients = {line["client"].partition("/")[0] for line in lines}
    assert {"kubectl", "OpenAPI-Generator"} <= clients, clients
    # kubectl asks for a table to print.
    assert any("as=Table" in line["accept"] and line["answer"]["kind"] == "Table" for line in lines)
