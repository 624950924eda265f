"""Which sets of slices a GPU can hold: a legal place for each, or the reason why there is none.

Called by the CLI's `layouts check`, and `overlap` by whoever reads a layout from elsewhere. On one GPU the search is
exact: at most seven slices with at most seven starts each, so it tries all that could matter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from knative_mig.core.geometry import GpuModel, Place, Profile
from knative_mig.core.profile import Attribute

Counts = Mapping[Profile, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Legal:
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Illegal:
    why: str


def place_all(model: GpuModel, counts: Counts, taken: int = 0) -> Legal | Illegal:
    """A place for every slice beside the mask `taken`; big slices first and high starts first, which on these grids
    finds a layout at the first try (a 3g goes to 4, so that a 4g or the small ones keep the rest).
    """
    wanted = sorted(
        (profile for profile, count in counts.items() for _ in range(count)),
        key=lambda profile: (-profile.memory_units, len(profile.starts), profile.nvml_id),
    )
    found = _search(model, wanted, 0, taken)
    if found is not None:
        return Legal(places=tuple(sorted(found, key=lambda place: place.start)))
    return Illegal(why=_why_not(model, counts, taken))


def _search(model: GpuModel, wanted: Sequence[Profile], at: int, taken: int) -> list[Place] | None:
    if at == len(wanted):
        return []
    if (taken & model.memory_mask).bit_count() + sum(p.memory_units for p in wanted[at:]) > model.memory_units:
        return None
    for place in reversed(model.places_of(wanted[at])):
        if not place.mask & taken:
            rest = _search(model, wanted, at + 1, taken | place.mask)
            if rest is not None:
                return [place, *rest]
    return None


def _why_not(model: GpuModel, counts: Counts, taken: int) -> str:
    for profile, count in counts.items():
        if count > profile.max_instances:
            return f"{count} x {profile}: {model} holds at most {profile.max_instances}"
    media = [profile for profile in counts if profile.name.attribute is Attribute.MEDIA and counts[profile]]
    if sum(counts[profile] for profile in media) > 1:
        return f"one slice of {model} can have the media extension, not {_total(counts, media)}"
    exclusive = [profile for profile in counts if profile.name.attribute is Attribute.ALL_MEDIA and counts[profile]]
    others = [
        str(profile)
        for profile in counts
        if counts[profile] and profile.name.attribute not in (Attribute.ALL_MEDIA, Attribute.NO_MEDIA)
    ]
    if exclusive and (others or _total(counts, exclusive) > 1):
        beside = f", not {', '.join(others)}" if others else ""
        return f"{exclusive[0]} takes every media engine: beside it only -me profiles are legal{beside}"
    needed = sum(profile.memory_units * count for profile, count in counts.items())
    left = model.memory_units - (taken & model.memory_mask).bit_count()
    if needed > left:
        return f"needs {needed} memory units, {model} has {left}{' left' if taken else ''}"
    starts = "; ".join(f"{profile} at {', '.join(map(str, profile.starts))}" for profile in counts if counts[profile])
    return f"no legal starts fit together: {starts}"


def _total(counts: Counts, profiles: Sequence[Profile]) -> int:
    return sum(counts[profile] for profile in profiles)


def overlap(places: Sequence[Place]) -> tuple[Place, Place] | None:
    """The first two slices that cannot stand side by side, or nothing: the layout is legal."""
    taken = 0
    for at, place in enumerate(places):
        if place.mask & taken:
            return next(other for other in places[:at] if other.mask & place.mask), place
        taken |= place.mask
    return None
