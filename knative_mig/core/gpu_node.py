"""`GpuNode` as values: what the planner wants of a node's GPUs, and what its agent read there.

The planner writes the spec, the agent the status but for one word of the planner's; each reads the other's. The YAML
that people see is the business of `adapters.kube.gpu_node_codec`. The subtle thing is a GPU that the spec does not
name: nothing is wanted of it, so its slices stay as they are; a GPU that is named with no slices is to be emptied.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Self

from knative_mig.core.errors import BadInput
from knative_mig.core.geometry import GpuModel
from knative_mig.core.inventory import GpuUuid, NodeName
from knative_mig.core.profile import ProfileName

LAYOUT_LABEL: Final = "knative-mig.dev/layout"  # `static`: an administrator chose the layout, nobody changes it
ADOPTS_LAYOUT: Final = "AdoptsLayout"  # why a spec is not applied on a node that was static until a moment ago
MOST_GPUS_A_NODE: Final = 16  # as many as a GpuNode may name
GATE: Final = "knative-mig.dev/slice"  # a pod's scheduling gate, lifted when a slice is kept for it


class Layout(StrEnum):
    DYNAMIC = "dynamic"
    STATIC = "static"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class SliceKey:
    """A slice within its GPU."""

    profile: ProfileName
    start: int

    def __str__(self) -> str:
        return f"{self.profile}@{self.start}"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class SliceId:
    """A slice among all: it stays the same when the slice is made anew at its place. Its text is the device's id."""

    gpu: GpuUuid
    profile: ProfileName
    start: int

    @property
    def key(self) -> SliceKey:
        return SliceKey(profile=self.profile, start=self.start)

    def __str__(self) -> str:
        return f"{self.gpu}/{self.profile}/{self.start}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """BadInput: it is no slice's id."""
        gpu, _, rest = text.partition("/")
        profile, _, start = rest.partition("/")
        if not gpu or not start.isascii() or not start.isdecimal():
            raise BadInput(f"{text!r} is not the id of a slice: it is written like GPU-…/3g.20gb/4")
        return cls(gpu=GpuUuid(gpu), profile=ProfileName.parse(profile), start=int(start))


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class WantedSlice:
    profile: ProfileName
    start: int
    size: int  # memory units; redundant on purpose: a reader of the YAML sees what is taken, the agent refuses a lie

    @property
    def key(self) -> SliceKey:
        return SliceKey(profile=self.profile, start=self.start)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedGpu:
    uuid: GpuUuid
    slices: tuple[WantedSlice, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuNodeSpec:
    """`fencing_token` only grows: the API server refuses a write with an older leader's."""

    fencing_token: int = 0
    gpus: tuple[WantedGpu, ...] = ()

    def wanted(self, uuid: GpuUuid) -> WantedGpu | None:
        return next((gpu for gpu in self.gpus if gpu.uuid == uuid), None)


class SliceState(StrEnum):
    """What a slice is to everybody else. Only `Idle` may be given to a pod, only `Idle` may be merged away."""

    BUSY = "Busy"  # a pod holds it, or a process is on it
    IDLE = "Idle"
    RELEASED = "Released"  # its engine has gone, its pod still relays: the place is free, the device id is not
    DRAINING = "Draining"  # taken back from the scheduler, to be destroyed
    BROKEN = "Broken"  # it cannot be used: half made, an XID, a mismatch; `why` says so


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Holder:
    """A container that holds a slice, as the kubelet says."""

    namespace: str
    pod: str
    container: str


OF_NO_POD: Final = "a process is on it that no pod owns"  # `why` of a busy slice, which nobody is given


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceStatus:
    key: SliceKey
    size: int
    state: SliceState
    mig_uuid: str | None
    holders: tuple[Holder, ...] = ()
    pids: tuple[int, ...] = ()
    idle_since: float | None = None
    last_holder: Holder | None = None  # of an idle slice: what its worth is judged by
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignStatus:
    """Memory units taken by something that was not made here."""

    start: int
    size: int
    why: str


class GpuHealth(StrEnum):
    HEALTHY = "Healthy"
    MODE_PENDING = "ModePending"  # its MIG mode waits for a reset: nothing can be made or destroyed
    NO_MIG = "NoMig"
    RESET_REQUIRED = "ResetRequired"
    LOST = "Lost"
    UNREADABLE = "Unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuStatus:
    uuid: GpuUuid
    product: str
    model: str  # one of GpuNodeStatus.models; empty for a GPU that could not be read
    health: GpuHealth
    slices: tuple[SliceStatus, ...] = ()
    foreign: tuple[ForeignStatus, ...] = ()
    why: str = ""


class JournalState(StrEnum):
    CLEAN = "Clean"
    RECOVERING = "Recovering"
    REBUILT = "Rebuilt"  # it could not be read, and was made anew from the GPUs and the kubelet
    UNWRITABLE = "Unwritable"  # nothing is made or destroyed until it can be written


class ConditionType(StrEnum):
    READY = "Ready"  # the node can be planned on: GPUs read, kubelet connected, journal writable
    SPEC_APPLIED = "SpecApplied"  # the GPUs are as the spec says
    GPUS_HEALTHY = "GpusHealthy"
    KUBELET_CONNECTED = "KubeletConnected"
    JOURNAL_WRITABLE = "JournalWritable"
    NO_OTHER_OWNER = "NoOtherOwner"  # no second device plugin serves these resources


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    type: str
    status: bool | None  # None: unknown
    reason: str
    message: str = ""
    since: float = 0.0  # lastTransitionTime


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuNodeStatus:
    observed_generation: int = 0
    layout: Layout = Layout.DYNAMIC
    agent_version: str = ""
    boot_id: str = ""
    models: tuple[GpuModel, ...] = ()
    gpus: tuple[GpuStatus, ...] = ()
    journal: JournalState = JournalState.CLEAN
    open_intents: int = 0
    conditions: tuple[Condition, ...] = ()

    def condition(self, kind: str) -> Condition | None:
        return next((each for each in self.conditions if each.type == kind), None)

    @property
    def spec_set_aside(self) -> bool:
        """An administrator chose the layout that is there, and the spec says what was wanted before: it is not applied.
        Once the label has gone that stays so until a spec that names no GPU was seen: the planner writes one.
        """
        applied = self.condition(ConditionType.SPEC_APPLIED)
        return self.layout is Layout.STATIC or (applied is not None and applied.reason == ADOPTS_LAYOUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuNode:
    name: NodeName
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    spec: GpuNodeSpec = GpuNodeSpec()
    status: GpuNodeStatus | None = None  # None: its agent has not reported yet
    planned: Condition | None = None  # the planner's one word in the status: whether the node is planned on
