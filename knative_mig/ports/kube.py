"""What the processes ask of the Kubernetes API: mirrors of what is there, and the few writes that each may do.

Called by the planner process and the node agent; answered by `adapters.kube`, and by `tests/fake_api` over HTTP. All
values are parsed: nothing behind this port sees the API's JSON.

The subtle thing is age. A mirror says when it last heard from the API server, and who decides from it asks first:
a plan made from a stale mirror destroys what has been taken since.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.errors import KnativeMigError
from knative_mig.core.gpu_node import Condition, GpuNode, GpuNodeSpec, GpuNodeStatus
from knative_mig.core.inventory import NodeName
from knative_mig.core.profile import ProfileName

T_co = TypeVar("T_co", covariant=True)


class ClusterError(KnativeMigError):
    """What the API server answered, or that it did not."""

    reason = "ClusterError"
    said: str = ""  # the API server's own words, where it answered


class ApiUnreachable(ClusterError):
    reason = "ApiUnreachable"


class Conflict(ClusterError):
    """Somebody else wrote in between: read again."""

    reason = "Conflict"


class ObjectNotFound(ClusterError):
    reason = "NotFound"


class AlreadyExists(ClusterError):
    reason = "AlreadyExists"


class Forbidden(ClusterError):
    """RBAC or an admission policy: a configuration error."""

    reason = "Forbidden"


class Refused(ClusterError):
    """The object is not valid: a schema, or a rule like the one on fencing tokens."""

    reason = "Invalid"


class TooManyRequests(ClusterError):
    """Among others an eviction that a disruption budget holds up."""

    reason = "TooManyRequests"
    retry_after_s: float | None = None  # where the API server said so


@dataclass(frozen=True, slots=True, order=True)
class Key:
    namespace: str  # empty for what has none
    name: str


class Mirror(Protocol[T_co]):
    """All objects of one kind, as last seen."""

    def snapshot(self) -> Mapping[Key, T_co]:
        """The same object until something changes."""

    @property
    def synced(self) -> bool:
        """Whether a first whole list has come."""

    def age_s(self, now: float) -> float:
        """Seconds of `now`'s clock (monotonic) since the API server was last heard of; infinite before the first
        list.
        """

    def on_change(self, wake: Callable[[Key], None]) -> None:
        """`wake` is called on the mirror's thread after each change; it must return at once."""


class KeyedMirror(Mirror[T_co], Protocol[T_co]):
    """For whoever looks at one object a change, among thousands."""

    def get(self, key: Key) -> T_co | None:
        """As it is in the snapshot of now, at the cost of one."""


class GpuNodes(Protocol):
    """The writes on GpuNodes. Each raises what ClusterError's kinds say."""

    def read(self, name: NodeName) -> GpuNode: ...

    def ensure(self, name: NodeName) -> GpuNode:
        """Made, empty and owned by its Node, where it is not there."""

    def write_spec(self, node: GpuNode, spec: GpuNodeSpec) -> GpuNode:
        """Conflict where `node` is not the newest; Refused where the fencing token is older than the one there."""

    def write_status(self, name: NodeName, status: GpuNodeStatus) -> GpuNode:
        """All of it has one writer, the agent, so nothing is compared."""

    def write_planned(self, node: GpuNode, planned: Condition) -> GpuNode:
        """The planner's one word in the status. Whatever the agent writes meanwhile, neither undoes the other's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSlices:
    """What a Node's status says of its slices."""

    capacity: Mapping[ProfileName, int]
    allocatable: Mapping[ProfileName, int]


class NodeStatuses(Protocol):
    def read_slices(self, name: NodeName) -> NodeSlices: ...

    def write_slices(self, name: NodeName, slices: NodeSlices) -> NodeSlices:
        """Sets the named profiles in capacity and allocatable, in one write; leaves all else. The answer is what the
        API server has now.
        """


class Pods(Protocol):
    """`uid` guards against a successor of the same name: ObjectNotFound then."""

    def delete(self, key: Key, *, uid: str, grace_s: int | None = None) -> None:
        """`grace_s`: in place of the pod's own."""

    def evict(self, key: Key, *, uid: str, grace_s: int | None = None) -> None:
        """As `delete`. TooManyRequests: a disruption budget holds it up."""

    def lift_gate(self, key: Key, *, uid: str, gate: str, node: NodeName | None) -> PodFacts | None:
        """Removes a scheduling gate; with `node` the pod may be scheduled only there. One that was let go before is
        answered as it is: it may be bound to another node.
        """


class PodConditions(Protocol):
    def write_condition(self, key: Key, *, uid: str, condition: Condition) -> None:
        """Beside the pod's others, in the place of the one of its type. ObjectNotFound: that uid has gone."""


class EventType(StrEnum):
    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What an Event is about."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str = ""


class EventRecorder(Protocol):
    def record(self, subject: Subject, kind: EventType, reason: str, message: str) -> None:
        """Never raises and never waits: an Event that cannot be written is logged and counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRecord:
    """A coordination.k8s.io Lease. Times are the writer's wall clock; whoever waits for one to run out counts from its
    own first sight of the record, so that clocks need not agree.
    """

    holder: str
    duration_s: float
    acquired: float
    renewed: float
    transitions: int
    resource_version: str = ""
    address: str = ""  # where the holder takes events (annotation knative-mig.dev/address)
    fencing_token: int = 0  # annotation knative-mig.dev/fencing-token


class Leases(Protocol):
    def read(self, key: Key) -> LeaseRecord | None:
        """None: there is no such Lease."""

    def write(self, key: Key, record: LeaseRecord) -> LeaseRecord:
        """Creates it where `resource_version` is empty (AlreadyExists), else replaces exactly that one (Conflict)."""
