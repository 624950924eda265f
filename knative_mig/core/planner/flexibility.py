"""How much future demand a GPU can still take: the measure that keeps equal choices from painting it into a corner.

The value of a GPU is the number of slices of each profile that would fit beside its busy ones, weighted by how often
the profile is asked for and by its size. Big profiles are reserved for explicitly: weighted by demand and size alone,
small functions nibble at every empty GPU until no 7g is ever placed again (bench.planner measures it).
"""

from collections.abc import Mapping
from typing import Final

from knative_mig.core.geometry import GpuModel, Profile
from knative_mig.core.planner.policy import DEFAULT_DEMAND
from knative_mig.core.profile import Attribute, ProfileName

# A profile that needs the whole GPU is lost by any neighbour at all; one with a single legal start by one of half the
# neighbours. With factors 1 and 1 a 7g is accepted half as often as with 4 and 2; above 10 nothing more is gained.
WHOLE_GPU_RESERVE: Final = 4.0
SINGLE_START_RESERVE: Final = 2.0

# Slices of future demand that a wholly empty GPU counts for over a full one when places are compared. The values below
# look at one GPU at a time and so are blind to spreading; with 0 the planner without moves is behind plain best fit.
PACKING: Final = 0.4


class Flexibility:
    """Of one model under one forecast of demand. Values are in compute slices of expected demand."""

    def __init__(self, model: GpuModel, demand: Mapping[ProfileName, float]) -> None:
        self._weighted = tuple(
            (weight, tuple(place.mask for place in model.places_of(profile)))
            for profile in model.profiles
            if (weight := _weight(model, profile, demand)) > 0
        )
        self._places = model.places
        self._known: dict[int, float] = {}
        self._losses: dict[int, tuple[float | None, ...]] = {}

    def value(self, busy: int) -> float:
        known = self._known.get(busy)
        if known is None:
            known = sum(weight * _most(masks, busy) for weight, masks in self._weighted)
            self._known[busy] = known
        return known

    def losses(self, busy: int) -> tuple[float | None, ...]:
        """What a slice at each place of the model would cost; None where something busy is in the way."""
        known = self._losses.get(busy)
        if known is None:
            known = self._losses[busy] = tuple(
                None if place.mask & busy else round(self.loss(busy, busy | place.mask), 6) for place in self._places
            )
        return known

    def loss(self, before: int, after: int) -> float:
        return self.value(before) - self.value(after)


def _most(masks: tuple[int, ...], taken: int) -> int:
    """How many of one profile fit. Taking the starts in order is exact: equal slices never overlap in part."""
    count = 0
    for mask in masks:
        if not mask & taken:
            taken |= mask
            count += 1
    return count


def _weight(model: GpuModel, profile: Profile, demand: Mapping[ProfileName, float]) -> float:
    share = demand.get(profile.name)
    if share is None:
        share = DEFAULT_DEMAND.get(profile.compute, 0.0) if _is_basic(model, profile) else 0.0
    if profile.memory_units == model.memory_units:
        reserve = WHOLE_GPU_RESERVE
    elif len(profile.starts) == 1:
        reserve = SINGLE_START_RESERVE
    else:
        reserve = 1.0
    return share * profile.compute * reserve


def _is_basic(model: GpuModel, profile: Profile) -> bool:
    """The plain profile with the least memory of its compute size: what an unobserved request is taken for."""
    return profile.name.attribute is Attribute.PLAIN and not any(
        other.compute == profile.compute
        and other.name.attribute is Attribute.PLAIN
        and other.memory_units < profile.memory_units
        for other in model.profiles
    )
