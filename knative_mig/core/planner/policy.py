"""The planner's settings, each with its unit and the reason for its default."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from types import MappingProxyType
from typing import Final

from knative_mig.core.errors import BadInput
from knative_mig.core.profile import ProfileName

# How often each size was asked for where nothing has been observed yet: small functions are the many.
DEFAULT_DEMAND: Final[Mapping[int, float]] = MappingProxyType({1: 0.40, 2: 0.25, 3: 0.20, 4: 0.10, 7: 0.05})


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    # A move costs a cold start and a drain; more than two for one function was never worth it in bench.planner.
    max_moves: int = 2
    # A pending older than this keeps a GPU from younger ones: twice the default request timeout would lose it anyway.
    starving_after_s: float = 120.0
    # Slices that come free by themselves within this time are waited for rather than moved for: as long as a function's
    # pod drains (32 s, `core.cluster.draining`), on clocks that differ by some seconds.
    wait_at_most_s: float = 40.0
    # Of each model, so many GPUs without a busy slice are kept for profiles that have a single legal start (4g, 7g).
    # A request that fits only there has one function moved instead, or waits until it is starving. While such GPUs are
    # plenty this costs nothing; bench.planner shows what it is worth when they are not.
    reserve_whole: int = 0
    # Shares of future requests by profile; sizes not named weigh as DEFAULT_DEMAND says.
    demand: Mapping[ProfileName, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.max_moves not in (0, 1, 2):
            raise BadInput(f"max_moves is {self.max_moves}: legal are 0, 1 and 2")
        if not 0 < self.starving_after_s < inf:
            raise BadInput(f"starving_after_s is {self.starving_after_s}: legal is more than 0 seconds")
        if not 0 <= self.wait_at_most_s < inf:
            raise BadInput(f"wait_at_most_s is {self.wait_at_most_s}: legal is 0 seconds or more")
        if self.reserve_whole < 0:
            raise BadInput(f"reserve_whole is {self.reserve_whole}: legal is 0 or more")
        for name, share in self.demand.items():
            if not 0 <= share < inf:
                raise BadInput(f"demand of {name} is {share}: legal is 0 or more")
