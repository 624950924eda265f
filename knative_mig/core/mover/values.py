"""A move as it is journalled, and what is seen of the one that is under way.

A move clears a place for one pod that waits (`beneficiary`): one or two functions leave their slices, one after the
other, each a `Leg`. Everything that a new leader needs to go on is in the value; the rest is looked at again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.floor.values import Revision
from knative_mig.core.gpu_node import SliceId
from knative_mig.core.inventory import Function, NodeName

# Far below what anybody sets, and above the lowest that Kubernetes takes: the pod that a ReplicaSet removes first.
GOES_FIRST: Final = -1_000_000_000


class Phase(StrEnum):
    RESERVING = "Reserving"  # the new slice is to be made, and is kept for the new pod
    STARTING = "Starting"  # the floor asks for one pod more, which is to become Ready
    MARKING = "Marking"  # the old pod is to be the one that goes first
    LEAVING = "Leaving"  # the request is withdrawn: the autoscaler is to take one pod away
    EVICTING = "Evicting"  # the function's own demand keeps all pods: the marked one is evicted
    HANDING_OVER = "HandingOver"  # the old pod is ending: what its relay has under way is to go on in the new one
    CLEARING = "Clearing"  # the old pod is ending
    HOLDING = "Holding"  # all have left: the place is kept for whom it was cleared for
    ABANDONING = "Abandoning"  # what was asked and marked is taken back
    # of a recreation, beside Clearing and Holding
    SWITCHING = "Switching"  # the new Revision is to be Ready without a pod, so that the traffic goes to it
    ENDING = "Ending"  # the older one's autoscaler is to go to zero, as soon as it has no request left


@dataclass(frozen=True, slots=True, kw_only=True)
class PodRef:
    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A slice's place, and on which node."""

    node: NodeName
    slice: SliceId

    def __str__(self) -> str:
        return f"{self.slice} on {self.node}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    function: Function
    revision_uid: str
    old: PodRef
    source: Spot
    target: Spot


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """`floor`, `known`, `cost` are of the leg under way: what was asked of the floor, which pods there were before
    that, and the deletion cost that the old pod had. `until`: the request's expiry.

    With `recreates` the beneficiary's is a new Revision and all legs are pods of one older Revision, which end with
    nowhere to go (`recreate`). `known` are then the new one's pods that had slices before.
    """

    beneficiary: PodRef
    function: Function  # the beneficiary's
    place: Spot
    legs: tuple[Leg, ...]
    began: float
    at: int = 0
    phase: Phase = Phase.RESERVING
    since: float = 0.0  # of the phase
    floor: int = 0
    until: float = 0.0
    known: frozenset[str] = frozenset()
    cost: int | None = None
    why: str = ""  # it is abandoned
    recreates: bool = False

    @property
    def leg(self) -> Leg:
        return self.legs[self.at]

    @property
    def movers(self) -> frozenset[Function]:
        return frozenset(each.function for each in self.legs)


class SliceSight(StrEnum):
    """What is at a leg's target."""

    ABSENT = "absent"
    COMING = "coming"  # wanted, not there
    IDLE = "idle"
    TAKEN = "taken"


class Waits(StrEnum):
    """The beneficiary."""

    YES = "waits"
    SERVED = "served"
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """Of the leg under way. `asked`: whether the floor's request stands, `has_room`: whether a slice is there for
    another pod of the function, looked at only where `wants_room` says so; `released`: the old pod has given its slice
    back before it ended; `handed_over`: its relay has answered, or there is none.
    """

    pods: Mapping[str, PodFacts] = field(default_factory=dict)  # the function's, by UID
    successors: Mapping[str, PodFacts] = field(default_factory=dict)  # the new Revision's, where the move recreates
    revision: Revision | None = None
    successor: Revision | None = None  # the new one, likewise
    target: SliceSight = SliceSight.ABSENT
    beneficiary: Waits = Waits.YES
    asked: bool = False
    has_room: bool = False
    released: bool = False
    handed_over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    reserve_s: float = 60.0  # a slice takes under a second; an API server that is away, longer
    start_s: float = 900.0  # a cold start of a big model
    mark_s: float = 30.0
    # The autoscaler acts within a tick of 2 s; one that averages over its stable window of 60 s has more pods than it
    # wants for as long.
    leave_s: float = 90.0
    evict_s: float = 60.0  # a disruption budget may hold it up
    hand_over_s: float = 150.0  # a relay waits two minutes for its generations; what is left then ends where it is
    clear_s: float = 900.0  # a pod ends within timeoutSeconds, at most 600 by Knative's default, and what it drains
    hold_s: float = 60.0
    rest_s: float = 300.0  # who was moved in vain is not tried again at once
    switch_s: float = 60.0  # Knative takes under a second, on a machine that has the time

    @property
    def asks_s(self) -> float:
        """How long the floor is asked: a leader that dies leaves no pod behind for longer."""
        return self.start_s + self.mark_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Over:
    """`moved`: the place was cleared; `why` says why not, or that nobody wanted it any more."""

    moved: bool
    why: str = ""


def lives(pod: PodFacts) -> bool:
    return pod.ends_at is None and not pod.over
