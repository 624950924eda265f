"""Keeps the planner's meters in a ConfigMap: the port `ports.meter_store.MeterStore`.

Called by the planner's leader and by `knative-mig usage`. A save replaces the ConfigMap under its resourceVersion, so
that of two leaders who loaded the same totals one stores what came since.
"""

from collections.abc import Mapping
from typing import Any, Final

from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.fields import Fields
from knative_mig.adapters.kube.kinds import CONFIG_MAP
from knative_mig.ports.kube import Key, ObjectNotFound
from knative_mig.ports.meter_store import StoredMeters

NAME: Final = "knative-mig-meters"


class KubeMeterStore:
    def __init__(self, client: KubeClient, namespace: str) -> None:
        self._client = client
        self._key = Key(namespace, NAME)

    def load(self) -> StoredMeters | None:
        try:
            return _stored(self._client.get(CONFIG_MAP, self._key))
        except ObjectNotFound:
            return None

    def save(self, data: Mapping[str, str], *, replaces: StoredMeters | None) -> StoredMeters:
        about: dict[str, Any] = {"namespace": self._key.namespace, "name": self._key.name}
        body = {"apiVersion": CONFIG_MAP.group, "kind": CONFIG_MAP.kind, "metadata": about, "data": dict(data)}
        if replaces is None:
            return _stored(self._client.create(CONFIG_MAP, self._key.namespace, body))
        about["resourceVersion"] = replaces.resource_version
        return _stored(self._client.replace(CONFIG_MAP, self._key, body))


def _stored(body: dict[str, Any]) -> StoredMeters:
    top = Fields(body)
    return StoredMeters(data=top.labels("data"), resource_version=top.child("metadata").text("resourceVersion"))
