"""What the planner knows of the world: GPUs with what is on them, and the functions that wait for a slice.

Built by adapters (from `GpuNode`s, pods and PodAutoscalers) or by the CLI from YAML; nothing in it is read again while
planning. A slice with a pod on it is busy, whatever the pod does: it can be moved, never reclaimed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import NewType

from knative_mig.core.errors import BadInput
from knative_mig.core.geometry import GpuModel, Place
from knative_mig.core.layout import overlap
from knative_mig.core.profile import ProfileName

GpuUuid = NewType("GpuUuid", str)
NodeName = NewType("NodeName", str)


@dataclass(frozen=True, slots=True, order=True)
class Function:
    """A revision, by namespace and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Idle:
    """No pod. `worth_s`: what its next cold start would cost more if it were gone, times how likely that is."""

    worth_s: float = 0.0

    def __post_init__(self) -> None:
        _finite("worth_s", self.worth_s)

    @classmethod
    def from_reuse(cls, next_start_s: float, likelihood: float) -> "Idle":
        return cls(next_start_s * likelihood)


@dataclass(frozen=True, slots=True)
class Busy:
    """A pod holds it. If it may be moved: `move_s` is cold start elsewhere and drain here, `nodes` where it can run."""

    function: Function
    movable: bool = False
    move_s: float = 0.0
    nodes: frozenset[NodeName] | None = None

    def __post_init__(self) -> None:
        _finite("move_s", self.move_s)


@dataclass(frozen=True, slots=True)
class Ending:
    """Its pod is terminating: nobody can use it before `free_at`, and nobody has to be moved from it."""

    function: Function
    free_at: float

    def __post_init__(self) -> None:
        _finite("free_at", self.free_at, least=-inf)


def _finite(what: str, seconds: float, least: float = 0.0) -> None:
    """Costs are compared and added: one that is not a number, or negative, would make nonsense of all of them."""
    if not (isfinite(seconds) and seconds >= least):
        raise BadInput(f"{what} is {seconds}: legal are finite seconds{'' if least == -inf else ', 0 or more'}")


Use = Idle | Busy | Ending


@dataclass(frozen=True, slots=True)
class Slice:
    place: Place
    use: Use


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """`static`: an administrator chose its layout; idle slices may be reused, nothing is made or destroyed."""

    uuid: GpuUuid
    node: NodeName
    model: GpuModel
    slices: tuple[Slice, ...] = ()
    static: bool = False

    def __post_init__(self) -> None:
        clash = overlap([each.place for each in self.slices])
        if clash:
            raise BadInput(f"{self.uuid}: {clash[0]} and {clash[1]} overlap on a {self.model}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Succession:
    """A new Revision's: the older ones of its Service that hold slices, and whether they may lose them to it, even the
    last (`knative-mig.dev/rollout: recreate`).
    """

    older: frozenset[Function]
    recreates: bool = False

    def __str__(self) -> str:
        return " and ".join(sorted(map(str, self.older)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """`count` slices that a function waits for since `since`. `nodes`: where its pod can run; None means anywhere."""

    function: Function
    profile: ProfileName
    count: int = 1
    priority: int = 0
    since: float = 0.0
    nodes: frozenset[NodeName] | None = None
    succeeds: Succession | None = None
    after: Function | None = None  # a newer Revision of its Service, which waits too: of the two that comes first

    def __post_init__(self) -> None:
        if self.count < 1:
            raise BadInput(f"{self.function}: count is {self.count}, legal is 1 or more")
        _finite("since", self.since, least=-inf)


# How many more slices of a profile a namespace may hold; a profile that is not named is not limited.
Quotas = Mapping[str, Mapping[ProfileName, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    gpus: tuple[Gpu, ...]
    quotas: Quotas = field(default_factory=dict)

    def __post_init__(self) -> None:
        seen: set[GpuUuid] = set()
        for gpu in self.gpus:
            if gpu.uuid in seen:
                raise BadInput(f"{gpu.uuid} stands twice in the inventory")
            seen.add(gpu.uuid)
