"""What GPUs look like before a plan and after it: the slots of every GPU that it touches."""

from collections.abc import Iterator
from dataclasses import dataclass

from knative_mig.cli.slot_map import Mark, mark_of
from knative_mig.core.geometry import Place
from knative_mig.core.inventory import Gpu, GpuUuid, Inventory
from knative_mig.core.planner.decisions import How, Plan, Step, Target

Slots = dict[Place, Mark]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    gpu: Gpu
    before: Slots
    after: Slots


def changes(inventory: Inventory, plan: Plan) -> tuple[Change, ...]:
    """One a GPU that the plan touches, in the inventory's order."""
    touched = {uuid for step in plan.steps for uuid in _touched(step)}
    before = {gpu.uuid: _slots(gpu) for gpu in inventory.gpus if gpu.uuid in touched}
    after = {uuid: dict(slots) for uuid, slots in before.items()}
    for step in plan.steps:
        for move in step.relocations:
            _make(after, move.target)
            after[move.source_gpu].pop(move.source, None)
        if step.how is How.WAIT:
            _end(after[step.target.gpu], step.target.place)
        _make(after, step.target)
    return tuple(
        Change(gpu=gpu, before=before[gpu.uuid], after=after[gpu.uuid]) for gpu in inventory.gpus if gpu.uuid in touched
    )


def _touched(step: Step) -> Iterator[GpuUuid]:
    yield step.target.gpu
    for move in step.relocations:
        yield from (move.source_gpu, move.target.gpu)


def _slots(gpu: Gpu) -> Slots:
    return {each.place: mark_of(each.use) for each in gpu.slices}


def _end(slots: Slots, place: Place) -> None:
    """The slices whose pods were waited for are gone."""
    for other, mark in list(slots.items()):
        if mark is Mark.ENDING and other.mask & place.mask:
            del slots[other]


def _make(slots: dict[GpuUuid, Slots], target: Target) -> None:
    for idle in target.destroys:
        slots[target.gpu].pop(idle, None)
    slots[target.gpu][target.place] = Mark.PLANNED
