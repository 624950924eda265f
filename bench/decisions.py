"""How long the planner takes: one pending at a time on a fleet that moves, a thousand at once, and what it remembers.

Times are wall times of single calls, the garbage collector running as it would. A decision is the call that a waiting
function waits for; that the planner takes note of the changed GPUs afterwards is timed apart, and so is what a planner
does once in its life: it is built and meets each profile for the first time.
"""

import gc
import random
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, Protocol

from bench.carried_out import World
from bench.fleets import Fleet, make_fleet
from bench.report import print_table
from knative_mig.core.inventory import Busy, Gpu, Inventory, Pending
from knative_mig.core.planner.decisions import Plan

FLEET_SIZES: Final = (100, 1_000, 10_000)
BATCH_GPUS: Final = 10_000
BATCH_PENDINGS: Final = 1_000


class Planner(Protocol):
    """One that is kept between decisions and told what changed."""

    def decide(self, pending: Pending, now: float) -> Plan: ...

    def observe(self, gpu: Gpu) -> None: ...


MakePlanner = Callable[[Inventory], Planner]
PlanAll = Callable[[Inventory, Sequence[Pending], float], Plan]


@dataclass(frozen=True, slots=True)
class Milliseconds:
    p50: float
    p99: float
    most: float

    def cells(self) -> tuple[str, ...]:
        return tuple(f"{value:.3f}" for value in (self.p50, self.p99, self.most))


@dataclass(frozen=True, slots=True, kw_only=True)
class Single:
    gpus: int
    decide: Milliseconds
    observe: Milliseconds
    first_ms: float  # building what is kept, and the first decision on each profile
    granted: float  # share of the decisions that gave every slice asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    ms: float
    gap: float
    granted: int
    refused: int


def time_decisions(make: MakePlanner, gpus: int, decisions: int, seed: int) -> Single:
    fleet = make_fleet(gpus, decisions, seed)
    scene = _Scene(make, fleet, seed)
    gc.collect()
    first = scene.first()
    for pending in fleet.pendings:
        scene.play(pending)
    return Single(
        gpus=gpus,
        decide=_milliseconds(scene.decided_ns),
        observe=_milliseconds(scene.observed_ns),
        first_ms=first / 1e6,
        granted=scene.granted / decisions,
    )


class _Scene:
    """For every slice that is granted another one ends, so the fleet stays as full as it was and never the same."""

    def __init__(self, make: MakePlanner, fleet: Fleet, seed: int) -> None:
        self._make = make
        self._fleet = fleet
        self._world = World(fleet.inventory)
        self._random = random.Random(seed)
        self._now = fleet.now
        self.decided_ns: list[int] = []
        self.observed_ns: list[int] = []
        self.granted = 0

    def first(self) -> int:
        begin = time.perf_counter_ns()
        self._planner = self._make(self._fleet.inventory)
        for pending in {each.profile: each for each in self._fleet.pendings}.values():
            self._planner.decide(pending, self._now)
        return time.perf_counter_ns() - begin

    def play(self, pending: Pending) -> None:
        begin = time.perf_counter_ns()
        plan = self._planner.decide(pending, self._now)
        self.decided_ns.append(time.perf_counter_ns() - begin)
        self.granted += len(plan.steps) == pending.count
        for step in plan.steps:
            use = Busy(step.function, movable=True, move_s=self._random.uniform(5, 90))
            for gpu in self._world.carry_out(step, use):
                self._observe(gpu)
            self._observe(self._end_one())

    def _end_one(self) -> Gpu:
        while True:
            gpu = self._world.gpu(self._random.choice(self._fleet.inventory.gpus).uuid)
            busy = [each.place for each in gpu.slices if isinstance(each.use, Busy)]
            if busy:
                return self._world.end(gpu.uuid, self._random.choice(busy), worth_s=self._random.uniform(0, 60))

    def _observe(self, gpu: Gpu) -> None:
        begin = time.perf_counter_ns()
        self._planner.observe(gpu)
        self.observed_ns.append(time.perf_counter_ns() - begin)


def time_batch(plan: PlanAll, gpus: int, pendings: int, seed: int, *, runs: int) -> Batch:
    """Everything from an inventory that was never seen before; the median of the runs, each on a fleet of its own."""
    spent: list[float] = []
    made: list[Plan] = []
    for run in range(runs):
        fleet = make_fleet(gpus, pendings, seed + run)
        gc.collect()
        begin = time.perf_counter_ns()
        made.append(plan(fleet.inventory, fleet.pendings, fleet.now))
        spent.append((time.perf_counter_ns() - begin) / 1e6)
    return Batch(
        ms=median(spent),
        gap=max(each.bound.gap for each in made),
        granted=len(made[0].steps),
        refused=sum(rejection.count for rejection in made[0].rejections),
    )


def kept_mib(make: MakePlanner, gpus: int, seed: int) -> float:
    """What a planner holds beside the inventory after a hundred decisions."""
    fleet = make_fleet(gpus, 100, seed)
    tracemalloc.start()
    try:
        planner = make(fleet.inventory)
        for pending in fleet.pendings:
            planner.decide(pending, fleet.now)
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return kept / 2**20


def print_singles(singles: Sequence[Single]) -> None:
    print_table(
        "One pending at a time, milliseconds",
        ("GPUs", "decide p50", "p99", "max", "observe p50", "p99", "max", "first", "granted"),
        *(
            (
                f"{each.gpus:,}",
                *each.decide.cells(),
                *each.observe.cells(),
                f"{each.first_ms:.1f}",
                f"{100 * each.granted:.0f} %",
            )
            for each in singles
        ),
    )


def _milliseconds(nanoseconds: Sequence[int]) -> Milliseconds:
    ordered = sorted(nanoseconds)
    at = [ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1e6 for share in (0.5, 0.99)]
    return Milliseconds(at[0], at[1], ordered[-1] / 1e6)
