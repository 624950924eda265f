"""The ports of `ports.kube` in memory: one API server's objects, seen by mirrors that lag when a test says so.

It enforces what the API server enforces for us: resource versions, generations that grow with the spec, fencing tokens
that never shrink, specs without overlaps, UIDs on pods.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import count
from typing import Generic, TypeVar

from knative_mig.core.cluster.objects import HOSTNAME, NodeFacts, PodFacts, QuotaFacts
from knative_mig.core.gpu_node import Condition, GpuNode, GpuNodeSpec, GpuNodeStatus
from knative_mig.core.inventory import Function, NodeName
from knative_mig.ports.kube import (
    AlreadyExists,
    ApiUnreachable,
    Conflict,
    EventType,
    Key,
    LeaseRecord,
    ObjectNotFound,
    Refused,
    Subject,
)
from knative_mig.ports.meter_store import StoredMeters

T = TypeVar("T")


class FakeMirror(Generic[T]):
    """Follows the server's objects unless `lagging`; `age` is what `age_s` answers. `looked`: called at each look."""

    def __init__(self, objects: dict[Key, T]) -> None:
        self._objects = objects
        self._seen: dict[Key, T] = {}
        self._wakes: list[Callable[[Key], None]] = []
        self.lagging = False
        self.looked: Callable[[], None] = lambda: None
        self.age = 0.0
        self.is_synced = True

    def show(self, objects: dict[Key, T]) -> None:
        """These, from now on."""
        self._objects = objects

    def snapshot(self) -> Mapping[Key, T]:
        self.looked()
        if not self.lagging and self._seen != self._objects:
            self._seen = dict(self._objects)
        return self._seen

    def get(self, key: Key) -> T | None:
        return self.snapshot().get(key)

    @property
    def synced(self) -> bool:
        return self.is_synced

    def age_s(self, now: float) -> float:  # noqa: ARG002 - the port's
        return self.age

    def on_change(self, wake: Callable[[Key], None]) -> None:
        self._wakes.append(wake)

    def changed(self, key: Key) -> None:
        for wake in self._wakes:
            wake(key)


