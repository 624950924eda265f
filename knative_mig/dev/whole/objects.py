"""What is in the API from the start: what config/ installs on a cluster of what is not a Deployment, and Knative's own
settings.

Called by `cluster`. Knative's ConfigMaps are written only where there are none yet: whoever wants to edit them finds
them, and what he wrote stays where the state is kept.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import yaml

from knative_mig.core.inventory import NodeName
from knative_mig.dev.manifests import MANIFESTS

Object = dict[str, Any]
FILES: Final = (
    "core/100-namespaces.yaml",
    "core/200-serviceaccounts.yaml",
    "core/500-planner.yaml",
    "core/530-webhook.yaml",
    "core/540-admission.yaml",
    "knative/settings.yaml",
    "overlays/eventing/broker.yaml",
    "overlays/eventing/trigger.yaml",
)
_KINDS: Final = (
    "Namespace",
    "ServiceAccount",
    "ConfigMap",
    "Secret",
    "Service",
    "Broker",
    "Trigger",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
)
KNATIVE: Final = "knative-serving"
# Which a function's URL ends in: browsers and curl know it as loopback.
DOMAIN: Final = "localhost"
_SETTINGS: Final[Mapping[str, Mapping[str, str]]] = {
    "config-domain": {DOMAIN: ""},
    "config-features": {"kubernetes.podspec-nodeselector": "enabled"},
    "config-gc": {},
    "config-network": {},
}


def initial(nodes: Iterable[NodeName]) -> Iterator[Object]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for file in FILES:
        for body in yaml.load_all((MANIFESTS / file).read_text(), Loader=loader):
            if body and body["kind"] in _KINDS:
                yield body
    for node in nodes:  # their kubelets say the rest, and their agents look for them at once
        yield {"apiVersion": "v1", "kind": "Node", "metadata": {"name": str(node)}}
    for name, data in _SETTINGS.items():
        about = {"name": name, "namespace": KNATIVE}
        yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": dict(data)}
