"""Turns Knative's released manifests into ours: images from the local registry name, requests that fit two cores,
system pods on the system node, settings for tests. Pure: documents in, documents out.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import yaml

from tests.cluster.testbed.system_images import ENVOY_IMAGE, QUEUE_IMAGE, of_command
from tests.cluster.testbed.topology import POOL_LABEL, Topology

Document = dict[str, Any]

# libyaml where PyYAML was built with it: the CRDs are 20 000 lines.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# One replica of everything on a machine without a metrics server: nothing to scale, nothing to keep apart.
_LEFT_OUT: Final = frozenset({"HorizontalPodAutoscaler", "PodDisruptionBudget"})
# What must exist before what; webhook configurations are applied apart, once the webhook answers.
_ORDER: Final = (
    "Namespace", "CustomResourceDefinition", "ServiceAccount", "ClusterRole", "Role", "ClusterRoleBinding",
    "RoleBinding", "ConfigMap", "Secret", "Service", "Deployment",
)  # fmt: skip
_WEBHOOKS: Final = frozenset({"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"})

# Leases of 60 s leave a component idle for a minute after a kill: fault tests would wait for that.
_LEASES: Final = {"lease-duration": "15s", "renew-deadline": "10s", "retry-period": "2s"}


def settings(topology: Topology) -> dict[str, dict[str, str]]:
    """What the test cluster sets in Knative's ConfigMaps, and why it is not the default."""
    return {
        "config-autoscaler": {
            "allow-zero-initial-scale": "true",  # a rollout that recreates has the traffic go first
            "stable-window": "6s",  # the smallest allowed: tests see a scale-down in seconds, not a minute
            "scale-to-zero-grace-period": "6s",  # likewise
            "scale-to-zero-pod-retention-period": "0s",
        },
        "config-defaults": {
            # A function's own timeout may cover a slice's reconfiguration and a model's load; upstream caps it at 600.
            "max-revision-timeout-seconds": "3600",
        },
        "config-deployment": {
            "registries-skipping-tag-resolving": "kind.local,ko.local,dev.local",  # no registry to resolve a tag at
            "pod-is-always-schedulable": "true",  # a pod that waits for a slice must not fail its Revision
            "queue-sidecar-image": QUEUE_IMAGE,
            "queue-sidecar-cpu-request": "10m",
            "queue-sidecar-memory-request": "20Mi",
        },
        "config-domain": {topology.domain: ""},
        "config-features": {
            "kubernetes.podspec-nodeselector": "enabled",  # tests place a function on the node that they break
        },
        "config-leader-election": _LEASES,
        "config-network": {
            "ingress-class": "kourier.ingress.networking.knative.dev",
            "mesh-compatibility-mode": "disabled",  # no mesh: pods are probed at their own addresses at once
        },
    }


def read(paths: Iterable[Path]) -> list[Document]:
    found: list[Document] = []
    for path in paths:
        with path.open() as file:
            found += [document for document in yaml.load_all(file, Loader=_LOADER) if document]
    return found


def adapt(documents: Iterable[Document], topology: Topology) -> list[Document]:
    wanted = settings(topology)
    adapted = []
    for document in documents:
        if document["kind"] in _LEFT_OUT:
            continue
        fresh: Document = _images(document)
        if fresh["kind"] == "Deployment":
            _deployment(fresh["spec"]["template"]["spec"])
        elif fresh["kind"] == "ConfigMap":
            fresh.setdefault("data", {}).update(wanted.get(fresh["metadata"]["name"], {}))
        adapted.append(fresh)
    return sorted(adapted, key=_rank)


def split_webhooks(documents: list[Document]) -> tuple[list[Document], list[Document]]:
    """(everything else, webhook configurations): a configuration whose webhook does not answer refuses all writes."""
    return (
        [document for document in documents if document["kind"] not in _WEBHOOKS],
        [document for document in documents if document["kind"] in _WEBHOOKS],
    )


def write(documents: list[Document], path: Path) -> Path:
    """Writes one List as JSON: kubectl takes it like YAML, and it costs a tenth of the time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}, indent=1))
    return path


def _rank(document: Document) -> int:
    return _ORDER.index(document["kind"]) if document["kind"] in _ORDER else len(_ORDER)


def _images(value: Any) -> Any:
    """A copy with each image reference replaced, also where it stands in an environment variable or a ConfigMap."""
    if isinstance(value, dict):
        return {key: _images(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_images(item) for item in value]
    if isinstance(value, str) and value.startswith("ko://"):
        return of_command(value)
    if isinstance(value, str) and value.startswith("docker.io/envoyproxy/envoy:"):
        return ENVOY_IMAGE
    return value


def _deployment(pod: dict[str, Any]) -> None:
    # Faults of a GPU node must not take Knative itself down.
    pod["nodeSelector"] = {**pod.get("nodeSelector", {}), POOL_LABEL: "system"}
    for container in pod["containers"]:
        container.setdefault("resources", {})["requests"] = {"cpu": "10m", "memory": "20Mi"}
        container["imagePullPolicy"] = "IfNotPresent"
        # Upstream waits 10 s before it first asks; the pods start within one here.
        if probe := container.get("readinessProbe"):
            probe.update({"initialDelaySeconds": 0, "periodSeconds": 1})
        if "lifecycle" in container and container["image"] == ENVOY_IMAGE:
            del container["lifecycle"]  # asks for a shell and curl, which the image does not have
