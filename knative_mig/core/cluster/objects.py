"""Kubernetes objects as far as decisions need them: pods, nodes, quotas, as values.

Built from the API's JSON by `adapters.kube.parse`, and by tests by hand. Times are seconds since the epoch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from knative_mig.core.gpu_node import Condition
from knative_mig.core.inventory import Function, NodeName
from knative_mig.core.profile import RESOURCE_PREFIX, ProfileName

HOSTNAME: Final = "kubernetes.io/hostname"  # the one node label by which a pod is sent to a node
_REFUSALS: Final = ("UnexpectedAdmissionError", f"OutOf{RESOURCE_PREFIX}")  # how a kubelet's reasons begin


class Phase(StrEnum):
    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


class Effect(StrEnum):
    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taint:
    key: str
    value: str = ""
    effect: Effect = Effect.NO_SCHEDULE


@dataclass(frozen=True, slots=True, kw_only=True)
class Toleration:
    """An empty key with `exists` tolerates everything; effect None means each effect."""

    key: str = ""
    exists: bool = False
    value: str = ""
    effect: Effect | None = None
    seconds: int | None = None  # for so long after a NoExecute taint came; None: for ever


class Operator(StrEnum):
    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"
    GT = "Gt"
    LT = "Lt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    key: str
    operator: Operator
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """All of them must hold; `fields` are over metadata.name."""

    labels: tuple[Requirement, ...] = ()
    fields: tuple[Requirement, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a pod asks of a node beside slices, and what a node has."""

    cpu_milli: int = 0
    memory_bytes: int = 0
    pods: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFacts:
    namespace: str
    name: str
    uid: str
    created: float
    phase: Phase = Phase.PENDING
    reason: str = ""  # of a failed pod: UnexpectedAdmissionError, OutOfnvidia.com/mig-…
    node: NodeName | None = None
    owner: str = ""  # the kind of its controller, such as ReplicaSet or DaemonSet; none: nobody makes it anew
    revision: str | None = None  # label serving.knative.dev/revision
    service: str | None = None  # label serving.knative.dev/service
    wants: Mapping[ProfileName, int] = field(default_factory=dict)
    asks: Resources = Resources()
    gates: tuple[str, ...] = ()
    ends_at: float | None = None  # it is being deleted: when it will have ended
    priority: int = 0
    movable: bool = False
    recreates: bool = False  # an older Revision of its Service may end for it
    ready: bool = False
    deletion_cost: int | None = None  # controller.kubernetes.io/pod-deletion-cost: who of a ReplicaSet goes first
    node_selector: Mapping[str, str] = field(default_factory=dict)
    pinned: bool = False  # the planner has named the node in its selector; otherwise its user has
    node_terms: tuple[Term, ...] | None = None  # required node affinity: one of them must hold; None: no affinity
    tolerations: tuple[Toleration, ...] = ()
    told: Condition | None = None  # knative-mig.dev/Slice: what the planner last wrote of its slice, if anything

    @property
    def function(self) -> Function:
        """A pod without a revision is its own function: plain pods get slices too."""
        return Function(self.namespace, self.revision or f"pod/{self.name}")

    @property
    def over(self) -> bool:
        return self.phase in (Phase.SUCCEEDED, Phase.FAILED)

    @property
    def is_refused(self) -> bool:
        """For want of a slice, by the kubelet that it was sent to. The node's agent deletes it, for its controller has
        made another by then; a bare pod, which nobody makes anew, is left for its user to read.
        """
        refused = self.phase is Phase.FAILED and self.reason.startswith(_REFUSALS)
        return refused and bool(self.wants and self.owner) and self.ends_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    name: NodeName
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    unschedulable: bool = False
    ready: bool = True
    allocatable: Resources = Resources()
    slices: Mapping[ProfileName, int] = field(default_factory=dict)  # allocatable nvidia.com/mig-*


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaFacts:
    """One ResourceQuota's say on slices."""

    namespace: str
    hard: Mapping[ProfileName, int] = field(default_factory=dict)
    used: Mapping[ProfileName, int] = field(default_factory=dict)
