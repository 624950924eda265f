"""Nodes, pods and GpuNodes in a line each, for tests that are about a cluster: A100-40GB unless a test says otherwise.

A slice is written `3g.20gb@4`; what stands on a GPU is a mapping from such a name to who has it: `None` for idle, a
pod's name for busy, `!Released:pod`, `!Draining`, `!Broken`.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from knative_mig.core.cluster.objects import NodeFacts, PodFacts, Resources
from knative_mig.core.cluster.staleness import Verdict
from knative_mig.core.cluster.world import Facts
from knative_mig.core.gpu_node import (
    GATE,
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
    WantedSlice,
)
from knative_mig.core.inventory import GpuUuid, NodeName
from knative_mig.core.mig_tables import gpu_model
from knative_mig.core.profile import ProfileName

GIB: Final = 2**30


def key(text: str) -> SliceKey:
    profile, _, start = text.partition("@")
    return SliceKey(profile=ProfileName.parse(profile), start=int(start))


def size_of(each: SliceKey, model: str = "A100-40GB") -> int:
    return gpu_model(model).profile(each.profile).memory_units


def wanted_slice(text: str, model: str = "A100-40GB") -> WantedSlice:
    each = key(text)
    return WantedSlice(profile=each.profile, start=each.start, size=size_of(each, model))


def wanted(uuid: str, *slices: str) -> WantedGpu:
    return WantedGpu(uuid=GpuUuid(uuid), slices=tuple(sorted(map(wanted_slice, slices), key=lambda each: each.start)))


def gpu(
    uuid: str,
    slices: Mapping[str, str | None] | None = None,
    *,
    model: str = "A100-40GB",
    health: GpuHealth = GpuHealth.HEALTHY,
    idle_since: float | None = None,
) -> GpuStatus:
    return GpuStatus(
        uuid=GpuUuid(uuid),
        product=model,
        model=model,
        health=health,
        slices=tuple(_slice(text, who, model, idle_since) for text, who in (slices or {}).items()),
    )


def _slice(text: str, who: str | None, model: str, idle_since: float | None) -> SliceStatus:
    each = key(text)
    state = SliceState.BUSY if who else SliceState.IDLE
    if who and who.startswith("!"):
        name, _, who = who[1:].partition(":")
        state = SliceState(name)
    return SliceStatus(
        key=each,
        size=size_of(each, model),
        state=state,
        mig_uuid=f"MIG-{text}",
        holders=(Holder(namespace="team", pod=who, container="user"),) if who else (),
        idle_since=idle_since if state is SliceState.IDLE else None,
    )


def gpu_node(
    name: str,
    *gpus: GpuStatus,
    spec: Iterable[WantedGpu] = (),
    token: int = 0,
    generation: int = 1,
    observed: int | None = None,
    layout: Layout = Layout.DYNAMIC,
) -> GpuNode:
    names = dict.fromkeys(each.model for each in gpus)
    return GpuNode(
        name=NodeName(name),
        generation=generation,
        spec=GpuNodeSpec(fencing_token=token, gpus=tuple(spec)),
        status=GpuNodeStatus(
            observed_generation=generation if observed is None else observed,
            layout=layout,
            models=tuple(map(gpu_model, names)),
            gpus=gpus,
        ),
    )


def node(name: str, *, cpu: int = 64_000, pods: int = 110, slices: Mapping[str, int] | None = None) -> NodeFacts:
    return NodeFacts(
        name=NodeName(name),
        labels={"kubernetes.io/hostname": name},
        allocatable=Resources(cpu_milli=cpu, memory_bytes=256 * GIB, pods=pods),
        slices={ProfileName.parse(profile): many for profile, many in (slices or {}).items()},
    )


def pod(
    name: str,
    profile: str = "1g.5gb",
    *,
    revision: str | None = None,
    on: str | None = None,
    gated: bool = False,
    priority: int = 0,
    created: float = 0.0,
    ends_at: float | None = None,
    only_on: str | None = None,
    cpu: int = 0,
) -> PodFacts:
    return PodFacts(
        namespace="team",
        name=name,
        uid=f"uid-{name}",
        created=created,
        node=None if on is None else NodeName(on),
        revision=revision or name,
        service=revision or name,
        wants={ProfileName.parse(profile): 1},
        asks=Resources(cpu_milli=cpu),
        gates=(GATE,) if gated else (),
        priority=priority,
        ends_at=ends_at,
        node_selector={} if only_on is None else {"kubernetes.io/hostname": only_on},
    )


def facts(
    gpu_nodes: Iterable[GpuNode],
    pods: Iterable[PodFacts] = (),
    nodes: Iterable[NodeFacts] | None = None,
    verdicts: Mapping[NodeName, Verdict] | None = None,
) -> Facts:
    there = list(gpu_nodes)
    known = [node(each.name) for each in there] if nodes is None else nodes
    return Facts(
        gpu_nodes={each.name: each for each in there},
        pods={each.name: each for each in pods},
        nodes={each.name: each for each in known},
        verdicts=verdicts or {},
    )
