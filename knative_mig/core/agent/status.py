"""What an agent reports of its node: `GpuNodeStatus`, from what it read and what it reported before.

Called by the agent's publisher at each change. The subtle thing is what only the previous report knows: since when a
slice is idle, who held it last, since when a condition is as it is. So the report is a function of the previous one,
which after a restart comes from the API server. While the kubelet is away nobody knows who holds what: the previous
word on each slice stands, and Ready says why.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from knative_mig.core.agent.readings import (
    UNMARKED,
    Complaint,
    GpuReading,
    KubeletReading,
    Mark,
    SeenSlice,
    Unnamed,
)
from knative_mig.core.agent.report_conditions import Standing, conditions
from knative_mig.core.geometry import GpuModel
from knative_mig.core.gpu_node import (
    OF_NO_POD,
    ForeignStatus,
    GpuHealth,
    GpuNode,
    GpuNodeStatus,
    GpuStatus,
    Holder,
    JournalState,
    Layout,
    SliceId,
    SliceState,
    SliceStatus,
)
from knative_mig.core.inventory import GpuUuid


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """How far one GPU's loop is with the spec."""

    settled: bool = False
    doing: str = ""
    complaints: tuple[Complaint, ...] = ()
    spec_generation: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """All that an agent knows of its node at one moment."""

    readings: Mapping[GpuUuid, GpuReading] = field(default_factory=dict)
    unnamed: Mapping[int, Unnamed] = field(default_factory=dict)  # by the driver's index
    all_read: bool = True  # False: this agent has only just started, and some GPUs are still to be read
    marks: Mapping[SliceId, Mark] = field(default_factory=dict)
    applied: Mapping[GpuUuid, Applied] = field(default_factory=dict)
    spec: GpuNode | None = None
    kubelet: KubeletReading | None = None
    models: tuple[GpuModel, ...] = ()
    layout: Layout = Layout.DYNAMIC
    agent_version: str = ""
    boot_id: str = ""
    journal: JournalState = JournalState.RECOVERING
    open_intents: int = 0
    journal_why: str = ""
    registered: bool | None = None  # with the kubelet, every profile; None: not yet
    other_owners: tuple[str, ...] | None = None  # None: not looked yet
    adopts_layout: bool = False  # an administrator's, which is newer than the spec
    processes_verified: bool = True


def gpu_node_status(known: Known, previous: GpuNodeStatus | None, now: float) -> GpuNodeStatus:
    """`now`: seconds since the epoch, as the report carries; the readings' times are their own clock's."""
    models = _distinct(known.models, previous)
    named = dict(zip(map(id, known.models), models, strict=True))
    before = {gpu.uuid: gpu for gpu in previous.gpus} if previous else {}
    gpus = tuple(_gpu(known, known.readings[uuid], named, before.get(uuid), now) for uuid in sorted(known.readings))
    kept: tuple[GpuStatus, ...] = ()
    if previous is not None and (known.unnamed or not known.all_read):
        kept = tuple(
            _still_to_be_read(before[uuid], known.unnamed) for uuid in sorted(before.keys() - known.readings.keys())
        )
        names = {model.name for model in models}
        models += tuple(each for each in previous.models if each.name not in names)
        gpus += kept
    complaints = tuple(
        each for uuid in sorted(known.applied) for each in known.applied[uuid].complaints
    ) + _unread_gpus(known)
    status = GpuNodeStatus(
        observed_generation=_observed(known, previous),
        layout=known.layout,
        agent_version=known.agent_version,
        boot_id=known.boot_id,
        models=models,
        gpus=gpus,
        journal=known.journal,
        open_intents=known.open_intents,
    )
    standing = Standing(
        gpus=gpus,
        unnamed=known.unnamed if len(kept) < len(known.unnamed) else {},
        layout=known.layout,
        spec_generation=known.spec.generation if known.spec else None,
        observed_generation=status.observed_generation,
        doing=tuple(f"{uuid}: {each.doing}" for uuid, each in sorted(known.applied.items()) if each.doing),
        settled=all(each.settled for each in known.applied.values()),
        complaints=complaints,
        kubelet=known.kubelet is not None,
        registered=known.registered,
        journal=known.journal,
        journal_why=known.journal_why,
        other_owners=known.other_owners,
        adopts_layout=known.adopts_layout,
        processes_verified=known.processes_verified,
    )
    return replace(status, conditions=conditions(standing, previous.conditions if previous else (), now))


def _still_to_be_read(gpu: GpuStatus, unnamed: Mapping[int, Unnamed]) -> GpuStatus:
    """What a former agent reported is kept: it alone knows since when a slice is idle. Which of those missing is which
    of the unnamed is not known.
    """
    kinds = {each.health for each in unnamed.values()}
    health = kinds.pop() if len(kinds) == 1 else GpuHealth.UNREADABLE
    why = "; ".join(f"GPU {index} is {each.health}: {each.why}" for index, each in sorted(unnamed.items()))
    return replace(gpu, health=health, why=why or "it has not been read since the agent started")


