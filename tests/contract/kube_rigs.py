"""The API servers that the contract of the Kubernetes adapters is held to: the fake one, that of `dev`, and a real one
where KNATIVE_MIG_TEST_KUBECONFIG names a kubeconfig that may do everything.

Names are the test's own, so that a cluster with other things in it serves as well; what a test made is taken away.
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.kinds import GPU_NODE, LEASE, NODE, POD, Kind
from knative_mig.dev.api.server import ApiServer
from knative_mig.dev.loop import Loop
from knative_mig.ports.kube import AlreadyExists, ClusterError, Key, ObjectNotFound
from tests.fake_api import FakeApi
from tests.rigs.api_server import NoLogs

KUBECONFIG: Final = "KNATIVE_MIG_TEST_KUBECONFIG"
KINDS: Final = ("fake", "dev", *(["real"] if os.environ.get(KUBECONFIG) else []))
LABEL: Final = "knative-mig.dev/test"

_CRD_KIND: Final = Kind(
    "apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)
_NAMESPACE: Final = Kind("v1", "Namespace", "namespaces", namespaced=False)
_CRD: Final = Path(__file__).parents[2] / "config/core/300-gpunode.yaml"


@dataclass
class KubeRig:
    """An API server, and names that are this test's."""

    client: KubeClient
    namespace: str
    tag: str = field(default_factory=lambda: f"t-{uuid.uuid4().hex[:10]}")
    made: list[tuple[Kind, Key]] = field(default_factory=list)

    @property
    def selector(self) -> str:
        return f"{LABEL}={self.tag}"

    def make(self, kind: Kind, name: str, body: dict[str, Any], *, status: dict[str, Any] | None = None) -> Key:
        """As any client would: through the API, the status by its subresource."""
        key = Key(self.namespace if kind.namespaced else "", f"{self.tag}-{name}")
        about = {"name": key.name, "labels": {LABEL: self.tag}} | (
            {"namespace": key.namespace} if key.namespace else {}
        )
        metadata = about | body.get("metadata", {})
        self.client.create(
            kind, key.namespace, {"apiVersion": kind.group, "kind": kind.kind, **body, "metadata": metadata}
        )
        self.made.append((kind, key))
        if status is not None:
            self.client.merge(kind, key, {"status": status}, subresource="status")
        return key

    def node(self, name: str = "node", **labels: str) -> Key:
        key = self.make(NODE, name, {})
        if labels:
            self.client.merge(NODE, key, {"metadata": {"labels": labels}})
        return key

    def pod(self, name: str = "pod", **spec: Any) -> Key:
        container = {"name": "c", "image": "i", "terminationMessagePolicy": "File", "imagePullPolicy": "Always"}
        return self.make(POD, name, {"spec": {"containers": [container], "terminationGracePeriodSeconds": 5, **spec}})

    def uid(self, kind: Kind, key: Key) -> str:
        return str(self.client.get(kind, key)["metadata"]["uid"])

    def clean(self) -> None:
        for kind, key in (*self.made, (LEASE, Key(self.namespace, self.tag)), (GPU_NODE, Key("", f"{self.tag}-node"))):
            with suppress(ObjectNotFound):
                self.client.delete(kind, key, {"gracePeriodSeconds": 0})


@contextmanager
def kube_rig(kind: str) -> Iterator[KubeRig]:
    if kind == "fake":
        with FakeApi() as api:
            yield KubeRig(api.client(), "default")
        return
    if kind == "dev":
        with Loop() as loop:
            server = ApiServer(logs=NoLogs())
            loop.run(server.start())
            yield KubeRig(KubeClient.of_url(server.url, user_agent="knative-mig-tests"), "default")
            loop.run(server.stop())
        return
    client = KubeClient.of_kubeconfig(os.environ[KUBECONFIG], user_agent="knative-mig-tests")
    with suppress(AlreadyExists):
        client.create(_CRD_KIND, "", yaml.safe_load(_CRD.read_text()))
    for _ in range(50):  # seconds pass between a CRD and its being served
        with suppress(ClusterError):
            client.page(GPU_NODE, "", {"limit": "1"})
            break
    with suppress(AlreadyExists):
        client.create(
            _NAMESPACE, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "knative-mig-tests"}}
        )
    rig = KubeRig(client, "knative-mig-tests")
    try:
        yield rig
    finally:
        rig.clean()
