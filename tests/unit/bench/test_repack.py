"""The bound's arithmetic says exactly what fits, against brute force over real layouts."""

from itertools import product

import pytest

from bench.rules.repack import FullRepack, fits
from bench.traffic import MENU, MODEL
from tests.rigs.every_layout import counts_of, every_layout

Counts = tuple[int, ...]


def every_count(gpus: int) -> set[Counts]:
    """Every multiset that some layout of that many GPUs holds."""
    one = {tuple(counts_of(layout).get(profile, 0) for profile in MENU) for layout in every_layout(MODEL, MENU)}
    held = {(0,) * len(MENU)}
    for _ in range(gpus):
        held = {tuple(map(sum, zip(some, more, strict=True))) for some in held for more in one}
    return held


@pytest.mark.parametrize("gpus", [1, 2, 3])
def test_fits_exactly_what_some_layout_holds(gpus: int) -> None:
    held = every_count(gpus)
    most = [max(counts[kind] for counts in held) for kind in range(len(MENU))]

    for counts in product(*(range(limit + 2) for limit in most)):
        assert fits(gpus, counts) == (counts in held), counts


def test_a_full_repack_takes_what_any_rearrangement_allows() -> None:
    repack = FullRepack(1)

    taken = [repack.arrive(request, kind) for request, kind in enumerate([0, 0, 1, 2, 3])]

    assert taken == [0, 0, 0, 0, None]  # 1g, 1g, 2g, 3g fill the GPU, whatever their order; the 4g is lost

    repack.depart(3)  # the 3g
    repack.depart(2)  # the 2g
    assert repack.arrive(5, 3) == 0  # 4g beside two 1g
