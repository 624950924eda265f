"""Keeps a process's own notes in a ConfigMap: made where it is missing, else replaced whole under its resourceVersion.

Called by `floor_objects` and `move_objects`, which know what the texts mean. Of two that read the same notes one
writes; the other is told Conflict.
"""

from collections.abc import Mapping
from typing import Any, Final

from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.fields import Fields, token_in
from knative_mig.adapters.kube.kinds import CONFIG_MAP
from knative_mig.ports.kube import Key, ObjectNotFound

TOKEN: Final = "fencing-token"  # noqa: S105 - a leader's number, no secret
Notes = tuple[dict[str, str], str]  # and the resourceVersion, empty where there is no such object


class ConfigRecord:
    def __init__(self, client: KubeClient, key: Key) -> None:
        self._client = client
        self._key = key

    def load(self) -> Notes:
        try:
            return _notes(self._client.get(CONFIG_MAP, self._key))
        except ObjectNotFound:
            return {}, ""

    def save(self, data: Mapping[str, str], resource_version: str) -> Notes:
        about: dict[str, Any] = {"namespace": self._key.namespace, "name": self._key.name}
        body = {"apiVersion": CONFIG_MAP.group, "kind": CONFIG_MAP.kind, "metadata": about, "data": dict(data)}
        if not resource_version:
            return _notes(self._client.create(CONFIG_MAP, self._key.namespace, body))
        about["resourceVersion"] = resource_version
        return _notes(self._client.replace(CONFIG_MAP, self._key, body))


def _notes(body: dict[str, Any]) -> Notes:
    top = Fields(body)
    return top.labels("data"), top.child("metadata").text("resourceVersion")


def token_of(data: Mapping[str, str]) -> int:
    return token_in(data.get(TOKEN, ""))
