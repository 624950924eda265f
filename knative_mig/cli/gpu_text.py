"""GPUs as people read them: of each node's every GPU its slots, and below it who has each slice.

Called by `gpus` with GpuNodes as they are in the API. The subtle thing is what is still to come: a slice that the spec
wants and the status does not show is drawn as being made where nothing is in its way, and told in words alone where
something still is.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from knative_mig.cli.slot_map import Mark, draw, legend
from knative_mig.core.errors import BadInput
from knative_mig.core.geometry import GpuModel, Place
from knative_mig.core.gpu_node import (
    ConditionType,
    GpuHealth,
    GpuNode,
    GpuStatus,
    Holder,
    Layout,
    SliceKey,
    SliceState,
    SliceStatus,
)

_MARKS: Final[Mapping[SliceState, Mark]] = {
    SliceState.BUSY: Mark.BUSY,
    SliceState.IDLE: Mark.IDLE,
    SliceState.RELEASED: Mark.ENDING,
    SliceState.DRAINING: Mark.ENDING,
    SliceState.BROKEN: Mark.BROKEN,
}
_WORDS: Final[Mapping[Mark, str]] = {
    Mark.BUSY: "busy",
    Mark.IDLE: "idle",
    Mark.ENDING: "ending",
    Mark.PLANNED: "being made",
    Mark.BROKEN: "broken, or made by others",
}
SHORT_UUID: Final = len("GPU-12345678")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A GPU that could be read. `coming`: wanted, not there yet."""

    model: GpuModel
    slots: Mapping[Place, Mark]
    coming: tuple[SliceKey, ...]

    @property
    def there(self) -> list[Place]:
        return [place for place, mark in self.slots.items() if mark is not Mark.PLANNED]


def text_of(nodes: Iterable[GpuNode], now: float, *, colour: bool) -> str:
    """`now`: seconds since the epoch."""
    found = sorted(nodes, key=lambda node: node.name)
    if not found:
        return "no GPUs: no node's agent has reported any"
    lines = chain.from_iterable(_node(node, now, colour=colour) for node in found)
    marks = set(chain.from_iterable(_marks(node) for node in found))
    return "\n".join([*lines, "", legend({mark: word for mark, word in _WORDS.items() if mark in marks})])


def _marks(node: GpuNode) -> Iterator[Mark]:
    for gpu in _gpus(node):
        if shown := _shown(node, gpu):
            yield from shown.slots.values()
        if gpu.foreign:
            yield Mark.BROKEN


def _gpus(node: GpuNode) -> Sequence[GpuStatus]:
    return node.status.gpus if node.status else ()


def _node(node: GpuNode, now: float, *, colour: bool) -> Iterator[str]:
    if node.status is None:
        yield f"{node.name}  its agent has not reported yet"
        return
    ready = node.status.condition(ConditionType.READY)
    if ready is not None and ready.status is not True:
        yield f"{node.name}  not ready: {ready.reason}: {ready.message}".removesuffix(": ")
    static = "  static layout" if node.status.layout is Layout.STATIC else ""
    for gpu in node.status.gpus:
        head = f"{node.name}  {gpu.model or gpu.product}  {gpu.uuid[:SHORT_UUID]}"
        shown = _shown(node, gpu)
        if shown is None:
            yield f"{head}  {gpu.health}: {gpu.why}".removesuffix(": ")
            continue
        foreign = {each.start: each.size for each in gpu.foreign}
        yield f"{head}  {draw(shown.model, shown.slots, foreign=foreign, colour=colour)}  {_taken(shown, gpu)}{static}"
        if gpu.health is not GpuHealth.HEALTHY:
            yield f"    {gpu.health}: {gpu.why}".removesuffix(": ")
        yield from _lines(shown, gpu, now)


