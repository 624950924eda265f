"""Where NVML puts a slice when it is not told: the driver's own choice, which can paint a GPU into a corner.

Called by the simulated GPUs, and by the benchmark as one of the rules that the planner is measured against. The
planner itself always names a start: on an empty A100 `1g, 1g, 2g, 3g` fails in that order here as on hardware,
though the four fit together.

NVIDIA does not document the rule. This one reproduces every public capture: fill the half that has the fewest free
compute slices, in it the pair that has the fewest, and so on down to the profile's own size; then the lowest start.
"""

from knative_mig.core.geometry import GpuModel, Place, Profile


def default_place(model: GpuModel, profile: Profile, taken_mask: int) -> Place | None:
    """The place NVML takes beside `taken_mask`, the union of the existing slices' masks; None if none is free."""
    free = [place for place in model.places_of(profile) if not place.mask & taken_mask]
    return min(free, key=lambda place: (_free_around(model, place, taken_mask), place.start), default=None)


def _free_around(model: GpuModel, place: Place, taken_mask: int) -> tuple[int, ...]:
    """Free compute slices in the half of the GPU that encloses the place, in its quarter, … in the place itself."""
    counts: list[int] = []
    block = model.memory_units
    while block % 2 == 0 and block // 2 >= place.profile.memory_units:
        block //= 2
        counts.append(_free_compute(model, place.start - place.start % block, block, taken_mask))
    return tuple(counts)


def _free_compute(model: GpuModel, start: int, length: int, taken_mask: int) -> int:
    """Compute slices stand beside the low memory units: one a unit on 7/8 grids (unit 7 has none), one every three
    units on the 4/12 grid.
    """
    units = model.memory_units // model.compute_slices
    first, end = start // units, min((start + length) // units, model.compute_slices)
    beside = (1 << units) - 1
    return sum(not taken_mask & beside << each * units for each in range(first, end))
