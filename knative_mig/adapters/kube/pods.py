"""Deletes, evicts, marks and un-gates pods, and writes our condition into their status: the ports `ports.kube.Pods` and
`PodConditions`, and `ports.autoscaling.MovedPods`.

Called by the node agent (delete, evict) and by the planner (the rest). The subtle thing is who may be meant: a pod's
name comes back with its successor (a StatefulSet's, a test's), so each write is tied to the uid, in the write itself.

A gate is lifted and the node is named in one patch: the API server lets a gated pod's node selector grow, and asks
whether it was gated before the update, so nobody sees the pod ungated and free to go anywhere. An annotation in
the same patch says that the node is the planner's: one that a user has named binds the function's next pod too.
The patch is written from what a mirror shows, where one does, since the pod waits for it; it says itself of what it
holds true, and where that is not so any more the pod is read, and another patch is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from knative_mig.adapters.kube import conditions, parse
from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.fields import Fields
from knative_mig.adapters.kube.kinds import NODE, POD
from knative_mig.adapters.kube.parse import DELETION_COST, PINNED, REVISION_LABEL
from knative_mig.core.cluster.objects import HOSTNAME, NodeFacts, PodFacts
from knative_mig.core.gpu_node import Condition
from knative_mig.core.inventory import Function, NodeName
from knative_mig.ports.kube import ClusterError, Conflict, Key, KeyedMirror, ObjectNotFound, Refused

_TRIES: Final = 3  # another controller may lift its own gate at the same time, and so move ours in the list
# The API server takes another uid for a conflict that passes, and tries an eviction for ten seconds; hence the look
# before it too.
_EVICTION_S: Final = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Mirrors of those that are written on."""

    pods: KeyedMirror[PodFacts]
    nodes: KeyedMirror[NodeFacts]


class KubePods:
    def __init__(self, client: KubeClient, seen: Seen | None = None) -> None:
        self._client = client
        self._seen = seen

    def delete(self, key: Key, *, uid: str, grace_s: int | None = None) -> None:
        options = {"apiVersion": "v1", "kind": "DeleteOptions", **_options(uid, grace_s)}
        try:
            self._client.delete(POD, key, options)
        except Conflict as conflict:
            raise self._or_gone(key, uid, conflict) from conflict

    def evict(self, key: Key, *, uid: str, grace_s: int | None = None) -> None:
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"namespace": key.namespace, "name": key.name},
            "deleteOptions": _options(uid, grace_s),
        }
        self._read(key, uid)
        try:
            self._client.create_below(POD, key, "eviction", eviction, answer_s=_EVICTION_S)
        except Conflict as conflict:
            raise self._or_gone(key, uid, conflict) from conflict

    def read_of(self, function: Function) -> list[PodFacts]:
        query = {"labelSelector": f"{REVISION_LABEL}={function.name}"}
        return [parse.pod(each) for each in self._client.page(POD, function.namespace, query).items]

    def set_deletion_cost(self, key: Key, *, uid: str, cost: int | None) -> None:
        value = None if cost is None else str(cost)
        about = {"uid": uid, "annotations": {DELETION_COST: value}}
        try:
            self._client.merge(POD, key, {"metadata": about})
        except Conflict as conflict:
            raise self._or_gone(key, uid, conflict) from conflict

    def write_condition(self, key: Key, *, uid: str, condition: Condition) -> None:
        about = {"type": condition.type, **conditions.written(condition)}
        patch = {"metadata": {"uid": uid}, "status": {"conditions": [about]}}
        try:
            self._client.merge_strategically(POD, key, patch, subresource="status")
        except (Conflict, Refused) as error:  # another uid is either
            raise self._or_gone(key, uid, error) from error

    def lift_gate(self, key: Key, *, uid: str, gate: str, node: NodeName | None) -> PodFacts | None:
        """Refused: the pod may not go to that node."""
        if (foreseen := self._foreseen(key, uid, gate, node)) is not None:
            try:
                self._client.patch(POD, key, foreseen)
            except Refused:  # it is not as it was seen, or may not go there: its own look tells which
                pass
            else:
                return None
        hostname = None if node is None else self._hostname(node)
        refused: Refused | None = None
        for _ in range(_TRIES):
            body = self._read(key, uid)
            operations = _lifting(_gated(Fields(body)), uid, gate, hostname)
            if not operations:
                return parse.pod(body)
            try:
                self._client.patch(POD, key, operations)
            except Refused as error:  # a test in the patch failed, or the pod is not valid with it: the next look tells
                refused = error
            else:
                return None
        assert refused is not None
        raise refused

    def _foreseen(self, key: Key, uid: str, gate: str, node: NodeName | None) -> list[dict[str, Any]] | None:
        """The patch for the pod as the mirrors show it; None: they do not show enough."""
        pod = self._seen.pods.get(key) if self._seen else None
        if pod is None or gate not in pod.gates:
            return None
        hostname = None
        if node is not None:
            there = self._seen.nodes.get(Key("", node)) if self._seen else None
            if there is None or HOSTNAME not in there.labels:
                return None
            hostname = there.labels[HOSTNAME]
        # The mirror keeps no annotations: a pod of a function has some, and where there is none the patch fails.
        return _lifting(_Gated(gates=pod.gates, selector=pod.node_selector, has_notes=True), uid, gate, hostname)

    def _hostname(self, node: NodeName) -> str:
        """Node selectors know labels alone, and where the cloud has its way the hostname is not the node's name."""
        labels = Fields(self._client.get(NODE, Key("", node))).child("metadata").labels("labels")
        return labels.get(HOSTNAME) or node

    def _read(self, key: Key, uid: str) -> dict[str, Any]:
        body = self._client.get(POD, key)
        if body["metadata"].get("uid") != uid:
            raise ObjectNotFound(f"pod {key.namespace}/{key.name} is another one now: {uid} has gone")
        return body

    def _or_gone(self, key: Key, uid: str, error: ClusterError) -> ClusterError:
        """What a conflict on a write with a uid means: mostly that the uid is another's."""
        try:
            self._read(key, uid)
        except ObjectNotFound as gone:
            return gone
        return error


