"""The conditions of a `GpuNode`: what an operator reads first, and what the planner trusts.

Called by `status`. Each is True when all is well; the reason is stable CamelCase, the message for people. The subtle
thing is `since`: it moves only when the status does, so a message that changes does not look like an incident.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from knative_mig.core.agent.readings import Complaint, Unnamed
from knative_mig.core.gpu_node import (
    ADOPTS_LAYOUT,
    Condition,
    ConditionType,
    GpuHealth,
    GpuStatus,
    JournalState,
    Layout,
)

MOST_QUOTED: Final = 4  # complaints in a message: the rest is counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    gpus: tuple[GpuStatus, ...]
    unnamed: Mapping[int, Unnamed]  # those that are not among `gpus`
    layout: Layout
    spec_generation: int | None  # None: no spec was seen yet
    observed_generation: int
    doing: tuple[str, ...]
    settled: bool
    complaints: tuple[Complaint, ...]
    kubelet: bool  # it answers
    registered: bool | None  # every profile, and the kubelet listens; None: not yet
    journal: JournalState
    journal_why: str
    other_owners: tuple[str, ...] | None
    adopts_layout: bool
    processes_verified: bool


@dataclass(frozen=True, slots=True)
class _Word:
    status: bool | None
    reason: str
    message: str = ""


def conditions(standing: Standing, previous: Iterable[Condition], now: float) -> tuple[Condition, ...]:
    words = {
        ConditionType.GPUS_HEALTHY: _gpus(standing),
        ConditionType.KUBELET_CONNECTED: _kubelet(standing),
        ConditionType.JOURNAL_WRITABLE: _journal(standing),
        ConditionType.NO_OTHER_OWNER: _owner(standing),
    }
    words[ConditionType.SPEC_APPLIED] = _spec(standing)
    words[ConditionType.READY] = _ready(standing, words)
    before = {each.type: each for each in previous}
    found: list[Condition] = []
    for kind in ConditionType:
        word, last = words[kind], before.get(kind)
        since = last.since if last is not None and last.status is word.status else now
        found.append(Condition(type=kind, status=word.status, reason=word.reason, message=word.message, since=since))
    return tuple(found)


def _gpus(standing: Standing) -> _Word:
    if not standing.gpus and not standing.unnamed:
        return _Word(None, "NotReadYet", "no GPU has been read yet")
    ill = [gpu for gpu in standing.gpus if gpu.health is not GpuHealth.HEALTHY]
    unnamed = [each for _, each in sorted(standing.unnamed.items())]
    if ill or unnamed:
        said = [f"{gpu.uuid} is {gpu.health}: {gpu.why}" if gpu.why else f"{gpu.uuid} is {gpu.health}" for gpu in ill]
        said += [f"GPU {index} is {each.health}: {each.why}" for index, each in sorted(standing.unnamed.items())]
        health = ill[0].health if ill else unnamed[0].health
        return _Word(status=False, reason=f"Gpu{health}", message=_quoted(said))
    return _Word(status=True, reason="AllHealthy")


def _kubelet(standing: Standing) -> _Word:
    if not standing.kubelet:
        return _Word(
            status=False,
            reason="KubeletUnreachable",
            message="the kubelet's PodResources do not answer: nothing is destroyed until they do",
        )
    if standing.layout is Layout.STATIC or standing.registered:
        return _Word(status=True, reason="Connected")
    if standing.registered is None:
        return _Word(None, "Registering", "the kubelet has not been told of the profiles yet")
    return _Word(status=False, reason="NotRegistered", message="the kubelet does not listen to every profile's plugin")


def _journal(standing: Standing) -> _Word:
    match standing.journal:
        case JournalState.RECOVERING:
            return _Word(None, "Recovering", f"what a former agent left unfinished is looked at{_why(standing)}")
        case JournalState.UNWRITABLE:
            return _Word(
                status=False, reason="JournalUnwritable", message=f"nothing is made or destroyed{_why(standing)}"
            )
        case JournalState.REBUILT:
            return _Word(status=True, reason="Rebuilt", message=f"from the GPUs and the kubelet{_why(standing)}")
        case JournalState.CLEAN:
            return _Word(status=True, reason="Writable")


def _why(standing: Standing) -> str:
    return f": {standing.journal_why}" if standing.journal_why else ""


def _owner(standing: Standing) -> _Word:
    if standing.layout is Layout.STATIC:
        return _Word(status=True, reason="StaticLayout", message="an administrator chose the layout: it is only read")
    if standing.other_owners is None:
        return _Word(None, "NotCheckedYet", "the pods of this node have not been seen yet")
    if standing.other_owners:
        return _Word(
            status=False,
            reason="OtherOwner",
            message=f"{_quoted(standing.other_owners)} would serve or change the same slices: nothing is done "
            "beside it; keep it off this node, or label the node knative-mig.dev/layout=static",
        )
    return _Word(status=True, reason="OnlyOwner")


def _spec(standing: Standing) -> _Word:
    if standing.layout is Layout.STATIC:
        return _Word(None, "StaticLayout", "an administrator chose the layout: specs are not applied")
    if standing.adopts_layout:  # before all else: the planner and the next agent know it from here
        return _Word(None, ADOPTS_LAYOUT, "the layout that is there is adopted: a spec of before it is not applied")
    if standing.other_owners:
        return _Word(status=False, reason="OtherOwner", message="nothing is changed beside another owner")
    if standing.spec_generation is None:
        return _Word(None, "NoSpecYet", "the API server has not told what is wanted")
    if standing.complaints:
        first = standing.complaints[0]
        return _Word(status=False, reason=first.reason, message=_quoted([each.message for each in standing.complaints]))
    if standing.observed_generation < standing.spec_generation:
        return _Word(None, "NotTakenUpYet", f"generation {standing.spec_generation} is being looked at")
    if standing.doing or not standing.settled:
        return _Word(status=False, reason="Changing", message=_quoted(standing.doing))
    return _Word(status=True, reason="Applied")


def _ready(standing: Standing, words: dict[ConditionType, _Word]) -> _Word:
    """One GPU that fails does not make the node unready: it is left out, the others are planned on."""
    if not standing.gpus and not standing.unnamed:
        return words[ConditionType.GPUS_HEALTHY]
    if all(gpu.health is not GpuHealth.HEALTHY for gpu in standing.gpus):
        return _Word(status=False, reason="NoHealthyGpu", message=words[ConditionType.GPUS_HEALTHY].message)
    if standing.layout is Layout.STATIC:
        return words[ConditionType.KUBELET_CONNECTED] if not standing.kubelet else _Word(status=True, reason="Ready")
    for kind in (ConditionType.NO_OTHER_OWNER, ConditionType.KUBELET_CONNECTED, ConditionType.JOURNAL_WRITABLE):
        if words[kind].status is not True:
            return words[kind]
    if not standing.processes_verified:
        return _Word(
            status=False,
            reason="ProcessesHidden",
            message="no process of the machine is seen (hostPID?): an empty list of processes would mean nothing",
        )
    return _Word(status=True, reason="Ready")


def _quoted(messages: Iterable[str]) -> str:
    kept = list(messages)
    more = f"; and {len(kept) - MOST_QUOTED} more" if len(kept) > MOST_QUOTED else ""
    return "; ".join(kept[:MOST_QUOTED]) + more