class FakeCluster:
    def __init__(self) -> None:
        self.gpu_nodes: dict[Key, GpuNode] = {}
        self.pods: dict[Key, PodFacts] = {}
        self.nodes: dict[Key, NodeFacts] = {}
        self.quotas: dict[Key, QuotaFacts] = {}
        self.leases: dict[Key, LeaseRecord] = {}
        self.heartbeats: dict[Key, LeaseRecord] = {}
        self.events: list[tuple[str, str, str]] = []  # pod, reason, message
        self.spec_writes: list[tuple[str, GpuNodeSpec]] = []
        self.lifted: list[tuple[str, str | None]] = []
        self.condition_writes: list[tuple[str, str]] = []  # pod, reason
        self.stored: StoredMeters | None = None
        self.unreachable = False
        self._versions = count(1)

    def version(self) -> str:
        if self.unreachable:
            raise ApiUnreachable("no route to the API server")
        return str(next(self._versions))

    # -- set up by tests --------------------------------------------------------------------------------------------

    def put_gpu_node(self, node: GpuNode) -> None:
        self.gpu_nodes[Key("", node.name)] = replace(node, resource_version=self.version(), uid=f"uid-{node.name}")

    def beat(self, name: str, renewed: float) -> None:
        """`renewed`: by the node's own clock, whatever that shows."""
        record = LeaseRecord(holder=name, duration_s=20, acquired=0, renewed=renewed, transitions=0)
        self.heartbeats[Key("knative-mig-agent", name)] = record

    def put_node(self, node: NodeFacts) -> None:
        self.nodes[Key("", node.name)] = node

    def put_pod(self, pod: PodFacts) -> None:
        self.pods[Key(pod.namespace, pod.name)] = pod

    def drop_pod(self, pod: PodFacts) -> None:
        del self.pods[Key(pod.namespace, pod.name)]

    def gpu_node(self, name: str) -> GpuNode:
        return self.gpu_nodes[Key("", name)]

    def pod(self, name: str) -> PodFacts:
        return self.pods[Key("team", name)]

    # -- GpuNodes ---------------------------------------------------------------------------------------------------

    def read(self, name: NodeName) -> GpuNode:
        self.version()
        try:
            return self.gpu_nodes[Key("", name)]
        except KeyError:
            raise ObjectNotFound(f"no GpuNode {name}") from None

    def ensure(self, name: NodeName) -> GpuNode:
        if Key("", name) not in self.gpu_nodes:
            self.put_gpu_node(GpuNode(name=name, generation=1))
        return self.read(name)

    def write_spec(self, node: GpuNode, spec: GpuNodeSpec) -> GpuNode:
        there = self.read(node.name)
        if spec.fencing_token < there.spec.fencing_token:
            raise Refused(f"fencing token {spec.fencing_token} is older than {there.spec.fencing_token}")
        if there.resource_version != node.resource_version:
            raise Conflict(f"{node.name} has changed")
        for gpu in spec.gpus:
            taken = 0
            for each in gpu.slices:
                mask = ((1 << each.size) - 1) << each.start
                if mask & taken:
                    raise Refused(f"{gpu.uuid}: {each.key} overlaps")
                taken |= mask
        changed = there.generation + (spec != there.spec)
        written = replace(there, spec=spec, generation=changed, resource_version=self.version())
        self.gpu_nodes[Key("", node.name)] = written
        self.spec_writes.append((str(node.name), spec))
        return written

    def write_status(self, name: NodeName, status: GpuNodeStatus) -> GpuNode:
        written = replace(self.read(name), status=status, resource_version=self.version())
        self.gpu_nodes[Key("", name)] = written
        return written

    def write_planned(self, node: GpuNode, planned: Condition) -> GpuNode:
        there = self.read(node.name)
        if there.uid != node.uid:
            raise Conflict(f"{node.name} is another one by now")
        written = replace(there, planned=planned, resource_version=self.version())
        self.gpu_nodes[Key("", node.name)] = written
        return written

    # -- Pods -------------------------------------------------------------------------------------------------------

    def delete(self, key: Key, *, uid: str, grace_s: int | None = None) -> None:  # noqa: ARG002 - here all end at once
        self._pod(key, uid)
        del self.pods[key]

    def evict(self, key: Key, *, uid: str, grace_s: int | None = None) -> None:
        self.delete(key, uid=uid, grace_s=grace_s)

    def read_of(self, function: Function) -> list[PodFacts]:
        self.version()
        return [pod for pod in self.pods.values() if pod.function == function]

    def set_deletion_cost(self, key: Key, *, uid: str, cost: int | None) -> None:
        self.pods[key] = replace(self._pod(key, uid), deletion_cost=cost)

    def lift_gate(self, key: Key, *, uid: str, gate: str, node: NodeName | None) -> PodFacts | None:
        pod = self._pod(key, uid)
        if gate not in pod.gates:
            return pod
        selector = pod.node_selector if node is None else {**pod.node_selector, HOSTNAME: str(node)}
        pinned = selector != pod.node_selector
        gates = tuple(each for each in pod.gates if each != gate)
        self.pods[key] = replace(pod, gates=gates, node_selector=selector, pinned=pinned)
        self.lifted.append((pod.name, node))
        return None

    def write_condition(self, key: Key, *, uid: str, condition: Condition) -> None:
        self.pods[key] = replace(self._pod(key, uid), told=condition)
        self.condition_writes.append((key.name, condition.reason))

    def _pod(self, key: Key, uid: str) -> PodFacts:
        self.version()
        pod = self.pods.get(key)
        if pod is None or pod.uid != uid:
            raise ObjectNotFound(f"no pod {key.namespace}/{key.name} with UID {uid}")
        return pod

    # -- Events, meters ---------------------------------------------------------------------------------------------

    def record(self, subject: Subject, kind: EventType, reason: str, message: str) -> None:  # noqa: ARG002 - the port's
        self.events.append((subject.name, reason, message))

    def load(self) -> StoredMeters | None:
        self.version()
        return self.stored

    def save(self, data: Mapping[str, str], *, replaces: StoredMeters | None) -> StoredMeters:
        version = self.version()
        if replaces is None and self.stored is not None:
            raise AlreadyExists("meters")
        if replaces is not None and (self.stored is None or replaces.resource_version != self.stored.resource_version):
            raise Conflict("meters")
        self.stored = StoredMeters(data=dict(data), resource_version=version)
        return self.stored


class FakeLeases:
    def __init__(self, cluster: FakeCluster) -> None:
        self._cluster = cluster

    def read(self, key: Key) -> LeaseRecord | None:
        self._cluster.version()
        return self._cluster.leases.get(key)

    def write(self, key: Key, record: LeaseRecord) -> LeaseRecord:
        version = self._cluster.version()
        there = self._cluster.leases.get(key)
        if not record.resource_version and there:
            raise AlreadyExists(f"lease {key.name}")
        if record.resource_version and (there is None or there.resource_version != record.resource_version):
            raise Conflict(f"lease {key.name}")
        written = replace(record, resource_version=version)
        self._cluster.leases[key] = written
        return written