def _lines(shown: Shown, gpu: GpuStatus, now: float) -> Iterator[str]:
    told = [
        *((str(each.key), _state(each, now), _who(each)) for each in sorted(gpu.slices, key=lambda it: it.key.start)),
        *((str(key), "being made", "") for key in shown.coming),
        *((f"at {each.start}", "made by others", each.why) for each in gpu.foreign),
    ]
    widths = [max(len(each[column]) for each in told) for column in (0, 1)] if told else []
    for key, state, who in told:
        yield f"    {key.ljust(widths[0])}  {state.ljust(widths[1])}  {who}".rstrip()


def _state(each: SliceStatus, now: float) -> str:
    if each.state is SliceState.IDLE and each.idle_since is not None:
        return f"idle {max(0.0, now - each.idle_since):.0f} s"
    return each.state.lower()


def _who(each: SliceStatus) -> str:
    if each.holders:
        return ", ".join(map(_pod, each.holders))
    last = f"last {_pod(each.last_holder)}" if each.last_holder else ""
    return each.why or last


def _pod(holder: Holder) -> str:
    return f"{holder.namespace}/{holder.pod}"


def _taken(shown: Shown, gpu: GpuStatus) -> str:
    model, foreign = shown.model, sum(each.size for each in gpu.foreign)
    compute = sum(place.profile.compute for place in shown.there)
    memory = sum(place.profile.memory_units for place in shown.there) + foreign
    return f"compute {compute}/{model.compute_slices}  memory {memory}/{model.memory_units}"


def _shown(node: GpuNode, gpu: GpuStatus) -> Shown | None:
    """None: nothing is known of its slots."""
    models = {each.name: each for each in node.status.models} if node.status else {}
    model = models.get(gpu.model)
    if model is None:
        return None
    slots: dict[Place, Mark] = {}
    taken = 0
    for other in gpu.foreign:
        taken |= ((1 << other.size) - 1) << other.start
    coming = tuple(_coming(node, gpu))
    # Where a slice was given back while its pod still relays, another may be already.
    there = sorted(gpu.slices, key=lambda each: each.state is SliceState.RELEASED)
    for key, mark in [*((each.key, _MARKS[each.state]) for each in there), *((key, Mark.PLANNED) for key in coming)]:
        place = _place(model, key)
        if place is not None and not place.mask & taken:
            slots[place] = mark
            taken |= place.mask
    return Shown(model=model, slots=slots, coming=coming)


def _coming(node: GpuNode, gpu: GpuStatus) -> Iterator[SliceKey]:
    wanted = node.spec.wanted(gpu.uuid)
    there = {each.key for each in gpu.slices}
    if wanted is not None and node.status is not None and not node.status.spec_set_aside:
        yield from (each.key for each in wanted.slices if each.key not in there)


def _place(model: GpuModel, key: SliceKey) -> Place | None:
    try:
        return model.place(model.profile(key.profile), key.start)
    except BadInput:  # the agent is newer than its model's tables: it is told in words
        return None


def data_of(nodes: Iterable[GpuNode]) -> list[dict[str, Any]]:
    """One for each GPU."""
    return [_data(node, gpu) for node in sorted(nodes, key=lambda node: node.name) for gpu in _gpus(node)]


def _data(node: GpuNode, gpu: GpuStatus) -> dict[str, Any]:
    shown = _shown(node, gpu)
    return {
        "node": node.name,
        "uuid": gpu.uuid,
        "product": gpu.product,
        "model": gpu.model,
        "health": gpu.health,
        "why": gpu.why,
        "computeSlices": shown.model.compute_slices if shown else None,
        "memoryUnits": shown.model.memory_units if shown else None,
        "slices": [
            {
                "profile": str(each.key.profile),
                "start": each.key.start,
                "size": each.size,
                "state": each.state,
                "migUuid": each.mig_uuid,
                "idleSince": each.idle_since,
                "holders": [{"namespace": who.namespace, "pod": who.pod} for who in each.holders],
                "why": each.why,
            }
            for each in gpu.slices
        ],
        "beingMade": [{"profile": str(key.profile), "start": key.start} for key in (shown.coming if shown else ())],
        "foreign": [{"start": each.start, "size": each.size, "why": each.why} for each in gpu.foreign],
    }
