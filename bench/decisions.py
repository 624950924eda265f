"""How long the planner takes: one pending at a time on a fleet that moves, a thousand at once, and what it remembers.

Times are processor times of single calls, the garbage collector running as it would: the planner does no I/O and takes
no lock, so on a core of its own the wall time is the same, and on a shared machine only this one can be repeated. The
wall time's p99 is printed beside it. A decision is the call that a waiting function waits for; that the planner takes
note of the changed GPUs afterwards is timed apart, and so is what it does once in its life: it is built and meets each
profile for the first time.
"""

import gc
import random
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol

from bench.carried_out import World
from bench.fleets import USUAL, Crowd, Fleet, make_fleet
from bench.report import print_table
from knative_mig.core.inventory import Busy, Gpu, Inventory, Pending
from knative_mig.core.planner.decisions import Plan


class Planner(Protocol):
    """One that is kept between decisions and told what changed."""

    def decide(self, pending: Pending, now: float) -> Plan: ...

    def decide_all(self, pendings: Sequence[Pending], now: float) -> Plan:
        """With a proven bound."""

    def observe(self, gpu: Gpu) -> None: ...


MakePlanner = Callable[[Inventory], Planner]
PlanAll = Callable[[Inventory, Sequence[Pending], float], Plan]


@dataclass(frozen=True, slots=True)
class Milliseconds:
    p50: float
    p99: float
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Single:
    gpus: int
    crowd: Crowd
    decide: Milliseconds
    decide_wall: Milliseconds
    observe: Milliseconds
    first_ms: float  # building what is kept, and the first decision on each profile
    granted: float  # share of the decisions that gave every slice asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    ms: float  # from an inventory never seen before
    wall_ms: float
    kept_ms: float  # by a planner that had the fleet and had met each profile
    gap: float
    granted: int
    refused: int


class Watch:
    """Laps in processor and wall time, both in nanoseconds."""

    def __init__(self) -> None:
        self.cpu: list[int] = []
        self.wall: list[int] = []

    def __enter__(self) -> None:
        self._began = time.thread_time_ns(), time.perf_counter_ns()

    def __exit__(self, *_: object) -> None:
        cpu, wall = self._began
        self.wall.append(time.perf_counter_ns() - wall)
        self.cpu.append(time.thread_time_ns() - cpu)


def time_decisions(make: MakePlanner, gpus: int, decisions: int, seed: int, crowd: Crowd = USUAL) -> Single:
    fleet = make_fleet(gpus, decisions, seed, crowd=crowd)
    gc.collect()
    scene = _Scene(make, fleet, seed)
    for pending in fleet.pendings:
        scene.play(pending)
    return Single(
        gpus=gpus,
        crowd=crowd,
        decide=_milliseconds(scene.deciding.cpu),
        decide_wall=_milliseconds(scene.deciding.wall),
        observe=_milliseconds(scene.observing.cpu),
        first_ms=scene.starting.cpu[0] / 1e6,
        granted=scene.granted / decisions,
    )


class _Scene:
    """For every slice that is granted another one ends, so the fleet stays as full as it was and never the same."""

    def __init__(self, make: MakePlanner, fleet: Fleet, seed: int) -> None:
        self._fleet = fleet
        self._world = World(fleet.inventory)
        self._random = random.Random(seed)
        self.starting, self.deciding, self.observing = Watch(), Watch(), Watch()
        self.granted = 0
        with self.starting:
            self._planner = _warm(make, fleet)

    def play(self, pending: Pending) -> None:
        with self.deciding:
            plan = self._planner.decide(pending, self._fleet.now)
        self.granted += len(plan.steps) == pending.count
        for step in plan.steps:
            use = Busy(step.function, movable=True, move_s=self._random.uniform(5, 90))
            for gpu in self._world.carry_out(step, use):
                self._observe(gpu)
        for _ in plan.steps:
            self._observe(self._end_one())

    def _end_one(self) -> Gpu:
        while True:
            gpu = self._world.gpu(self._random.choice(self._fleet.inventory.gpus).uuid)
            busy = [each.place for each in gpu.slices if isinstance(each.use, Busy)]
            if busy:
                return self._world.end(gpu.uuid, self._random.choice(busy), worth_s=self._random.uniform(0, 60))

    def _observe(self, gpu: Gpu) -> None:
        with self.observing:
            self._planner.observe(gpu)


def _warm(make: MakePlanner, fleet: Fleet) -> Planner:
    planner = make(fleet.inventory)
    for pending in {each.profile: each for each in fleet.pendings}.values():
        planner.decide(pending, fleet.now)
    return planner


def time_batch(plan: PlanAll, make: MakePlanner, gpus: int, pendings: int, seed: int, *, runs: int) -> Batch:
    """The median of the runs, each on a fleet of its own; the gap is the widest."""
    cold, kept = Watch(), Watch()
    made: list[Plan] = []
    for run in range(runs):
        fleet = make_fleet(gpus, pendings, seed + run)
        gc.collect()
        with cold:
            made.append(plan(fleet.inventory, fleet.pendings, fleet.now))
        planner = _warm(make, fleet)
        gc.collect()
        with kept:
            planner.decide_all(fleet.pendings, fleet.now)
    return Batch(
        ms=median(cold.cpu) / 1e6,
        wall_ms=median(cold.wall) / 1e6,
        kept_ms=median(kept.cpu) / 1e6,
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
        "One pending at a time, milliseconds of processor time (wall: as the machine was shared)",
        ("fleet", "decide p50", "p99", "max", "wall p99", "observe p50", "p99", "first", "granted"),
        *(
            (
                f"{each.gpus:,} GPUs, {each.crowd.name}",
                f"{each.decide.p50:.3f}",
                f"{each.decide.p99:.3f}",
                f"{each.decide.most:.3f}",
                f"{each.decide_wall.p99:.3f}",
                f"{each.observe.p50:.3f}",
                f"{each.observe.p99:.3f}",
                f"{each.first_ms:.0f}",
                f"{100 * each.granted:.0f} %",
            )
            for each in singles
        ),
    )


def _milliseconds(nanoseconds: Sequence[int]) -> Milliseconds:
    ordered = sorted(nanoseconds)
    at = [ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1e6 for share in (0.5, 0.99)]
    return Milliseconds(at[0], at[1], ordered[-1] / 1e6)
