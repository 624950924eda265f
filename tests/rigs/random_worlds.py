"""GPUs with random slices on them, the same for the same random numbers: for tests that compare two answers."""

import random

from knative_mig.core.inventory import Busy, Ending, Function, Gpu, GpuUuid, Idle, NodeName, Slice, Use
from knative_mig.core.mig_tables import gpu_model

ENDS_SOON, ENDS_LATE = 5.0, 99.0


def random_gpu(
    rng: random.Random,
    uuid: str,
    model_name: str = "A100-40GB",
    *,
    node: str = "n1",
    movable: float = 0.5,
    static: float = 0.15,
) -> Gpu:
    """`movable` and `static`: how many of the pods and of the GPUs are."""
    model = gpu_model(model_name)
    slices: list[Slice] = []
    taken = 0
    for place in rng.choices(model.places, k=rng.randint(0, 6)):
        if not place.mask & taken:
            taken |= place.mask
            slices.append(Slice(place, _random_use(rng, f"{uuid}-{place.index}", movable)))
    is_static = rng.random() < static
    return Gpu(uuid=GpuUuid(uuid), node=NodeName(node), model=model, slices=tuple(slices), static=is_static)


def _random_use(rng: random.Random, name: str, movable: float) -> Use:
    chance = rng.random()
    if chance < 0.25:
        return Idle(rng.randint(0, 9) / 2)
    if chance < 0.4:
        return Ending(Function("default", name), rng.choice((ENDS_SOON, ENDS_LATE)))
    return Busy(Function("default", name), rng.random() < movable, rng.choice((2.0, 5.0, 20.0)))
