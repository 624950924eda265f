"""Makes the fleets that decisions are timed on: mixed models, about three quarters busy, idle slices of varied worth.

Everything follows from the seed. Nodes have eight GPUs of one model and stand in one of four zones; functions belong
to namespaces and hold one to four slices, not necessarily on one node. Places are drawn at random among the legal ones,
not packed well: a fleet that a good planner has filled would be too easy on the next decision.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from types import MappingProxyType
from typing import Final

from knative_mig.core.geometry import GpuModel, Profile
from knative_mig.core.inventory import (
    Busy,
    Ending,
    Function,
    Gpu,
    GpuUuid,
    Idle,
    Inventory,
    NodeName,
    Pending,
    Quotas,
    Slice,
    Use,
)
from knative_mig.core.mig_tables import gpu_model
from knative_mig.core.planner.policy import DEFAULT_DEMAND
from knative_mig.core.profile import Attribute

# Shares of nodes by model.
MODELS: Final[Mapping[str, float]] = MappingProxyType(
    {
        "A30-24GB": 0.10,
        "A100-40GB": 0.20,
        "A100-80GB": 0.20,
        "H100-80GB": 0.25,
        "H100-94GB": 0.05,
        "H200-141GB": 0.10,
        "RTX-PRO-6000-BLACKWELL-96GB": 0.10,
    }
)
GPUS_PER_NODE: Final = 8
ZONES: Final = 4
NAMESPACES: Final = 50

ENDING_SHARE: Final = 0.02  # of the slices
STATIC_NODES: Final = 0.03
ODD_PROFILES: Final = 0.05  # with media engines or double memory, where the model has them


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """`occupied`: the most frequent share of a GPU's memory units that have a slice; `idle`: share of those slices."""

    name: str
    occupied: float
    idle: float


USUAL: Final = Crowd(name="three quarters busy", occupied=0.85, idle=0.12)
# Next to nothing is free or idle: most decisions have to look for moves, or find that there is no way.
CROWDED: Final = Crowd(name="crowded", occupied=9.0, idle=0.002)


@dataclass(frozen=True, slots=True)
class Fleet:
    inventory: Inventory
    pendings: tuple[Pending, ...]
    now: float


def make_fleet(gpus: int, pendings: int, seed: int, *, crowd: Crowd = USUAL, now: float = 1_000_000.0) -> Fleet:
    maker = _Maker(seed, now, crowd)
    inventory = maker.inventory(gpus)
    nodes = list(dict.fromkeys(gpu.node for gpu in inventory.gpus))
    zones = [frozenset(nodes[zone::ZONES]) for zone in range(ZONES)]
    return Fleet(inventory, tuple(maker.pending(inventory, zones) for _ in range(pendings)), now)


class _Maker:
    def __init__(self, seed: int, now: float, crowd: Crowd) -> None:
        self._random = random.Random(seed)
        self._now = now
        self._crowd = crowd
        self._revisions = count()
        self._replicas: list[Function] = []

    def inventory(self, gpus: int) -> Inventory:
        models = [gpu_model(name) for name in MODELS]
        made: list[Gpu] = []
        for node in range(-(-gpus // GPUS_PER_NODE)):
            model = self._random.choices(models, [*MODELS.values()])[0]
            static = self._random.random() < STATIC_NODES
            slots = range(min(GPUS_PER_NODE, gpus - len(made)))
            made.extend(self._gpu(node, slot, model, static=static) for slot in slots)
        return Inventory(gpus=tuple(made), quotas=self._quotas(models))

    def pending(self, inventory: Inventory, zones: list[frozenset[NodeName]]) -> Pending:
        model = self._random.choice(inventory.gpus).model
        return Pending(
            function=self._function(),
            profile=self._profile(model).name,
            count=self._random.choices((1, 2, 3), (0.85, 0.10, 0.05))[0],
            priority=self._random.choices((0, 1, 2), (0.8, 0.15, 0.05))[0],
            since=self._now - self._random.expovariate(1 / 20),
            nodes=self._eligible(zones),
        )

    def _eligible(self, zones: list[frozenset[NodeName]]) -> frozenset[NodeName] | None:
        """Most pods can run anywhere; some are bound to a zone, as by the volume they mount."""
        if self._random.random() < 0.7:
            return None
        return self._random.choice(zones)

    def _gpu(self, node: int, slot: int, model: GpuModel, *, static: bool) -> Gpu:
        return Gpu(
            uuid=GpuUuid(f"GPU-{node:04}-{slot}"),
            node=NodeName(f"node-{node:04}"),
            model=model,
            slices=self._slices(model),
            static=static,
        )

    def _slices(self, model: GpuModel) -> tuple[Slice, ...]:
        # Drawn so that some GPUs are full and some nearly empty.
        most = max(1.6, self._crowd.occupied)
        wanted = model.memory_units * min(1.0, self._random.triangular(0.1, most, self._crowd.occupied))
        slices: list[Slice] = []
        taken = 0
        for _ in range(4 * model.memory_units):
            if (taken & model.memory_mask).bit_count() >= wanted:
                break
            profile = self._profile(model)
            free = [place for place in model.places_of(profile) if not place.mask & taken]
            if free:
                place = self._random.choice(free)
                taken |= place.mask
                slices.append(Slice(place, self._use()))
        return tuple(slices)

    def _use(self) -> Use:
        share = self._random.random()
        if share < self._crowd.idle:
            return Idle.from_reuse(self._random.uniform(2, 90), self._random.random())
        if share < self._crowd.idle + ENDING_SHARE:
            return Ending(self._function(), self._now + self._random.uniform(0, 60))
        return Busy(self._function(), movable=self._random.random() < 0.7, move_s=self._random.uniform(5, 90))

    def _function(self) -> Function:
        if not self._replicas:
            revision = next(self._revisions)
            name = f"fn-{revision:05}-00001"
            namespace = f"team-{self._random.randrange(NAMESPACES):02}"
            self._replicas = [Function(namespace, name)] * self._random.choices((1, 2, 4), (0.7, 0.2, 0.1))[0]
        return self._replicas.pop()

    def _profile(self, model: GpuModel) -> Profile:
        plain = self._random.random() >= ODD_PROFILES
        profiles = [profile for profile in model.profiles if plain is (profile.name.attribute is Attribute.PLAIN)]
        chosen = profiles or [*model.profiles]
        return self._random.choices(chosen, [DEFAULT_DEMAND.get(profile.compute, 0.01) for profile in chosen])[0]

    def _quotas(self, models: list[GpuModel]) -> Quotas:
        """One namespace in ten may have a handful more of each profile."""
        names = {profile.name for model in models for profile in model.profiles}
        return {
            f"team-{team:02}": {name: self._random.randint(2, 8) for name in sorted(names)}
            for team in range(0, NAMESPACES, 10)
        }
