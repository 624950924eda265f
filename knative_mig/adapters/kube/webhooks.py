"""The Secret that the webhook's replicas share, and the webhook configurations: two ports of `ports.webhook`.

Called by the webhook's keeper. A save replaces the Secret under its resourceVersion, so of two replicas that found it
empty one writes. Of a configuration the bundles alone are written, each with a test that it is still at the place where
it was read: a configuration that is being applied anew is read again, not mended.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

from knative_mig.adapters.kube.client import KubeClient, Object
from knative_mig.adapters.kube.fields import Fields
from knative_mig.adapters.kube.kinds import SECRET, Kind
from knative_mig.ports.kube import Key
from knative_mig.ports.webhook import StoredCertificates

MUTATING: Final = Kind(
    "admissionregistration.k8s.io/v1",
    "MutatingWebhookConfiguration",
    "mutatingwebhookconfigurations",
    namespaced=False,
)
VALIDATING: Final = Kind(
    "admissionregistration.k8s.io/v1",
    "ValidatingWebhookConfiguration",
    "validatingwebhookconfigurations",
    namespaced=False,
)
SECRET_NAME: Final = "knative-mig-webhook-certs"  # noqa: S105 - where they are, not what they are
CONFIGURATION: Final = "admission.knative-mig.dev"  # sorts before Knative's webhook.serving.knative.dev


class KubeCertificateStore:
    def __init__(self, client: KubeClient, namespace: str) -> None:
        self._client = client
        self._key = Key(namespace, SECRET_NAME)

    def load(self) -> StoredCertificates:
        return _stored(self._client.get(SECRET, self._key))

    def save(self, files: Mapping[str, bytes], *, replaces: StoredCertificates) -> StoredCertificates:
        found = self._client.get(SECRET, self._key)  # for its labels and who manages them
        found["metadata"]["resourceVersion"] = replaces.resource_version
        found["data"] = {name: base64.b64encode(content).decode() for name, content in files.items()}
        return _stored(self._client.replace(SECRET, self._key, found))


def _stored(body: Mapping[str, Any]) -> StoredCertificates:
    top = Fields(body)
    files = {name: _decoded(text) for name, text in top.labels("data").items()}
    return StoredCertificates(files=files, resource_version=top.child("metadata").name("resourceVersion"))


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


class KubeWebhookConfigurations:
    """Both kinds have the same name, and in the answers the kind's before it."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._kinds = {f"{kind.kind} {CONFIGURATION}": kind for kind in (MUTATING, VALIDATING)}

    def distrusting(self, bundle: bytes) -> tuple[str, ...]:
        return tuple(name for name, kind in self._kinds.items() if self._operations(kind, bundle))

    def trust(self, name: str, bundle: bytes) -> None:
        kind = self._kinds[name]
        if operations := self._operations(kind, bundle):
            self._client.patch(kind, Key("", CONFIGURATION), operations)

    def _operations(self, kind: Kind, bundle: bytes) -> list[Object]:
        wanted = base64.b64encode(bundle).decode()
        operations: list[Object] = []
        webhooks = Fields(self._client.get(kind, Key("", CONFIGURATION))).children("webhooks")
        for at, each in enumerate(webhooks):
            if each.child("clientConfig").text("caBundle") != wanted:
                operations += [
                    {"op": "test", "path": f"/webhooks/{at}/name", "value": each.name("name")},
                    {"op": "add", "path": f"/webhooks/{at}/clientConfig/caBundle", "value": wanted},
                ]
        return operations
