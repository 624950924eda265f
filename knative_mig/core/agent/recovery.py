"""What an interrupted change means, given what the GPU shows now.

Called by `reconfigurer.agent.gpu_loop` at its first reading, and again after a call whose outcome is not known (the
driver hung, or failed half way). The journal says what was begun; the GPU alone says what came of it. So an intent is
never carried out because it stands there: what is whole is adopted, what is half made is finished or removed, and what
was to be destroyed and is still there goes back to `layout_change`, which asks anew whether anybody holds it.

The subtle thing is another boot: slices do not survive it, so the UUIDs of before name nothing, and an intent of before
says nothing about what is at its place now.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from knative_mig.core.agent.readings import GpuReading, SeenSlice
from knative_mig.core.gpu_node import GpuHealth, SliceId, SliceKey, WantedGpu
from knative_mig.core.inventory import GpuUuid


class Begun(StrEnum):
    CREATE = "create"
    DESTROY = "destroy"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIntent:
    """A journal's intent without an end, as far as it matters here."""

    number: int
    begun: Begun
    gpu: GpuUuid
    key: SliceKey
    boot_id: str
    mig_uuid: str | None = None


class Remedy(StrEnum):
    CLOSE = "Close"  # it was carried out, or never begun: nothing is left to do
    FINISH = "Finish"  # give the GPU instance its compute instance
    REMOVE = "Remove"  # a GPU instance that nobody wants finished
    KEEP_OPEN = "KeepOpen"  # the GPU cannot be read: judged when it can


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    number: int
    remedy: Remedy
    why: str
    seen: SeenSlice | None = None  # FINISH and REMOVE: of which


def judge(
    intents: Sequence[OpenIntent], reading: GpuReading, wanted: WantedGpu | None, boot_id: str
) -> tuple[Judgement, ...]:
    """One judgement for each intent of this GPU, oldest first. Of several about one place the newest is the one to act
    on, as it was begun knowing the others.
    """
    ours = sorted((each for each in intents if each.gpu == reading.uuid), key=lambda each: each.number)
    newest = {each.key: each.number for each in ours}
    return tuple(
        _judge_one(each, reading, wanted, boot_id)
        if newest[each.key] == each.number
        else Judgement(number=each.number, remedy=Remedy.CLOSE, why=f"a later change of {each.key} was begun")
        for each in ours
    )


def _judge_one(intent: OpenIntent, reading: GpuReading, wanted: WantedGpu | None, boot_id: str) -> Judgement:
    def judged(remedy: Remedy, why: str, seen: SeenSlice | None = None) -> Judgement:
        return Judgement(number=intent.number, remedy=remedy, why=f"{slice_id}: {why}", seen=seen)

    slice_id = SliceId(gpu=intent.gpu, profile=intent.key.profile, start=intent.key.start)
    if intent.boot_id != boot_id:
        return judged(Remedy.CLOSE, "it was begun before the machine was started anew, and no slice outlives that")
    if reading.model is None or reading.health is not GpuHealth.HEALTHY:
        return judged(Remedy.KEEP_OPEN, f"its GPU is {reading.health}: {reading.why}")
    seen = reading.find(slice_id)
    if seen is None:
        came_of_it = "was never made" if intent.begun is Begun.CREATE else "has been destroyed"
        return judged(Remedy.CLOSE, f"it {came_of_it}")
    if not seen.half_made:
        if intent.begun is Begun.CREATE:
            return judged(Remedy.CLOSE, "it was made whole, and is adopted")
        if seen.mig_uuid != intent.mig_uuid:
            return judged(Remedy.CLOSE, "it was destroyed, and another has been made at its place")
        return judged(Remedy.CLOSE, "it was not destroyed; whether it may be is asked anew")
    if intent.begun is Begun.CREATE and _wanted(intent.key, wanted):
        return judged(Remedy.FINISH, "it was made without its compute instance, and is wanted", seen)
    return judged(Remedy.REMOVE, "it has no compute instance, and is not wanted", seen)


def _wanted(key: SliceKey, wanted: WantedGpu | None) -> bool:
    """Where the spec is not known, a create that was begun was wanted."""
    return wanted is None or any(each.key == key for each in wanted.slices)