def _options(uid: str, grace_s: int | None) -> dict[str, Any]:
    grace = {} if grace_s is None else {"gracePeriodSeconds": grace_s}
    return {"preconditions": {"uid": uid}, **grace}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gated:
    """Of a pod what decides how its gate is lifted."""

    gates: Sequence[str]
    selector: Mapping[str, str]
    has_notes: bool
    version: str = ""


def _gated(pod: Fields) -> _Gated:
    about, spec = pod.child("metadata"), pod.child("spec")
    return _Gated(
        gates=[each.text("name") for each in spec.children("schedulingGates")],
        selector=spec.labels("nodeSelector"),
        has_notes=bool(about.labels("annotations")),
        version=about.text("resourceVersion"),
    )


def _lifting(pod: _Gated, uid: str, gate: str, hostname: str | None) -> list[dict[str, Any]]:
    """The patch; empty where there is no such gate."""
    if gate not in pod.gates:
        return []
    at = f"/spec/schedulingGates/{pod.gates.index(gate)}"
    operations: list[dict[str, Any]] = [
        {"op": "test", "path": "/metadata/uid", "value": uid},
        {"op": "test", "path": f"{at}/name", "value": gate},
        {"op": "remove", "path": at},
    ]
    if hostname is not None:
        operations.append(_put("/spec/nodeSelector", HOSTNAME, hostname, there=bool(pod.selector)))
        if HOSTNAME not in pod.selector:
            if not pod.has_notes:  # of the selector alone the API server itself sees to it that no entry is taken away
                operations.append({"op": "test", "path": "/metadata/resourceVersion", "value": pod.version})
            operations.append(_put("/metadata/annotations", PINNED, hostname, there=pod.has_notes))
    return operations


def _put(path: str, key: str, value: str, *, there: bool) -> dict[str, Any]:
    """An entry of a map that may have to be made."""
    if there:
        return {"op": "add", "path": f"{path}/{key.replace('/', '~1')}", "value": value}
    return {"op": "add", "path": path, "value": {key: value}}
