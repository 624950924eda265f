"""Agents and pods that do what a plan says, on simulated GPUs and in virtual time.

The planner's words become calls of the GPU port: a slice is made at an explicit start, a pod attaches itself to it as a
process does, a move makes the new slice and its pod before the old pod ends. Every call must succeed: what the
simulated GPUs refuse (an overlap, a slice in use) leaves as an exception, and `NotAsPlanned` says what a step takes for
granted and is not so.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from uuid import UUID

from knative_mig.adapters.sim_gpu import SimulatedGpus, SimulationControls, StateStore, open_store
from knative_mig.core.geometry import Place
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
from knative_mig.core.planner.decisions import How, Plan, Relocation, Step, Target
from knative_mig.ports import gpu as port
from tests.rigs.worlds import place as place_of

At = tuple[GpuUuid, Place]


class NotAsPlanned(AssertionError):
    """A step relies on what is not there, or would do harm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    function: Function
    movable: bool = False
    move_s: float = 0.0
    nodes: frozenset[NodeName] | None = None
    gone_at: float | None = None  # it is terminating


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedGpu:
    """Where a simulated GPU stands, and the layout that an administrator gave it, if any did."""

    node: NodeName
    static: tuple[str, ...] | None = None


@dataclass(kw_only=True)
class SimulatedFleet:
    spec: str
    stands: tuple[FixedGpu, ...]
    path: Path | None = None
    now: float = 0.0
    pods: dict[At, Pod] = field(default_factory=dict)
    worth_s: dict[At, float] = field(default_factory=dict)
    cordoned: set[NodeName] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.restart()
        for seen, stand in zip(self.driver.inventory().gpus, self.stands, strict=True):
            for words in stand.static or ():
                self._create((GpuUuid(seen.uuid), place_of(seen.model.name, words)))

    def restart(self) -> None:
        """As a new process of the agent: only the GPUs' own state is carried over."""
        if self.path is not None or not hasattr(self, "store"):
            uuids = iter(range(1, 100))
            self.store: StateStore = open_store(self.spec, self.path, new_uuid=lambda: UUID(int=next(uuids)))
        self.driver = SimulatedGpus(self.store)
        self.controls = SimulationControls(self.store)

    # -- what the planner is shown --------------------------------------------------------------------------------

    def inventory(self, quotas: Quotas) -> Inventory:
        seen = self.driver.inventory().gpus
        gpus = tuple(self._shown(each, stand) for each, stand in zip(seen, self.stands, strict=True))
        return Inventory(gpus=gpus, quotas=quotas)

    def open_nodes(self, wanted: frozenset[NodeName] | None) -> frozenset[NodeName] | None:
        if not self.cordoned:
            return wanted
        return (frozenset(stand.node for stand in self.stands) if wanted is None else wanted) - self.cordoned

    def _shown(self, seen: port.Gpu, stand: FixedGpu) -> Gpu:
        uuid = GpuUuid(seen.uuid)
        return Gpu(
            uuid=uuid,
            node=stand.node,
            model=seen.model,
            slices=tuple(Slice(each.place, self._use((uuid, each.place))) for each in seen.instances),
            static=stand.static is not None,
        )

    def _use(self, at: At) -> Use:
        pod = self.pods.get(at)
        if pod is None:
            return Idle(self.worth_s.get(at, 0.0))
        if pod.gone_at is not None:
            return Ending(pod.function, pod.gone_at)
        return Busy(pod.function, pod.movable, pod.move_s, self.open_nodes(pod.nodes))

    # -- what pods do by themselves -------------------------------------------------------------------------------

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for at, pod in list(self.pods.items()):
            if pod.gone_at is not None and pod.gone_at <= self.now:
                self._stop(at)

    def fill(self, random: Random) -> None:
        """Small slices wherever they fit, most of them with a pod that may move: a fleet that is in pieces."""
        for seen, stand in zip(self.driver.inventory().gpus, self.stands, strict=True):
            places = seen.model.places
            weights = [place.profile.memory_units**-2.0 for place in places]
            for number, place in enumerate(random.choices(places, weights, k=0 if stand.static else 7)):
                at = (GpuUuid(seen.uuid), place)
                if any(each.place.mask & place.mask for each in self._instances(at[0])):
                    continue
                self._create(at)
                self.worth_s[at] = random.choice((0.0, 0.5, 8.0))
                if random.random() < 0.7:
                    who = Function("free", f"{seen.uuid[-2:]}-{number}")
                    self._start(at, Pod(function=who, movable=random.random() < 0.8, move_s=random.choice((2.0, 20.0))))
                    if random.random() < 0.1:
                        self.terminate(at, after_s=random.choice((3.0, 50.0)), worth_s=0.5)

    def terminate(self, at: At, *, after_s: float, worth_s: float) -> None:
        self.worth_s[at] = worth_s
        if after_s:
            self.pods[at] = replace(self.pods[at], gone_at=self.now + after_s)
        else:
            self._stop(at)

    def replicas(self, function: Function) -> int:
        return sum(pod.function == function and pod.gone_at is None for pod in self.pods.values())

    # -- what agents do with a plan -------------------------------------------------------------------------------

    def carry_out(self, plan: Plan, pods: dict[Function, Pod], *, drain_s: float) -> list[Step]:
        """The steps that were carried out to their end. With `drain_s` a moved pod terminates for so long, and what
        was to come after it is left to a later plan.
        """
        return [step for step in plan.steps if self._carried_out(step, pods[step.function], drain_s)]

    def _carried_out(self, step: Step, pod: Pod, drain_s: float) -> bool:
        if step.how is How.WAIT:
            return False
        left: list[At] = []
        for relocation in step.relocations:
            self._move(relocation, left, drain_s)
            if drain_s:
                return False
            left.append((relocation.source_gpu, relocation.source))
        self._make(step.how, step.target, left, pod)
        return True

    def _move(self, relocation: Relocation, left: list[At], drain_s: float) -> None:
        source = (relocation.source_gpu, relocation.source)
        pod = self.pods[source]
        if not pod.movable or pod.function != relocation.function:
            raise NotAsPlanned(f"{relocation.function} does not hold a slice at {source} that it could leave")
        nodes = self.open_nodes(pod.nodes)
        if nodes is not None and relocation.target.node not in nodes:
            raise NotAsPlanned(f"{pod.function} cannot run on {relocation.target.node}")
        before = self.replicas(pod.function)
        how = How.MOVE if left else self._how(relocation.target)
        self._make(how, relocation.target, left, pod)
        self.terminate(source, after_s=drain_s, worth_s=0.0)
        if not self.replicas(pod.function) >= before >= 1:
            raise NotAsPlanned(f"{pod.function} lost a replica")

    def _how(self, target: Target) -> How:
        return How.REUSE if target.reuses else How.MERGE if target.destroys else How.CREATE

    def _make(self, how: How, target: Target, left: Iterable[At], pod: Pod) -> None:
        at = (target.gpu, target.place)
        in_the_way = {each.place: each for each in self._instances(target.gpu) if each.place.mask & target.place.mask}
        named = {*target.destroys}
        for place in {*in_the_way, *named} - {target.place}:
            may_go = place in named or (target.gpu, place) in left
            if place not in in_the_way or not may_go or (target.gpu, place) in self.pods:
                raise NotAsPlanned(f"{place} of {target.gpu} is to be destroyed for {target.place}")
            port.destroy_slice(self.driver, in_the_way[place])
            self.worth_s.pop((target.gpu, place), None)
        there = target.place in in_the_way
        if there != target.reuses and not (there and at in left):
            raise NotAsPlanned(f"{target.place} of {target.gpu} is {'there' if there else 'not there'}: {how}")
        if at in self.pods:
            raise NotAsPlanned(f"{target.place} of {target.gpu} has a pod")
        if not there:
            self._create(at)
        self._start(at, pod)

    def _start(self, at: At, pod: Pod) -> None:
        self.pods[at] = pod
        self.controls.attach(self._mig_uuid(at))

    def _create(self, at: At) -> None:
        uuid, place = at
        port.create_slice(self.driver, port.GpuUuid(uuid), place.profile.name, place.start)

    def _stop(self, at: At) -> None:
        del self.pods[at]
        self.controls.detach(self._mig_uuid(at))

    def _instances(self, uuid: GpuUuid) -> tuple[port.GpuInstance, ...]:
        return self.driver.gpu(port.GpuUuid(uuid)).instances

    def _mig_uuid(self, at: At) -> port.MigUuid:
        (found,) = (each for each in self._instances(at[0]) if each.place == at[1])
        assert found.compute_instance is not None
        return found.compute_instance.mig_uuid


def pod_of(pending: Pending, *, movable: bool, move_s: float) -> Pod:
    return Pod(function=pending.function, movable=movable, move_s=move_s, nodes=pending.nodes)
