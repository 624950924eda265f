"""The world after a plan: its steps carried out at once, as agents and pods would in some seconds, and pods that end.

`Gpu` refuses overlapping slices and this module refuses to lose a busy one, so a benchmark cannot time plans that no
hardware could follow. Relocations are carried out in their order and each before its step, make-before-break.
"""

from collections.abc import Iterable
from dataclasses import replace

from knative_mig.core.geometry import Place
from knative_mig.core.inventory import Busy, Ending, Function, Gpu, GpuUuid, Idle, Inventory, Slice
from knative_mig.core.planner.decisions import How, Step, Target


class BrokenPlan(Exception):
    """A step that cannot be carried out: the planner is wrong."""


class World:
    def __init__(self, inventory: Inventory) -> None:
        self._gpus = {gpu.uuid: gpu for gpu in inventory.gpus}
        self._quotas = inventory.quotas

    @property
    def inventory(self) -> Inventory:
        return Inventory(gpus=tuple(self._gpus.values()), quotas=self._quotas)

    def gpu(self, uuid: GpuUuid) -> Gpu:
        return self._gpus[uuid]

    def busy(self) -> list[tuple[GpuUuid, Place]]:
        return [
            (gpu.uuid, each.place) for gpu in self._gpus.values() for each in gpu.slices if isinstance(each.use, Busy)
        ]

    def carry_out(self, step: Step, use: Busy) -> list[Gpu]:
        """The GPUs as they are afterwards that were changed; `use` is what the step's function makes of its slice."""
        changed: dict[GpuUuid, None] = {}
        for relocation in step.relocations:
            moved = self._busy_at(relocation.source_gpu, relocation.source, relocation.function)
            self._make(relocation.target, moved)
            self.end(relocation.source_gpu, relocation.source)
            changed[relocation.target.gpu] = changed[relocation.source_gpu] = None
        self._make(step.target, use, waited=step.how is How.WAIT)
        changed[step.target.gpu] = None
        return [self._gpus[uuid] for uuid in changed]

    def end(self, uuid: GpuUuid, place: Place, *, worth_s: float = 0.0) -> Gpu:
        """The pod is gone, its slice stays."""
        return self._put(uuid, place, Slice(place, Idle(worth_s)))

    def destroy(self, uuid: GpuUuid, place: Place) -> Gpu:
        return self._put(uuid, place, None)

    def _make(self, target: Target, use: Busy, *, waited: bool = False) -> None:
        kept: list[Slice] = []
        for each in self._gpus[target.gpu].slices:
            if not each.place.mask & target.place.mask:
                kept.append(each)
            elif not (isinstance(each.use, Idle) or (waited and isinstance(each.use, Ending))):
                raise BrokenPlan(f"{each.place} on {target.gpu} has a pod, but {target.place} is to be there")
        self._set(target.gpu, [*kept, Slice(target.place, use)])

    def _busy_at(self, uuid: GpuUuid, place: Place, function: Function) -> Busy:
        for each in self._gpus[uuid].slices:
            if each.place == place and isinstance(each.use, Busy) and each.use.function == function:
                return each.use
        raise BrokenPlan(f"{function} is not on {place} of {uuid}")

    def _put(self, uuid: GpuUuid, place: Place, new: Slice | None) -> Gpu:
        others = [each for each in self._gpus[uuid].slices if each.place != place]
        return self._set(uuid, [*others, new] if new else others)

    def _set(self, uuid: GpuUuid, slices: Iterable[Slice]) -> Gpu:
        gpu = self._gpus[uuid] = replace(self._gpus[uuid], slices=tuple(slices))
        return gpu
