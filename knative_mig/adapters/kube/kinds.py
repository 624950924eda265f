"""Where objects of a kind are served: the few kinds that are read or written here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from knative_mig.ports.kube import Key


@dataclass(frozen=True, slots=True)
class Kind:
    group: str  # with its version; "v1" is the core group
    kind: str
    plural: str
    namespaced: bool = True

    def path(self, key: Key, subresource: str = "") -> str:
        """Of one object, or of all where the key has no name."""
        root = f"/apis/{self.group}" if "/" in self.group else f"/api/{self.group}"
        place = f"/namespaces/{quote(key.namespace, safe='')}" if self.namespaced and key.namespace else ""
        name = f"/{quote(key.name, safe='')}" if key.name else ""
        return f"{root}{place}/{self.plural}{name}{f'/{subresource}' if subresource else ''}"


GPU_NODE: Final = Kind("knative-mig.dev/v1alpha1", "GpuNode", "gpunodes", namespaced=False)
NODE: Final = Kind("v1", "Node", "nodes", namespaced=False)
POD: Final = Kind("v1", "Pod", "pods")
RESOURCE_QUOTA: Final = Kind("v1", "ResourceQuota", "resourcequotas")
EVENT: Final = Kind("v1", "Event", "events")
LEASE: Final = Kind("coordination.k8s.io/v1", "Lease", "leases")
CONFIG_MAP: Final = Kind("v1", "ConfigMap", "configmaps")
SECRET: Final = Kind("v1", "Secret", "secrets")
FUNCTION: Final = Kind("serving.knative.dev/v1", "Service", "services")
REVISION: Final = Kind("serving.knative.dev/v1", "Revision", "revisions")
POD_AUTOSCALER: Final = Kind("autoscaling.internal.knative.dev/v1alpha1", "PodAutoscaler", "podautoscalers")


def key_of(body: Mapping[str, Any]) -> Key:
    """KeyError for what is no object of the API."""
    about = body["metadata"]
    return Key(str(about.get("namespace") or ""), str(about["name"]))
