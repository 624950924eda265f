"""Every layout that a GPU can have, one by one: what is decided by rules and tables is compared with all of them."""

from collections.abc import Iterator, Sequence

from knative_mig.core.geometry import GpuModel, Place, Profile


def every_layout(model: GpuModel, profiles: Sequence[Profile]) -> Iterator[tuple[Place, ...]]:
    """Every legal set of places of these profiles, the empty one first; small enough to walk (2,319 at the most)."""
    places = sorted((place for profile in profiles for place in model.places_of(profile)), key=lambda p: p.index)

    def extend(chosen: tuple[Place, ...], at: int, taken: int) -> Iterator[tuple[Place, ...]]:
        yield chosen
        for position in range(at, len(places)):
            place = places[position]
            if not place.mask & taken:
                yield from extend((*chosen, place), position + 1, taken | place.mask)

    return extend((), 0, 0)


def is_maximal(model: GpuModel, profiles: Sequence[Profile], layout: Sequence[Place]) -> bool:
    """Nothing of these profiles fits in what is left."""
    taken = 0
    for place in layout:
        taken |= place.mask
    return all(place.mask & taken for profile in profiles for place in model.places_of(profile))


def counts_of(places: Sequence[Place]) -> dict[Profile, int]:
    counts: dict[Profile, int] = {}
    for place in sorted(places, key=lambda place: (-place.profile.memory_units, place.profile.nvml_id)):
        counts[place.profile] = counts.get(place.profile, 0) + 1
    return counts
