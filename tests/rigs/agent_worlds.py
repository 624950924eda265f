"""A node in words, and fakes of what its agent talks to, for tests of the agent's threads without threads.

reading("A", "3g.20gb@4 as MIG-1", "1g.5gb@0 as MIG-2 with 41,42", "1g.5gb@1 half made")
view("A", "3g.20gb@4 by default/chat", "1g.5gb@0")   # allocatable all, held the first
"""

# ruff: noqa: ARG002  a fake has the arguments of its port, and answers whatever it is asked

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from knative_mig.core.agent.readings import GpuReading, KubeletView, SeenSlice, device_id
from knative_mig.core.cluster.objects import Phase, PodFacts
from knative_mig.core.gpu_node import (
    Condition,
    GpuHealth,
    GpuNode,
    GpuNodeSpec,
    GpuNodeStatus,
    Holder,
    SliceId,
    WantedGpu,
    WantedSlice,
)
from knative_mig.core.inventory import GpuUuid, NodeName
from knative_mig.core.mig_tables import gpu_model
from knative_mig.core.profile import ProfileName
from knative_mig.ports.kube import (
    ClusterError,
    EventType,
    Key,
    LeaseRecord,
    NodeSlices,
    ObjectNotFound,
    Subject,
    TooManyRequests,
)
from knative_mig.ports.kubelet import Device, KubeletUnreachable

NODE = NodeName("n1")
_SEEN = re.compile(r"(\S+)@(\d+)(?: as (\S+))?(?: with ([\d,]+))?(?P<half> half made)?(?P<blind> unlisted)?")


def profile(text: str) -> ProfileName:
    return ProfileName.parse(text)


def slice_id(gpu: str, words: str) -> SliceId:
    name, _, start = words.partition("@")
    return SliceId(gpu=GpuUuid(gpu), profile=profile(name), start=int(start))


def reading(
    gpu: str,
    *slices: str,
    model: str = "A100-40GB",
    health: GpuHealth = GpuHealth.HEALTHY,
    why: str = "",
    at: float = 0.0,
) -> GpuReading:
    found = gpu_model(model)
    seen: list[SeenSlice] = []
    for number, words in enumerate(slices):
        match = _SEEN.fullmatch(words)
        assert match, words
        pids = tuple(int(pid) for pid in match[4].split(",")) if match[4] else ()
        half = bool(match["half"])
        seen.append(
            SeenSlice(
                place=found.place(found.profile(profile(match[1])), int(match[2])),
                gi_id=number,
                ci_id=None if half else 0,
                mig_uuid=None if half else match[3] or f"MIG-{match[1]}-{match[2]}",
                pids=None if match["blind"] else pids,
            )
        )
    return GpuReading(
        uuid=GpuUuid(gpu), read_at=at, product=model, model=found, health=health, why=why, slices=tuple(seen)
    )


def holder(words: str) -> Holder:
    namespace, _, pod = words.partition("/")
    return Holder(namespace=namespace, pod=pod, container="user-container")


def view(gpu: str, *slices: str) -> KubeletView:
    """Allocatable, and held where it says `by`; `lost` devices are held and not allocatable."""
    holders, allocatable = {}, set()
    for words in slices:
        what, _, by = words.removesuffix(" lost").partition(" by ")
        device = device_id(slice_id(gpu, what))
        if not words.endswith(" lost"):
            allocatable.add(device)
        if by:
            holders[device] = (holder(by),)
    return KubeletView(holders=holders, allocatable=frozenset(allocatable))


def pod(
    words: str,
    *wants: str,
    phase: Phase = Phase.RUNNING,
    reason: str = "",
    node: str = NODE,
    owner: str = "ReplicaSet",
) -> PodFacts:
    namespace, _, name = words.partition("/")
    return PodFacts(
        namespace=namespace,
        name=name,
        uid=f"uid-{name}",
        created=0.0,
        phase=phase,
        reason=reason,
        node=NodeName(node),
        owner=owner,
        wants={profile(each): 1 for each in wants},
    )


def wanted_node(gpu: str, *slices: str, generation: int = 1) -> GpuNode:
    found = gpu_model("A100-40GB")
    wanted: list[WantedSlice] = []
    for words in slices:
        name, _, start = words.partition("@")
        cut = found.profile(profile(name))
        wanted.append(WantedSlice(profile=cut.name, start=int(start), size=cut.memory_units))
    spec = GpuNodeSpec(gpus=(WantedGpu(uuid=GpuUuid(gpu), slices=tuple(wanted)),))
    return GpuNode(name=NODE, generation=generation, spec=spec)


class Clock:
    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class FakePodResources:
    answer: KubeletView = field(default_factory=KubeletView)
    away: bool = False
    asked: int = 0

    def view(self) -> KubeletView:
        self.asked += 1
        if self.away:
            raise KubeletUnreachable("its socket is gone")
        return self.answer

    def let_it_end(self) -> None:
        pass  # one thread asks


