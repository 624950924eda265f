"""The planner of knative-mig as the benchmarks use it: kept between decisions, in one call, and as a rule.

As a rule a request is a pending that is planned alone, and a move takes every function the same 30 s. A slice is
destroyed when its request ends: like the other rules it remembers nothing. One whole GPU is reserved, as
`Policy.reserve_whole` has it. The variants show what that, moves, and idle slices that stay are worth.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from bench.carried_out import World
from bench.traffic import MENU, MODEL
from knative_mig.core.geometry import Place
from knative_mig.core.inventory import Busy, Function, Gpu, GpuUuid, Inventory, NodeName, Pending
from knative_mig.core.planner.batch import plan, plan_on
from knative_mig.core.planner.decisions import Plan
from knative_mig.core.planner.fleet import Fleet
from knative_mig.core.planner.policy import Policy

POLICY: Final = Policy()
RESERVING: Final = Policy(reserve_whole=1)
IDLE_WORTH_S: Final = 1.0  # making and destroying a slice


def plan_all(inventory: Inventory, pendings: Sequence[Pending], now: float) -> Plan:
    return plan(inventory, pendings, POLICY, now)


class KeptPlanner:
    def __init__(self, inventory: Inventory, policy: Policy = POLICY) -> None:
        self._fleet = Fleet(inventory, policy)
        self._quotas = inventory.quotas

    def decide(self, pending: Pending, now: float) -> Plan:
        return plan_on(self._fleet, (pending,), now, quotas=self._quotas)

    def decide_all(self, pendings: Sequence[Pending], now: float) -> Plan:
        return plan_on(self._fleet, pendings, now, quotas=self._quotas, prove=True)

    def observe(self, gpu: Gpu) -> None:
        self._fleet.replace(gpu)


class Ours:
    def __init__(self, gpus: int, policy: Policy = RESERVING, *, keeps_idle: bool = False) -> None:
        fleet = tuple(
            Gpu(uuid=GpuUuid(f"GPU-{number:03}"), node=NodeName(f"node-{number:03}"), model=MODEL)
            for number in range(gpus)
        )
        self._world = World(Inventory(gpus=fleet))
        self._planner = KeptPlanner(self._world.inventory, policy)
        self._keeps_idle = keeps_idle
        self._where: dict[Function, tuple[GpuUuid, Place]] = {}

    def arrive(self, request: int, kind: int) -> int | None:
        function = _function(request)
        decided = self._planner.decide(Pending(function=function, profile=MENU[kind].name), now=0.0)
        if not decided.steps:
            return None
        (step,) = decided.steps
        for gpu in self._world.carry_out(step, Busy(function, movable=True, move_s=30.0)):
            self._planner.observe(gpu if self._keeps_idle else self._without_idle(gpu))
        for relocation in step.relocations:
            self._where[relocation.function] = relocation.target.gpu, relocation.target.place
        self._where[function] = step.target.gpu, step.target.place
        return len(step.relocations)

    def depart(self, request: int) -> None:
        uuid, place = self._where.pop(_function(request))
        gpu = self._world.end(uuid, place, worth_s=IDLE_WORTH_S)
        self._planner.observe(gpu if self._keeps_idle else self._without_idle(gpu))

    def _without_idle(self, gpu: Gpu) -> Gpu:
        for each in gpu.slices:
            if not isinstance(each.use, Busy):
                gpu = self._world.destroy(gpu.uuid, each.place)
        return gpu

    def running(self) -> Iterable[tuple[int, int, Place]]:
        return (
            (int(function.name), int(uuid.removeprefix("GPU-")), place)
            for function, (uuid, place) in self._where.items()
        )


def without_moves(gpus: int) -> Ours:
    return Ours(gpus, replace(RESERVING, max_moves=0))


def keeping_idle(gpus: int) -> Ours:
    """As on a cluster: an idle slice stays until it is reused or merged away, so reuse decides many places."""
    return Ours(gpus, keeps_idle=True)


def without_reserve(gpus: int) -> Ours:
    return Ours(gpus, POLICY)


def _function(request: int) -> Function:
    return Function("bench", str(request))
