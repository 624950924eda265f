"""How far a function's cold start has come, told phase by phase from what the API shows of it.

Called by `phases` with what its mirrors hold whenever that changes. The subtle thing is the beginning: what was there
before the request was sent is no news, so a slice counts as planned for it only if nobody wanted it then, and as idle
only if it was not made for a replica that waited already; of a function that has a ready one there is nothing to tell.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from knative_mig.adapters.kube import parse
from knative_mig.adapters.kube.fields import Fields
from knative_mig.cli import silence
from knative_mig.cli.pod_trouble import that_lasts
from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.gpu_node import GpuNode, SliceId, SliceState, SliceStatus

SILENT_S: Final = 5.0  # so long nobody is told that the planner says nothing: it may be about to


class Phase(StrEnum):
    """The words of the walk, as far as they can be seen from outside."""

    HELD = "held"
    PENDING = "pending"
    PLANNED = "planned"
    SLICED = "slice"
    STARTED = "started"
    READY = "ready"
    WAITS = "waits"  # no phase: why it does not go on


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    facts: PodFacts
    running: bool  # each of its containers
    trouble: str  # why it does not start


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    replicas: Sequence[Replica]
    nodes: Sequence[GpuNode]


@dataclass(frozen=True, slots=True)
class Line:
    phase: Phase
    detail: str = ""


def replica(body: Mapping[str, Any]) -> Replica:
    """BadInput: it is no pod."""
    status = Fields(body).child("status")
    containers = status.children("containerStatuses")
    return Replica(
        facts=parse.pod(body),
        running=bool(containers) and all("running" in each.child("state").values for each in containers),
        trouble=that_lasts(status),
    )


@dataclass(slots=True)
class ColdStart:
    """Begun with what is seen before the request is sent."""

    before: Seen
    told: set[Line] = field(default_factory=set)
    reached: set[Phase] = field(default_factory=set)
    silent: tuple[str, ...] = ()  # what those wait for of which the planner has said nothing
    silent_since: float = 0.0

    @property
    def is_warm(self) -> bool:
        return any(each.facts.ready for each in _living(self.before))

    def look(self, seen: Seen, now: float) -> list[Line]:
        """What is new, in the order in which it comes about. `now`: by any clock that runs on."""
        if self.is_warm or Phase.READY in self.reached:
            return []
        found = [*self._all(seen), *self._unsaid(seen, now)]
        lines = [line for line in found if self._is_new(line) and not self._is_early(line, found, seen)]
        self.told.update(lines)
        self.reached.update(line.phase for line in lines)
        return lines

    def _is_new(self, line: Line) -> bool:
        """A phase is told once; reasons to wait are, each."""
        return line not in self.told and (line.phase is Phase.WAITS or line.phase not in self.reached)

    def _is_early(self, line: Line, found: Sequence[Line], seen: Seen) -> bool:
        """A pod may be seen to run before its slice is seen, for they are told apart; its readiness is worth more."""
        phases = {each.phase for each in found} | self.reached
        nodes = {each.name for each in seen.nodes}
        is_due = any(each.facts.wants and each.facts.node in nodes for each in _living(seen))
        return line.phase is Phase.STARTED and is_due and not phases & {Phase.SLICED, Phase.READY}

    def _all(self, seen: Seen) -> Iterator[Line]:
        replicas = list(_living(seen))
        if not replicas:
            return
        wants = {profile for each in replicas for profile in each.facts.wants}
        yield Line(Phase.PENDING, self._pending(replicas))
        for each in replicas:
            facts = each.facts
            if facts.told is not None and facts.told.status is False and facts.node is None:
                yield Line(Phase.WAITS, f"{facts.told.reason}: {facts.told.message}".removesuffix(": "))
        planned = {slice_id: node for node, slice_id in _wanted(seen) if slice_id.profile in wants}
        news = [slice_id for slice_id in planned if slice_id not in {old for _, old in _wanted(self.before)}]
        for slice_id in news[:1]:
            yield Line(Phase.PLANNED, f"{slice_id.key} on {planned[slice_id]}{self._instead(seen, slice_id)}")
        names = {(each.facts.namespace, each.facts.name) for each in replicas}
        for node, slice_id, is_ours in _usable(seen, names):
            if slice_id in news or is_ours:
                was = "" if slice_id in news else self._was(slice_id, names)
                yield Line(Phase.SLICED, f"{slice_id.key} on {node}{was}")
        yield from _starts(replicas)

    def _unsaid(self, seen: Seen, now: float) -> Iterator[Line]:
        found = tuple(dict.fromkeys(silence.of_pod(each.facts, seen.nodes) for each in _living(seen)))
        waits_for = tuple(each.partition(";")[0] for each in found)  # agents say now this, now that of the same
        if waits_for != self.silent:
            self.silent, self.silent_since = waits_for, now
        elif now - self.silent_since >= SILENT_S:
            yield from (Line(Phase.WAITS, each) for each in found if each)

    def _pending(self, replicas: Sequence[Replica]) -> str:
        """Each that wants something else: those of one Revision are alike."""
        there = {each.facts.uid: each.facts.node for each in _living(self.before) if each.facts.node is not None}
        found: dict[str, str] = {}
        for each in (each.facts for each in replicas):
            sizes = ", ".join(sorted(map(str, each.wants)))
            waits = f"{each.name} waits for {sizes}" if sizes else each.name
            found.setdefault(sizes, f"{each.name} is on {there[each.uid]} already" if each.uid in there else waits)
        return "; ".join(found.values())

    def _was(self, slice_id: SliceId, pods: set[tuple[str, str]]) -> str:
        """Of one that was wanted before the request was sent."""
        found = [each for _, other, each in _made(self.before) if other == slice_id]
        if not found:
            return ""  # it was being made
        if _is_of(found[0], pods):
            return ", which it had already"
        is_for_others = found[0].last_holder is not None or not any(_living(self.before))
        return ", which was idle" if found[0].state is SliceState.IDLE and is_for_others else ""

    def _instead(self, seen: Seen, slice_id: SliceId) -> str:
        still = {each for _, each in _wanted(seen)}
        gone = sorted(
            (each for _, each in _wanted(self.before) if each.gpu == slice_id.gpu and each not in still),
            key=lambda each: each.start,
        )
        return f", in place of {' and '.join(str(each.key) for each in gone)}" if gone else ""


def _starts(replicas: Sequence[Replica]) -> Iterator[Line]:
    for each in replicas:
        if each.running:
            yield Line(Phase.STARTED, each.facts.name)
    for each in replicas:
        if each.trouble:
            yield Line(Phase.WAITS, each.trouble)
    for each in replicas:
        if each.facts.ready:
            yield Line(Phase.READY, each.facts.name)


def _living(seen: Seen) -> Iterable[Replica]:
    found = [each for each in seen.replicas if each.facts.ends_at is None]
    return sorted(found, key=lambda each: (each.facts.created, each.facts.name))


def _wanted(seen: Seen) -> Iterator[tuple[str, SliceId]]:
    for node in seen.nodes:
        for gpu in node.spec.gpus:
            for each in gpu.slices:
                yield node.name, SliceId(gpu=gpu.uuid, profile=each.profile, start=each.start)


def _usable(seen: Seen, pods: set[tuple[str, str]]) -> Iterator[tuple[str, SliceId, bool]]:
    """Slices that are made, with whether one of these pods has it."""
    for node, slice_id, each in _made(seen):
        if each.state in (SliceState.IDLE, SliceState.BUSY):
            yield node, slice_id, _is_of(each, pods)


def _made(seen: Seen) -> Iterator[tuple[str, SliceId, SliceStatus]]:
    for node in seen.nodes:
        for gpu in node.status.gpus if node.status else ():
            for each in gpu.slices:
                yield node.name, SliceId(gpu=gpu.uuid, profile=each.key.profile, start=each.key.start), each


def _is_of(slice_: SliceStatus, pods: set[tuple[str, str]]) -> bool:
    return any((holder.namespace, holder.pod) in pods for holder in slice_.holders)