@dataclass
class FakePlugins:
    served: list[Mapping[ProfileName, tuple[Device, ...]]] = field(default_factory=list)
    observed: list[KubeletView] = field(default_factory=list)

    def serve(self, devices: Mapping[ProfileName, tuple[Device, ...]]) -> None:
        self.served.append(devices)

    def observe(self, view: KubeletView) -> None:
        self.observed.append(view)

    def run(self) -> None: ...

    def stop(self) -> None: ...


@dataclass
class FakeNodeStatuses:
    capacity: dict[ProfileName, int] = field(default_factory=dict)
    allocatable: dict[ProfileName, int] = field(default_factory=dict)
    error: ClusterError | None = None
    reads: int = 0
    writes: list[NodeSlices] = field(default_factory=list)

    def read_slices(self, name: NodeName) -> NodeSlices:
        self.reads += 1
        return self._answer()

    def write_slices(self, name: NodeName, slices: NodeSlices) -> NodeSlices:
        if self.error is None:
            self.writes.append(slices)
            self.capacity |= slices.capacity
            self.allocatable |= slices.allocatable
        return self._answer()

    def _answer(self) -> NodeSlices:
        if self.error is not None:
            raise self.error
        return NodeSlices(capacity=dict(self.capacity), allocatable=dict(self.allocatable))


@dataclass
class FakeGpuNodes:
    node: GpuNode = field(default_factory=lambda: GpuNode(name=NODE))
    error: ClusterError | None = None
    there: bool = False
    made: int = 0
    written: list[GpuNodeStatus] = field(default_factory=list)

    def read(self, name: NodeName) -> GpuNode:
        return self.node

    def ensure(self, name: NodeName) -> GpuNode:
        if self.error is not None:
            raise self.error
        self.made += not self.there
        self.there = True
        return self.node

    def write_spec(self, node: GpuNode, spec: GpuNodeSpec) -> GpuNode:
        raise NotImplementedError

    def write_planned(self, node: GpuNode, planned: Condition) -> GpuNode:
        raise NotImplementedError

    def write_status(self, name: NodeName, status: GpuNodeStatus) -> GpuNode:
        if self.error is not None:
            raise self.error
        if not self.there:
            raise ObjectNotFound(f"no GpuNode {name}")
        self.written.append(status)
        self.node = replace(self.node, status=status)
        return self.node


def by_key(*pods: PodFacts) -> dict[Key, PodFacts]:
    """As a mirror has them."""
    return {Key(each.namespace, each.name): each for each in pods}


@dataclass
class FakePods:
    deleted: list[str] = field(default_factory=list)
    evicted: list[str] = field(default_factory=list)
    graces: list[int | None] = field(default_factory=list)  # as each of them was asked for
    budget: bool = True  # False: no eviction is allowed
    tries: int = 0

    def delete(self, key: Key, *, uid: str, grace_s: int | None = None) -> None:
        self.graces.append(grace_s)
        self.deleted.append(f"{key.namespace}/{key.name} {uid}")

    def evict(self, key: Key, *, uid: str, grace_s: int | None = None) -> None:
        self.graces.append(grace_s)
        self.tries += 1
        if not self.budget:
            raise TooManyRequests("the disruption budget is spent")
        self.evicted.append(f"{key.namespace}/{key.name} {uid}")

    def lift_gate(self, key: Key, *, uid: str, gate: str, node: NodeName | None) -> PodFacts | None:
        raise NotImplementedError


@dataclass
class FakeEvents:
    said: list[tuple[str, str, str]] = field(default_factory=list)

    def record(self, subject: Subject, kind: EventType, reason: str, message: str) -> None:
        self.said.append((subject.name, reason, message))


@dataclass
class FakeLeases:
    record: LeaseRecord | None = None
    errors: list[ClusterError] = field(default_factory=list)

    def read(self, key: Key) -> LeaseRecord | None:
        return self.record

    def write(self, key: Key, record: LeaseRecord) -> LeaseRecord:
        if self.errors:
            raise self.errors.pop(0)
        self.record = record
        return record


@dataclass
class FakeProcesses:
    pods: dict[str, set[int]] = field(default_factory=dict)
    parents: dict[int, int] = field(default_factory=dict)
    of_this_container_alone: bool = False  # as without hostPID

    def belongs(self, pid: int, pod_uid: str) -> bool:
        return pid in self.pods.get(pod_uid, set())

    def of_pods(self, pod_uids: Iterable[str]) -> Mapping[str, frozenset[int]]:
        return {uid: frozenset(self.pods.get(uid, ())) for uid in pod_uids}

    def descends(self, pid: int, ancestor: int) -> bool:
        while pid in self.parents:
            pid = self.parents[pid]
            if pid == ancestor:
                return True
        return False

    def sees_the_host(self) -> bool:
        return not self.of_this_container_alone
