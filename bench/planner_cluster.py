"""A cluster in memory for timing the planner's rounds: mirrors without HTTP, agents that do what specs say.

The fleet is `bench.fleets`'. What the planner's process would read from the API server is made once and then changed as
agents, scheduler and functions change it; none of that is timed. Writes are what the API server would answer, at once.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import count
from typing import Generic, TypeVar

from bench.fleets import make_fleet
from knative_mig.core.cluster.objects import NodeFacts, Phase, PodFacts, QuotaFacts, Resources
from knative_mig.core.floor.values import Revision
from knative_mig.core.gpu_node import (
    Condition,
    GpuHealth,
    GpuNode,
    GpuNodeSpec,
    GpuNodeStatus,
    GpuStatus,
    Holder,
    Layout,
    SliceKey,
    SliceState,
    SliceStatus,
    WantedGpu,
)
from knative_mig.core.inventory import Gpu, Idle, NodeName
from knative_mig.core.profile import ProfileName
from knative_mig.ports.kube import EventType, Key, LeaseRecord, Subject
from knative_mig.ports.meter_store import StoredMeters

T = TypeVar("T")
_ROOM = Resources(cpu_milli=192_000, memory_bytes=2**40, pods=250)
_ASKS = Resources(cpu_milli=2_000, memory_bytes=8 * 2**30)


class Mirror(Generic[T]):
    """The mapping is the truth itself: a new one after each change, as the real mirror's is. To be timed: unlike
    `tests.rigs.fake_cluster`'s it finds what has changed without comparing all that there is.
    """

    def __init__(self) -> None:
        self.objects: dict[Key, T] = {}
        self._seen: Mapping[Key, T] | None = None

    def put(self, key: Key, value: T) -> None:
        self.objects[key] = value
        self._seen = None

    def drop(self, key: Key) -> None:
        del self.objects[key]
        self._seen = None

    def snapshot(self) -> Mapping[Key, T]:
        if self._seen is None:
            self._seen = dict(self.objects)
        return self._seen

    def get(self, key: Key) -> T | None:
        return self.objects.get(key)

    @property
    def synced(self) -> bool:
        return True

    def age_s(self, now: float) -> float:  # noqa: ARG002 - the port's
        return 0.0

    def on_change(self, wake: Callable[[Key], None]) -> None: ...


class BenchCluster:
    def __init__(self, gpus: int, seed: int) -> None:
        self._random = random.Random(seed)
        self._names = count()
        self._versions = count(1)
        self.gpu_nodes: Mirror[GpuNode] = Mirror()
        self.pods: Mirror[PodFacts] = Mirror()
        self.nodes: Mirror[NodeFacts] = Mirror()
        self.quotas: Mirror[QuotaFacts] = Mirror()
        self.heartbeats: Mirror[LeaseRecord] = Mirror()
        self.revisions: Mirror[Revision] = Mirror()  # one a pod: the most that there can be
        self.written: dict[NodeName, GpuNode] = {}
        self._running: list[Key] = []
        fleet = make_fleet(gpus, 4_000, seed)
        self.now = fleet.now
        self._asked = [(each.profile, each.priority, each.nodes is not None) for each in fleet.pendings]
        by_node: dict[NodeName, list[Gpu]] = {}
        for gpu in fleet.inventory.gpus:
            by_node.setdefault(gpu.node, []).append(gpu)
        self.zone = {name: f"zone-{at % 4}" for at, name in enumerate(by_node)}
        for name, on_it in by_node.items():
            self._add_node(name, on_it)

    # -- made once --------------------------------------------------------------------------------------------------

    def _add_node(self, name: NodeName, gpus: list[Gpu]) -> None:
        key = Key("", name)
        labels = {"kubernetes.io/hostname": str(name), "topology.kubernetes.io/zone": self.zone[name]}
        self.nodes.put(key, NodeFacts(name=name, labels=labels, allocatable=_ROOM))
        status = GpuNodeStatus(
            observed_generation=1,
            layout=Layout.STATIC if gpus[0].static else Layout.DYNAMIC,
            models=tuple({gpu.model.name: gpu.model for gpu in gpus}.values()),
            gpus=tuple(self._gpu(gpu) for gpu in gpus),
        )
        self.gpu_nodes.put(
            key, GpuNode(name=name, uid=f"uid-{name}", generation=1, resource_version="0", status=status)
        )

    def _gpu(self, gpu: Gpu) -> GpuStatus:
        slices = []
        for each in gpu.slices:
            key = SliceKey(profile=each.place.profile.name, start=each.place.start)
            holder = None if isinstance(each.use, Idle) else self._run(gpu.node, key.profile)
            slices.append(_slice(key, each.place.profile.memory_units, holder, self.now))
        return GpuStatus(
            uuid=gpu.uuid,
            product=gpu.model.name,
            model=gpu.model.name,
            health=GpuHealth.HEALTHY,
            slices=tuple(slices),
        )

    def _run(self, node: NodeName, profile: ProfileName) -> Holder:
        pod = replace(self._pod(profile, 0), node=node, phase=Phase.RUNNING)
        key = Key(pod.namespace, pod.name)
        self.pods.put(key, pod)
        self._running.append(key)
        return Holder(namespace=pod.namespace, pod=pod.name, container="user-container")

    def _pod(self, profile: ProfileName, priority: int, zone: str | None = None) -> PodFacts:
        number = next(self._names)
        service = f"fn-{number // 2:05}"
        name = f"{service}-00001"
        revision = Revision(
            namespace=f"team-{number % 50:02}",
            name=name,
            uid=f"uid-{name}-{number}",
            service=service,
            generation=1,
            desired=1,
        )
        self.revisions.put(Key(revision.namespace, name), revision)
        return PodFacts(
            namespace=revision.namespace,
            name=f"{name}-deployment-{number:x}-abcde",
            uid=f"uid-{number}",
            created=self.now,
            revision=name,
            service=service,
            wants={profile: 1},
            asks=_ASKS,
            priority=priority,
            node_selector={} if zone is None else {"topology.kubernetes.io/zone": zone},
        )

    # -- what happens -----------------------------------------------------------------------------------------------

    def pass_time(self, seconds: float) -> None:
        """And every agent has sent its heartbeat."""
        self.now += seconds
        for node in self.gpu_nodes.objects.values():
            record = LeaseRecord(holder=node.name, duration_s=20, acquired=0, renewed=self.now, transitions=0)
            self.heartbeats.put(Key("knative-mig-agent", node.name), record)

    def arrive(self, many: int) -> None:
        for _ in range(many):
            profile, priority, zoned = self._random.choice(self._asked)
            zone = f"zone-{self._random.randrange(4)}" if zoned else None
            pod = self._pod(profile, priority, zone)
            self.pods.put(Key(pod.namespace, pod.name), pod)

    def waiting(self) -> list[Key]:
        return [key for key, pod in self.pods.objects.items() if pod.node is None]

    def end_some(self, many: int) -> None:
        """Functions are deleted: pod and Revision."""
        for _ in range(many):
            key = self._running.pop(self._random.randrange(len(self._running)))
            pod = self.pods.objects[key]
            self.pods.drop(key)
            assert pod.node is not None
            assert pod.revision is not None
            self.revisions.drop(Key(pod.namespace, pod.revision))
            self._change(pod.node, lambda each, name=key.name: _left(each, name, self.now))  # type: ignore[misc]

    def answer(self) -> None:
        """The agents carry out what was written: what is not wanted goes, what is wanted comes."""
        for name, node in self.written.items():
            there = self.gpu_nodes.objects[Key("", name)].status
            assert there
            gpus = tuple(_obeyed(gpu, node.spec.wanted(gpu.uuid), self.now) for gpu in there.gpus)
            status = replace(there, gpus=gpus, observed_generation=node.generation)
            self.gpu_nodes.put(Key("", name), replace(node, status=status, resource_version=str(next(self._versions))))
        self.written.clear()

    def schedule(self) -> int:
        """Pods take idle slices where their selector lets them; how many did."""
        idle: dict[ProfileName, list[tuple[NodeName, GpuStatus, SliceStatus]]] = {}
        for node in self.gpu_nodes.objects.values():
            for gpu in node.status.gpus if node.status else ():
                for each in gpu.slices:
                    if each.state is SliceState.IDLE:
                        idle.setdefault(each.key.profile, []).append((node.name, gpu, each))
        bound = 0
        for key in self.waiting():
            pod = self.pods.objects[key]
            zone = pod.node_selector.get("topology.kubernetes.io/zone")
            offers = idle.get(next(iter(pod.wants)), [])
            found = next((each for each in offers if zone in (None, self.zone[each[0]])), None)
            if found:
                offers.remove(found)
                name, gpu, taken = found
                self.pods.put(key, replace(pod, node=name, phase=Phase.RUNNING))
                self._running.append(key)
                holder = Holder(namespace=pod.namespace, pod=pod.name, container="user-container")
                self._change(name, lambda each, g=gpu.uuid, k=taken.key, h=holder: _taken(each, g, k, h))  # type: ignore[misc]
                bound += 1
        return bound

    def _change(self, name: NodeName, change: Callable[[GpuStatus], GpuStatus]) -> None:
        key = Key("", name)
        node = self.gpu_nodes.objects[key]
        assert node.status
        gpus = tuple(map(change, node.status.gpus))
        version = str(next(self._versions))
        self.gpu_nodes.put(key, replace(node, status=replace(node.status, gpus=gpus), resource_version=version))

    # -- the ports that the planner writes by -----------------------------------------------------------------------

    def read(self, name: NodeName) -> GpuNode:
        return self.gpu_nodes.objects[Key("", name)]

    def ensure(self, name: NodeName) -> GpuNode:
        return self.read(name)

    def write_spec(self, node: GpuNode, spec: GpuNodeSpec) -> GpuNode:
        there = self.read(node.name)
        assert there.resource_version == node.resource_version
        written = replace(there, spec=spec, generation=there.generation + 1, resource_version=str(next(self._versions)))
        self.gpu_nodes.put(Key("", node.name), written)
        self.written[node.name] = written
        return written

    def write_status(self, name: NodeName, status: GpuNodeStatus) -> GpuNode:
        raise NotImplementedError

    def write_planned(self, node: GpuNode, planned: Condition) -> GpuNode:
        written = replace(self.read(node.name), planned=planned)
        self.gpu_nodes.put(Key("", node.name), written)
        return written

    def delete(self, key: Key, *, uid: str, grace_s: int | None = None) -> None: ...

    def evict(self, key: Key, *, uid: str, grace_s: int | None = None) -> None: ...

    def lift_gate(self, key: Key, *, uid: str, gate: str, node: NodeName | None) -> PodFacts | None: ...

    def record(self, subject: Subject, kind: EventType, reason: str, message: str) -> None: ...

    def load(self) -> StoredMeters | None:
        return None

    def save(self, data: Mapping[str, str], *, replaces: StoredMeters | None) -> StoredMeters:  # noqa: ARG002
        return StoredMeters(data=data, resource_version="1")


def _slice(key: SliceKey, size: int, holder: Holder | None, now: float) -> SliceStatus:
    return SliceStatus(
        key=key,
        size=size,
        state=SliceState.BUSY if holder else SliceState.IDLE,
        mig_uuid=f"MIG-{key}",
        holders=(holder,) if holder else (),
        idle_since=None if holder else now,
        last_holder=None if holder else Holder(namespace="team-00", pod="fn-00001-00001-deployment-1-a", container="u"),
    )


def _left(gpu: GpuStatus, pod: str, now: float) -> GpuStatus:
    if not any(holder.pod == pod for each in gpu.slices for holder in each.holders):
        return gpu
    slices = tuple(
        replace(each, state=SliceState.IDLE, holders=(), idle_since=now, last_holder=each.holders[0])
        if any(holder.pod == pod for holder in each.holders)
        else each
        for each in gpu.slices
    )
    return replace(gpu, slices=slices)


def _taken(gpu: GpuStatus, uuid: str, key: SliceKey, holder: Holder) -> GpuStatus:
    if gpu.uuid != uuid:
        return gpu
    slices = tuple(
        replace(each, state=SliceState.BUSY, holders=(holder,), idle_since=None) if each.key == key else each
        for each in gpu.slices
    )
    return replace(gpu, slices=slices)


def _obeyed(gpu: GpuStatus, wanted: WantedGpu | None, now: float) -> GpuStatus:
    if wanted is None:
        return gpu
    keys = {each.key: each.size for each in wanted.slices}
    kept = tuple(each for each in gpu.slices if each.key in keys)
    assert all(each.state is not SliceState.BUSY for each in gpu.slices if each.key not in keys), "a busy slice went"
    there = {each.key for each in kept}
    made = tuple(_slice(key, size, None, now) for key, size in keys.items() if key not in there)
    return replace(gpu, slices=kept + made)
