"""How long a function takes to start on a node: one question, asked by the planner, answered from measured starts.

Most functions start alike everywhere, so an answer is what is usual plus the nodes that differ: the planner then looks
at those nodes one by one and at all others at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from knative_mig.core.inventory import Function, NodeName


@dataclass(frozen=True, slots=True)
class StartTimes:
    usual_s: float = 0.0
    on_node: Mapping[NodeName, float] = field(default_factory=dict)

    def whole_seconds(self, node: NodeName) -> int:
        """Less than a second is the noise of such measurements: flexibility decides then."""
        return round(self.on_node.get(node, self.usual_s))


ALIKE_EVERYWHERE: Final = StartTimes()


class StartupEstimate(Protocol):
    def __call__(self, function: Function) -> StartTimes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredStarts:
    """Medians of past starts; a function that never started is taken to start alike everywhere."""

    usual_s: Mapping[Function, float] = field(default_factory=dict)
    on_node: Mapping[Function, Mapping[NodeName, float]] = field(default_factory=dict)

    def __call__(self, function: Function) -> StartTimes:
        return StartTimes(self.usual_s.get(function, 0.0), self.on_node.get(function, {}))
