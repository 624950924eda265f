"""What moves under way mean to whoever looks at nodes and pods: slices that are kept, and functions that stay.

Made by the planner's leader from the mover's journal, given to `world` with what else is seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from knative_mig.core.gpu_node import SliceId
from knative_mig.core.inventory import Function, NodeName, Succession


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """A slice that is kept for the new pod of a function, there or in the making. `pod`: its UID, once it is known."""

    slice: SliceId
    function: Function
    pod: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moving:
    """`fixed`: functions that may not be moved now, whatever their pods say. `successions`: of new Revisions.
    `superseded`: waiting functions, each with the newest Revision of its Service, which waits too.
    """

    reserved: Mapping[NodeName, tuple[Reservation, ...]] = field(default_factory=dict)
    fixed: frozenset[Function] = frozenset()
    successions: Mapping[Function, Succession] = field(default_factory=dict)
    superseded: Mapping[Function, Function] = field(default_factory=dict)

    @property
    def pods(self) -> frozenset[str]:
        return frozenset(each.pod for kept in self.reserved.values() for each in kept if each.pod)


NOTHING_MOVES = Moving()
