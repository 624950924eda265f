"""Reads the Secrets and ConfigMaps that a pod names, as they are now. Called by `container_start`
before each start.
"""

import base64
import binascii
from collections.abc import Mapping

from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.fields import Fields
from knative_mig.adapters.kube.kinds import CONFIG_MAP, SECRET
from knative_mig.dev.node.pod_spec import Pod
from knative_mig.dev.node.surrounds import Entries, wanted_entries
from knative_mig.ports.kube import Key, ObjectNotFound


def read(client: KubeClient, pod: Pod) -> Entries:
    """What is not there is left out. ClusterError."""
    found: dict[tuple[str, str], Mapping[str, bytes]] = {}
    for kind, name in wanted_entries(pod):
        try:
            body = client.get(SECRET if kind == "Secret" else CONFIG_MAP, Key(pod.key.namespace, name))
        except ObjectNotFound:
            continue
        found[kind, name] = _secret(body) if kind == "Secret" else _config_map(body)
    return Entries(of=found)


def _secret(body: Mapping[str, object]) -> dict[str, bytes]:
    return {key: _decoded(value) for key, value in Fields(body).labels("data").items()}


def _config_map(body: Mapping[str, object]) -> dict[str, bytes]:
    top = Fields(body)
    binary = {key: _decoded(value) for key, value in top.labels("binaryData").items()}
    return {key: value.encode() for key, value in top.labels("data").items()} | binary


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        return value.encode()
