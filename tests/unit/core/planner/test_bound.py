"""The bound against linear programmes solved exactly, over packings that are enumerated another way."""

import random
from collections import Counter
from collections.abc import Sequence
from functools import cache
from math import floor
from typing import Final

import numpy as np
import pytest

from knative_mig.core.geometry import GpuModel
from knative_mig.core.inventory import Busy, Ending, Gpu, Inventory, Pending
from knative_mig.core.mig_tables import gpu_model
from knative_mig.core.planner.batch import plan
from knative_mig.core.planner.bound import _packings_of, most_compute
from knative_mig.core.planner.fleet import Fleet
from knative_mig.core.planner.policy import Policy
from knative_mig.core.profile import Attribute, ProfileName
from tests.rigs.every_layout import counts_of, every_layout
from tests.rigs.random_worlds import random_gpu
from tests.rigs.worlds import function

NOW, WAIT = 0.0, 30.0
POLICY: Final = Policy(wait_at_most_s=WAIT)
MODELS: Final = ("A100-40GB", "A30-24GB", "RTX-PRO-6000-BLACKWELL-96GB")
Counts = tuple[int, ...]


@cache
def layouts(model: GpuModel, names: tuple[ProfileName, ...]) -> dict[int, frozenset[Counts]]:
    """The counts of every layout of these profiles, by the mask that it covers."""
    found: dict[int, set[Counts]] = {}
    for layout in every_layout(model, [model.profile(name) for name in names if model.has(name)]):
        counts = {profile.name: count for profile, count in counts_of(layout).items()}
        mask = 0
        for place in layout:
            mask |= place.mask
        found.setdefault(mask, set()).add(tuple(counts.get(name, 0) for name in names))
    return {mask: frozenset(counts) for mask, counts in found.items()}


def packings(model: GpuModel, taken: int, names: tuple[ProfileName, ...]) -> set[Counts]:
    """The maximal ones among the counts of all layouts beside `taken`."""
    fitting = {counts for mask, found in layouts(model, names).items() if not mask & taken for counts in found}
    return {
        one
        for one in fitting
        if any(one)
        and not any(other != one and all(a >= b for a, b in zip(other, one, strict=True)) for other in fitting)
    }


@pytest.mark.no_cover
@pytest.mark.parametrize("name", MODELS)
def test_the_packings_beside_a_mask_are_those_of_every_layout(name: str) -> None:
    model = gpu_model(name)
    rng = random.Random(name)
    plain = tuple(profile.name for profile in model.profiles if profile.name.attribute is Attribute.PLAIN)
    every = tuple(profile.name for profile in model.profiles)
    masks = [0, model.memory_mask, *(place.mask for place in model.places)]
    masks += [_mask(random_gpu(rng, "A", name, movable=0.0)) for _ in range(20)]
    for names in (plain, every):
        for taken in masks:
            assert set(_packings_of(model, taken, list(names))) == packings(model, taken, names), bin(taken)


def test_a_profile_that_the_model_lacks_is_in_no_packing_of_it() -> None:
    names = [ProfileName.parse(name) for name in ("1g.6gb", "7g.40gb")]
    assert _packings_of(gpu_model("A100-40GB"), 0, names) == ((0, 1),)
    assert _packings_of(gpu_model("A100-80GB"), 0, names) == ()


@pytest.mark.no_cover
def test_the_bound_is_the_optimum_of_the_relaxation_or_little_above(capsys: pytest.CaptureFixture[str]) -> None:
    """On 120 random fleets: never below the linear programme's optimum, and hardly ever a slice above it."""
    rng = random.Random("bounds")
    above = Counter[int]()
    for _ in range(120):
        gpus = tuple(random_gpu(rng, f"G{n}", rng.choice(MODELS[:2])) for n in range(rng.randint(1, 9)))
        wanted = Counter({rng.choice(_names(gpus)): rng.randint(1, 12) for _ in range(rng.randint(1, 4))})
        asked = [
            Pending(function=function(f"f{number}"), profile=name, count=count)
            for number, (name, count) in enumerate(wanted.items())
        ]
        served = plan(Inventory(gpus=gpus), asked, POLICY, NOW).bound.served

        bound = most_compute(Fleet(Inventory(gpus=gpus), POLICY), wanted, served, moving=True, wait_until=NOW + WAIT)

        optimum = _linear_optimum(gpus, wanted)
        assert served <= optimum + 1e-6
        assert bound >= floor(optimum + 1e-6), (gpus, wanted)
        above[bound - floor(optimum + 1e-6)] += 1
    with capsys.disabled():
        print(f"\nthe bound above the linear programme's, in compute slices: {dict(sorted(above.items()))}")
    assert above[0] >= 0.9 * above.total()


def _linear_optimum(gpus: Sequence[Gpu], wanted: Counter[ProfileName]) -> float:
    """Maximise the compute of what is served: x served, y of each packing of each GPU; the movable must stay served."""
    movable = Counter(
        each.place.profile.name
        for each in (each for gpu in gpus if not gpu.static for each in gpu.slices)
        if isinstance(each.use, Busy) and each.use.movable
    )
    names = tuple(sorted({*wanted, *movable}))
    of_gpu = [sorted(_offered(gpu, names)) for gpu in gpus]
    columns = [packing for packings in of_gpu for packing in packings]
    gain = np.array([-name.compute for name in names] + [0.0] * len(columns))
    no_more_than_packed = np.hstack([np.eye(len(names)), -np.array(columns, dtype=float).reshape(-1, len(names)).T])
    one_packing_a_gpu = np.zeros((len(gpus), len(names) + len(columns)))
    at = len(names)
    for number, found in enumerate(of_gpu):
        one_packing_a_gpu[number, at : at + len(found)] = 1
        at += len(found)
    from scipy.optimize import linprog  # noqa: PLC0415  each worker collects this file, and one needs it

    solved = linprog(
        gain,
        A_ub=np.vstack([no_more_than_packed, one_packing_a_gpu]),
        b_ub=np.array([-float(movable[name]) for name in names] + [1.0] * len(gpus)),
        bounds=[(0, wanted[name]) for name in names] + [(0, None)] * len(columns),
        method="highs",
    )
    assert solved.status == 0, solved.message
    return float(-solved.fun)


def _offered(gpu: Gpu, names: tuple[ProfileName, ...]) -> set[Counts]:
    if gpu.static:
        there = Counter(each.place.profile.name for each in gpu.slices if not isinstance(each.use, Busy))
        return {tuple(there[name] for name in names)}
    return packings(gpu.model, _mask(gpu), names)


def _mask(gpu: Gpu) -> int:
    """What no plan can have: pods that do not move, and pods that terminate too late."""
    mask = 0
    for each in gpu.slices:
        use = each.use
        if (isinstance(use, Busy) and not use.movable) or (isinstance(use, Ending) and use.free_at > NOW + WAIT):
            mask |= each.place.mask
    return mask


def _names(gpus: Sequence[Gpu]) -> list[ProfileName]:
    return sorted({profile.name for gpu in gpus for profile in gpu.model.profiles})
