"""What the planner decides, as values with reasons: steps to take, rejections, and a proven bound on both.

The reconfigurer writes steps into `GpuNode`s, conditions and events quote the reasons, the CLI prints them. A step
grants one slice to one function; `Plan.steps` are in an order in which they can be carried out.
"""

from dataclasses import dataclass
from enum import StrEnum

from knative_mig.core.geometry import Place
from knative_mig.core.inventory import Function, GpuUuid, NodeName, Pending
from knative_mig.core.profile import ProfileName


class How(StrEnum):
    """In the order of preference."""

    REUSE = "reuse"  # an idle slice of the profile
    CREATE = "create"  # in free units
    MERGE = "merge"  # idle slices destroyed, one made over them
    WAIT = "wait"  # for slices whose pods are terminating
    MOVE = "move"  # functions elsewhere first, make-before-break
    RECREATE = "recreate"  # an older Revision of the same Service ends for it, by its user's choice


class Because(StrEnum):
    """Stable codes of reasons: conditions and events carry them, tests compare them."""

    IDLE_SLICE = "IdleSlice"
    FREE_UNITS = "FreeUnits"
    CHEAPEST_MERGE = "CheapestMerge"
    SOON_FREE = "SoonFree"
    FEWEST_MOVES = "FewestMoves"
    REPLACES_REVISION = "ReplacesRevision"
    STARTS_FASTEST = "StartsFastest"
    KEEPS_FLEXIBILITY = "KeepsFlexibility"
    ASKED_BY_EVENT = "AskedByEvent"
    # rejections
    NO_SUCH_PROFILE = "NoSuchProfile"
    NO_ELIGIBLE_NODE = "NoEligibleNode"
    QUOTA_EXCEEDED = "QuotaExceeded"
    NO_FREE_PLACE = "NoFreePlace"
    HELD_FOR_OLDER = "HeldForOlder"
    KEPT_FOR_BIGGER = "KeptForBigger"
    NO_SPARE_SLICE = "NoSpareSlice"  # a new Revision's that waits beside the older one
    MOVE_UNDER_WAY = "MoveUnderWay"


@dataclass(frozen=True, slots=True)
class Reason:
    """`figures`: parts of the text, numbers and times, that change while all else stays as true as it was."""

    code: Because
    text: str
    figures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a slice is to be, and the idle slices that make room for it."""

    gpu: GpuUuid
    node: NodeName
    place: Place
    reuses: bool = False  # the slice is there already
    destroys: tuple[Place, ...] = ()
    awaits: tuple[Place, ...] = ()  # slices there whose pods are ending: gone, or idle, by `Step.until`


@dataclass(frozen=True, slots=True, kw_only=True)
class Relocation:
    """One function makes room: its new slice is made and its new pod Ready before the old one is given up."""

    function: Function
    source: Place
    source_gpu: GpuUuid
    target: Target
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Recreation:
    """The older Revision whose slices a new one gets, its last perhaps."""

    function: Function
    slices: tuple[Place, ...]  # on the step's GPU


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    how: How
    function: Function
    profile: ProfileName
    target: Target
    relocations: tuple[Relocation, ...] = ()  # in this order, each before the next
    recreation: Recreation | None = None
    until: float | None = None  # WAIT: when the last blocker is gone
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    pending: Pending
    count: int  # of the pending's slices
    reason: Reason
    helps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """No plan serves more than `at_most` compute slices to these pendings (configuration LP); this one `served`."""

    served: int
    at_most: int

    @property
    def gap(self) -> float:
        return 0.0 if self.at_most <= 0 else max(0.0, 1 - self.served / self.at_most)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    steps: tuple[Step, ...]
    rejections: tuple[Rejection, ...]
    reasons: tuple[Reason, ...]
    bound: Bound