def _observed(known: Known, previous: GpuNodeStatus | None) -> int:
    """The newest spec that every GPU it names was judged by. Of a static layout nothing is to be judged: whoever waited
    for an answer, as after a new leader's token, would wait for ever.
    """
    before = previous.observed_generation if previous else 0
    if known.spec is not None and known.layout is Layout.STATIC:
        return known.spec.generation
    if known.spec is None or not known.readings:
        return before
    loops = [known.applied.get(gpu.uuid, Applied()) for gpu in known.spec.spec.gpus if gpu.uuid in known.readings]
    taken_up = all(loop.spec_generation >= known.spec.generation for loop in loops)
    return known.spec.generation if taken_up else before


def _unread_gpus(known: Known) -> tuple[Complaint, ...]:
    """What the spec wants of a GPU that this agent has not read. While one is missing, it may be that one."""
    if known.spec is None or not known.readings:
        return ()
    unread = [gpu.uuid for gpu in known.spec.spec.gpus if gpu.uuid not in known.readings]
    if known.unnamed or not known.all_read:
        return tuple(
            Complaint(reason="GpuUnusable", message=f"{uuid} has not been read since the agent started")
            for uuid in unread
        )
    return tuple(
        Complaint(reason="UnknownGpu", message=f"{uuid} is named in the spec and is not on this node")
        for uuid in unread
    )


def _gpu(
    known: Known, reading: GpuReading, named: Mapping[int, GpuModel], before: GpuStatus | None, now: float
) -> GpuStatus:
    old = {each.key: each for each in before.slices} if before else {}
    slices: list[SliceStatus] = []
    for seen in reading.slices:
        slice_id = reading.slice_id(seen)
        last = old.get(slice_id.key)
        slices.append(_slice(known, reading, seen, last if last and last.mig_uuid == seen.mig_uuid else None, now))
    return GpuStatus(
        uuid=reading.uuid,
        product=reading.product,
        model=_model_name(reading.model, known.models, named),
        health=reading.health,
        slices=tuple(slices),
        foreign=tuple(ForeignStatus(start=each.start, size=each.size, why=each.why) for each in reading.foreign),
        why=reading.why,
    )


def _slice(known: Known, reading: GpuReading, seen: SeenSlice, last: SliceStatus | None, now: float) -> SliceStatus:
    slice_id = reading.slice_id(seen)
    mark = known.marks.get(slice_id, UNMARKED)
    if known.kubelet is not None:
        holders: tuple[Holder, ...] = known.kubelet.view.holders_of(slice_id)
    else:
        holders = last.holders if last else ()
    state, why = _state(known, reading, seen, mark, holders=holders, last=last)
    idle_since = None
    if state is SliceState.IDLE:
        idle_since = last.idle_since if last and last.state is SliceState.IDLE and last.idle_since else now
    last_holder = holders[0] if holders else (last.last_holder if last else None)
    return SliceStatus(
        key=slice_id.key,
        size=seen.place.profile.memory_units,
        state=state,
        mig_uuid=seen.mig_uuid,
        holders=holders,
        pids=seen.pids or (),
        idle_since=idle_since,
        last_holder=last_holder,
        why=why,
    )


def _state(
    known: Known,
    reading: GpuReading,
    seen: SeenSlice,
    mark: Mark,
    *,
    holders: tuple[Holder, ...],
    last: SliceStatus | None,
) -> tuple[SliceState, str]:
    if mark.broken:
        return SliceState.BROKEN, mark.broken
    if seen.half_made:
        return SliceState.BROKEN, "it has no compute instance"
    if reading.health is not GpuHealth.HEALTHY:
        return SliceState.BROKEN, f"its GPU is {reading.health}"
    if mark.withdrawn_since is not None:
        return SliceState.DRAINING, ""
    if mark.release is not None and not seen.pids:
        return SliceState.RELEASED, ""
    if holders or seen.pids:
        return SliceState.BUSY, OF_NO_POD if mark.of_no_pod else ""
    if seen.pids is None:
        return SliceState.BUSY, "its processes could not be listed"
    if known.kubelet is None:
        if last is not None and last.state is SliceState.IDLE:
            return SliceState.IDLE, ""
        return SliceState.BUSY, "the kubelet does not say who holds it"
    if mark.just_handed_out(known.kubelet.asked_at):
        return SliceState.BUSY, "handed out a moment ago"
    return SliceState.IDLE, ""


def _model_name(model: GpuModel | None, models: tuple[GpuModel, ...], named: Mapping[int, GpuModel]) -> str:
    if model is None:
        return ""
    same = next((each for each in models if (each.name, each.profiles) == (model.name, model.profiles)), model)
    return named.get(id(same), same).name


def _distinct(models: tuple[GpuModel, ...], previous: GpuNodeStatus | None) -> tuple[GpuModel, ...]:
    """Boards of one product may differ in a profile's memory: the second gets a name of its own, as `A100-40GB (2)`.
    The objects of the previous report are kept where they say the same, so that equal reports compare equal.
    """
    known = {(each.name, each.profiles): each for each in previous.models} if previous else {}
    taken: dict[str, int] = {}
    found: list[GpuModel] = []
    for model in models:
        taken[model.name] = taken.get(model.name, 0) + 1
        name = model.name if taken[model.name] == 1 else f"{model.name} ({taken[model.name]})"
        new = model if name == model.name else replace(model, name=name)
        found.append(known.get((name, model.profiles), new))
    return tuple(found)
