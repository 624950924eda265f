"""AdmissionReviews as a Kubernetes 1.36 API server posts them, and a client that checks certificates as it does."""

import base64
import copy
import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.fake_api.patches import patched

Object = dict[str, Any]
HOST = "webhook.knative-mig.svc"
UID = "705ab4f5-6393-11e8-b7cc-42010a800002"

KINDS = {
    "Service": ("serving.knative.dev", "v1", "services"),
    "Pod": ("", "v1", "pods"),
    "Scale": ("autoscaling", "v1", "deployments"),
    "ConfigMap": ("", "v1", "configmaps"),
}


def review(
    operation: str, new: Object | None, old: Object | None = None, *, kind: str = "Service", dry_run: bool = False
) -> Object:
    group, version, plural = KINDS[kind]
    about = (new or old or {}).get("metadata", {})
    verb = {"CREATE": "Create", "UPDATE": "Update", "DELETE": "Delete"}.get(operation, "Create")
    request: Object = {
        "uid": UID,
        "kind": {"group": group, "version": version, "kind": kind},
        "resource": {"group": group, "version": version, "resource": plural},
        "requestKind": {"group": group, "version": version, "kind": kind},
        "requestResource": {"group": group, "version": version, "resource": plural},
        "name": about.get("name", ""),
        "namespace": about.get("namespace", "team"),
        "operation": operation,
        "userInfo": {"username": "kubernetes-admin", "groups": ["kubeadm:cluster-admins", "system:authenticated"]},
        "object": new,
        "oldObject": old,
        "dryRun": dry_run,
        "options": {"kind": f"{verb}Options", "apiVersion": "meta.k8s.io/v1", "fieldManager": "kubectl-create"},
    }
    if kind == "Scale":
        request["subResource"] = request["requestSubResource"] = "scale"
    return {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}


def service(
    *profiles: str,
    annotations: Mapping[str, str] | None = None,
    template: Mapping[str, str] | None = None,
    **spec: Any,
) -> Object:
    containers = [
        {"name": f"c{at}", "image": "dev.local/fn", "resources": {"limits": {f"nvidia.com/mig-{each}": "1"}}}
        for at, each in enumerate(profiles)
    ] or [{"image": "dev.local/fn", "resources": {}}]
    about: Object = {"name": "tiny", "namespace": "team", "uid": "5c4e", "generation": 1}
    about["creationTimestamp"] = "2026-01-01T00:00:00Z"
    if annotations:
        about["annotations"] = dict(annotations)
    body: Object = {"spec": {"containers": containers, **spec}}
    if template:
        body["metadata"] = {"annotations": dict(template), "creationTimestamp": None}
    return {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": about, "spec": {"template": body}}


def pod(*profiles: str, **spec: Any) -> Object:
    containers = [
        {
            "name": f"c{at}",
            "image": "dev.local/fn",
            "resources": {
                "limits": {f"nvidia.com/mig-{each}": "1"},
                "requests": {"cpu": "25m", f"nvidia.com/mig-{each}": "1"},
            },
        }
        for at, each in enumerate(profiles)
    ]
    queue: Object = {"name": "queue-proxy", "image": "dev.local/queue", "resources": {"requests": {"cpu": "25m"}}}
    own = [
        {"key": f"node.kubernetes.io/{why}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
        for why in ("not-ready", "unreachable")
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "tiny-00001-deployment-5d8f-", "namespace": "team"},
        "spec": {"containers": [*containers, queue], "tolerations": own, "schedulerName": "default-scheduler", **spec},
        "status": {},
    }


def function_pod(*, movable: bool = True, **container: Any) -> Object:
    """Of the Knative Service tiny."""
    made = pod("3g.20gb")
    made["metadata"]["labels"] = {"serving.knative.dev/service": "tiny"}
    made["metadata"]["annotations"] = {"knative-mig.dev/movable": "true" if movable else "false"}
    made["spec"]["containers"][0] |= container
    return made


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes

    @property
    def response(self) -> Object:
        content = json.loads(self.body)
        assert content["apiVersion"] == "admission.k8s.io/v1"
        assert content["kind"] == "AdmissionReview"
        response: Object = content["response"]
        assert response["uid"] == UID
        return response

    def applied_to(self, body: Object) -> Object:
        """What the API server makes of it."""
        response = self.response
        assert response["allowed"]
        if "patch" not in response:
            return body
        assert response["patchType"] == "JSONPatch"
        return patched(copy.deepcopy(body), json.loads(base64.b64decode(response["patch"], validate=True)))


class Connection(http.client.HTTPSConnection):
    """To a port here, in the name of the Service."""

    def __init__(self, port: int, bundle: bytes, timeout_s: float = 10.0) -> None:
        context = ssl.create_default_context(cadata=bundle.decode())
        super().__init__(HOST, port, timeout=timeout_s, context=context)
        self._port, self._tls = port, context

    def connect(self) -> None:
        raw = socket.create_connection(("127.0.0.1", self._port), self.timeout)
        self.sock = self._tls.wrap_socket(raw, server_hostname=HOST)

    def post(self, path: str, content: Object | bytes, content_type: str | None = "application/json") -> Answer:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        headers = {"Accept": "application/json, */*", "User-Agent": "kube-apiserver-admission"}
        if content_type is not None:
            headers["Content-Type"] = content_type
        self.request("POST", f"{path}?timeout=5s", body, headers)
        answered = self.getresponse()
        return Answer(answered.status, answered.read())
