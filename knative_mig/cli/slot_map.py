"""A GPU as one line of slots, as wide as what they hold: `|2g---|1g-|   |3g#########|`.

Called by every verb that shows a GPU. The letters say the size, the fill says what becomes of the slot, so a picture
without colour says as much as one with; free memory is blank, one cell a unit. One unit is as wide as the longest label
on that model needs, so two pictures of one model stand under each other slot by slot.
"""

from collections.abc import Mapping
from enum import Enum
from functools import cache
from types import MappingProxyType
from typing import Final

import click

from knative_mig.core.geometry import GpuModel, Place, Profile
from knative_mig.core.inventory import Busy, Ending, Idle, Use


class Mark(Enum):
    """What a slot is to the reader: (fill, colour, word)."""

    BUSY = ("#", "red", "busy")
    MOVABLE = ("~", "yellow", "busy, movable")
    IDLE = ("-", "cyan", "idle")
    ENDING = (">", "magenta", "ending")
    PLANNED = ("+", "green", "made or taken by this plan")
    BROKEN = ("x", "red", "broken, or made by others")

    @property
    def fill(self) -> str:
        return self.value[0]

    @property
    def colour(self) -> str:
        return self.value[1]

    @property
    def word(self) -> str:
        return self.value[2]


def legend(words: Mapping[Mark, str]) -> str:
    """Of those marks, in their order."""
    return "   ".join([*(f"{mark.fill} {words[mark]}" for mark in Mark if mark in words), "blank: free"])


LEGEND: Final = legend({mark: mark.word for mark in Mark if mark is not Mark.BROKEN})  # of plans


def mark_of(use: Use) -> Mark:
    match use:
        case Idle():
            return Mark.IDLE
        case Ending():
            return Mark.ENDING
        case Busy(movable=movable):
            return Mark.MOVABLE if movable else Mark.BUSY


def draw(
    model: GpuModel,
    slots: Mapping[Place, Mark],
    *,
    foreign: Mapping[int, int] = MappingProxyType({}),
    colour: bool = False,
) -> str:
    """`slots` must be a legal layout of the model. `foreign`: where others have made something, and how many units."""
    width = _unit_width(model)
    starts = {place.start: (_label(place.profile), place.profile.memory_units, mark) for place, mark in slots.items()}
    starts |= {start: ("", size, Mark.BROKEN) for start, size in foreign.items()}
    cells: list[str] = []
    unit = 0
    while unit < model.memory_units:
        if unit in starts:
            label, units, mark = starts[unit]
            cell = label.ljust(units * width - 1, mark.fill)
            cells.append(click.style(cell, fg=mark.colour) if colour else cell)
            unit += units
        else:
            cells.append(" " * (width - 1))
            unit += 1
    return f"|{'|'.join(cells)}|"


def _label(profile: Profile) -> str:
    return f"{profile.compute}g{profile.name.attribute}"


@cache
def _unit_width(model: GpuModel) -> int:
    """Characters a memory unit, its bar included: each label fits with one character of fill at least."""
    return max(-(-(len(_label(profile)) + 2) // profile.memory_units) for profile in model.profiles)
