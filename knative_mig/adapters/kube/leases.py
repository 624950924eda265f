"""Reads and writes Leases: the port `ports.kube.Leases`.

Called by the planner's leadership and by the agents' heartbeats. A write replaces the whole Lease under its
resourceVersion, so of two that saw the same one writes.
"""

from math import ceil
from typing import Any, Final

from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.fields import Fields, micro_time_text, token_in
from knative_mig.adapters.kube.kinds import LEASE
from knative_mig.adapters.kube.reflector import KubeMirror
from knative_mig.ports.kube import Key, LeaseRecord, ObjectNotFound

ADDRESS: Final = "knative-mig.dev/address"
FENCING: Final = "knative-mig.dev/fencing-token"


class KubeLeases:
    def __init__(self, client: KubeClient) -> None:
        self._client = client

    def read(self, key: Key) -> LeaseRecord | None:
        try:
            return _record(self._client.get(LEASE, key))
        except ObjectNotFound:
            return None

    def write(self, key: Key, record: LeaseRecord) -> LeaseRecord:
        body = _body(key, record)
        if not record.resource_version:
            return _record(self._client.create(LEASE, key.namespace, body))
        return _record(self._client.replace(LEASE, key, body))


def _record(body: dict[str, Any]) -> LeaseRecord:
    """A Lease that somebody edited is read as far as it makes sense: it must not lock everybody out."""
    top = Fields(body)
    about, spec = top.child("metadata"), top.child("spec")
    annotations = about.labels("annotations")
    return LeaseRecord(
        holder=spec.text("holderIdentity"),
        duration_s=float(spec.optional_integer("leaseDurationSeconds") or 0),
        acquired=spec.time("acquireTime") or 0.0,
        renewed=spec.time("renewTime") or 0.0,
        transitions=spec.optional_integer("leaseTransitions") or 0,
        resource_version=about.text("resourceVersion"),
        address=annotations.get(ADDRESS, ""),
        fencing_token=token_in(annotations.get(FENCING, "")),
    )


def _body(key: Key, record: LeaseRecord) -> dict[str, Any]:
    annotations = {FENCING: str(record.fencing_token)} if record.fencing_token else {}
    if record.address:
        annotations[ADDRESS] = record.address
    about: dict[str, Any] = {"namespace": key.namespace, "name": key.name, "annotations": annotations}
    if record.resource_version:
        about["resourceVersion"] = record.resource_version
    return {
        "apiVersion": LEASE.group,
        "kind": LEASE.kind,
        "metadata": about,
        "spec": {
            "holderIdentity": record.holder,
            "leaseDurationSeconds": max(1, ceil(record.duration_s)),  # whole ones, and at least one: the API's rule
            "acquireTime": micro_time_text(record.acquired),
            "renewTime": micro_time_text(record.renewed),
            "leaseTransitions": record.transitions,
        },
    }


def mirror(client: KubeClient, namespace: str) -> KubeMirror[LeaseRecord]:
    """Of all Leases of a namespace: the agents' heartbeats."""
    return KubeMirror(client, LEASE, lambda body: _record(dict(body)), namespace=namespace)
