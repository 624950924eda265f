"""What matters of a GPU for placing: its model, what stands where, what nobody may have. Functions' names do not.

GPUs in the same state share one `GpuState`, so each answer is worked out once however many GPUs there are: `fits`,
`clearings` and `obstacles` keep theirs here.
"""

from typing import Final

from knative_mig.core.geometry import GpuModel, Place
from knative_mig.core.inventory import Busy, Ending, Slice, Use
from knative_mig.core.planner.flexibility import PACKING, Flexibility
from knative_mig.core.planner.offers import Clearing, Fit, Obstacle
from knative_mig.core.profile import ProfileName

# (place index, kind, value): seconds of a move, the time at which the slice comes free, or the worth of an idle slice.
Item = tuple[int, int, float]
FIXED: Final = 0
MOVABLE: Final = 1
ENDING: Final = 2
IDLE: Final = 3

# (number of the model in its fleet, static, held mask, what stands where)
Key = tuple[int, bool, int, tuple[Item, ...]]


def items_of(slices: tuple[Slice, ...]) -> tuple[Item, ...]:
    return tuple(sorted([_item(each.place, each.use) for each in slices]))


def outline_of(slices: tuple[Slice, ...]) -> tuple[int, tuple[Item, ...]]:
    """The mask of all that lasts, and the rest without its values: enough to reuse and to create."""
    lasting, items = 0, []
    for each in slices:
        if isinstance(each.use, Busy):
            lasting |= each.place.mask
        else:
            items.append((each.place.index, ENDING if isinstance(each.use, Ending) else IDLE, 0.0))
    items.sort()
    return lasting, tuple(items)


def _item(place: Place, use: Use) -> Item:
    if isinstance(use, Busy):
        return (place.index, MOVABLE, use.move_s) if use.movable else (place.index, FIXED, 0.0)
    if isinstance(use, Ending):
        return (place.index, ENDING, use.free_at)
    return (place.index, IDLE, use.worth_s)


class GpuState:
    """`held` is a mask that nothing may be placed on: places given away or kept for others in this plan."""

    __slots__ = (
        "covered",
        "flexibility",
        "held",
        "is_whole",
        "key",
        "known_clearings",
        "known_fits",
        "known_nearest",
        "known_pairs",
        "lasting",
        "model",
        "packing",
        "standing",
        "static",
        "unused_units",
    )

    def __init__(self, key: Key, model: GpuModel, flexibility: Flexibility) -> None:
        self.key = key
        self.model = model
        self.flexibility = flexibility
        _, self.static, self.held, items = key
        self.standing: tuple[tuple[Place, Item], ...] = tuple((model.places[item[0]], item) for item in items)
        self.covered = 0  # by anything, idle slices too
        self.lasting = self.held  # what is still there when the terminating pods are gone
        used = self.held
        for place, (_, kind, _) in self.standing:
            self.covered |= place.mask
            if kind != IDLE:
                used |= place.mask
                if kind != ENDING:
                    self.lasting |= place.mask
        self.unused_units = (~used & model.memory_mask).bit_count()
        self.is_whole = not self.lasting and not self.static
        free = (~self.lasting & model.memory_mask).bit_count()
        self.packing = 0.0 if self.static else PACKING * free / model.memory_units
        self.known_fits: tuple[dict[ProfileName, tuple[Fit, ...]], ...] = ({}, {}, {})  # by tier
        self.known_clearings: dict[ProfileName, tuple[Clearing, ...]] = {}
        self.known_pairs: dict[tuple[ProfileName, ProfileName], tuple[Fit, Fit] | None] = {}
        self.known_nearest: dict[ProfileName, Obstacle | None] = {}

    def on(self, place: Place, kind: int) -> tuple[Place, ...]:
        """The slices of that kind on a place, but for one of just that place."""
        on_it = (
            other
            for other, (index, its_kind, _) in self.standing
            if its_kind == kind and other.mask & place.mask and index != place.index
        )
        return tuple(sorted(on_it, key=lambda other: other.start))

    def stands(self, place: Place) -> bool:
        return any(index == place.index for _, (index, _, _) in self.standing)

    def fixed(self, *, moving: bool, wait_until: float) -> tuple[int, tuple[ProfileName, ...]]:
        """The mask that no plan can use, and the profiles that a plan with moves could take elsewhere."""
        mask, goes = self.held, []
        for place, (_, kind, value) in self.standing:
            if kind == MOVABLE and moving and not self.static:
                goes.append(place.profile.name)
            elif kind in (FIXED, MOVABLE) or (kind == ENDING and value > wait_until):
                mask |= place.mask
        return mask, tuple(goes)

    def reusable(self) -> tuple[ProfileName, ...]:
        """The profiles of the slices without a lasting pod: all that a static layout has to offer."""
        return tuple(place.profile.name for place, (_, kind, _) in self.standing if kind in (ENDING, IDLE))
