"""What to do next to one GPU so that it becomes what the spec says: one action, or why nothing can be done now.

Called by `reconfigurer.agent.gpu_loop` after each reading; it carries the action out, reads again and asks again, so
nothing here is a plan that could go stale. Whatever the spec says, a slice that a container holds or a process is on
is left alone. An idle slice that is not wanted goes in two phases, and each phase is seen to have happened before the
next: withdrawn from the kubelet, no longer offered by it nor by the node's status, held by nobody *after* that,
without a process; only then destroyed. The driver's own IN_USE has the last word, and a refusal gives the slice back.

The subtle thing is a released slice: its pod still holds the id, nothing runs on it. It goes at once, since nobody
else can be given the id, but the same profile is not made at the same place again until the kubelet has dropped that
pod: the new slice would have the id that the old pod holds.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from knative_mig.core.agent.readings import (
    UNMARKED,
    Complaint,
    GpuReading,
    KubeletReading,
    Mark,
    NodeReading,
    SeenSlice,
    device_id,
)
from knative_mig.core.errors import BadInput
from knative_mig.core.geometry import GpuModel, Place
from knative_mig.core.gpu_node import GpuHealth, Holder, Layout, SliceId, SliceKey, WantedGpu
from knative_mig.core.profile import ProfileName

SHORTEST_BACK_OFF_S: Final = 1.0
LONGEST_BACK_OFF_S: Final = 60.0
PLACE_BUSY: Final = "PlaceBusy"  # somebody uses a slice that is to go
_NO_JOURNAL: Final = "the journal cannot be written"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackOff:
    """A place at which something was refused: it is left alone until then."""

    failures: int
    until: float
    reason: str  # CamelCase
    why: str


def back_off(before: BackOff | None, now: float, reason: str, why: str) -> BackOff:
    failures = before.failures + 1 if before else 1
    wait = min(SHORTEST_BACK_OFF_S * 2.0 ** min(failures - 1, 16), LONGEST_BACK_OFF_S)
    return BackOff(failures=failures, until=now + wait, reason=reason, why=why)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known beside the GPU itself."""

    layout: Layout = Layout.DYNAMIC
    kubelet: KubeletReading | None = None
    node: NodeReading | None = None
    marks: Mapping[SliceId, Mark] = field(default_factory=dict)
    back_offs: Mapping[SliceKey, BackOff] = field(default_factory=dict)
    spec_known: bool = True  # False: not told yet, or kept from the GPUs while another owner is on the node
    journal_writable: bool = True
    processes_verified: bool = True  # False: an empty list of processes may be blindness

    def mark(self, slice_id: SliceId) -> Mark:
        return self.marks.get(slice_id, UNMARKED)

    def holders(self, slice_id: SliceId) -> tuple[Holder, ...]:
        return self.kubelet.view.holders_of(slice_id) if self.kubelet else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EndRelease:
    slice_id: SliceId
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdraw:
    slice_id: SliceId
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    slice_id: SliceId
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteLowered:
    """Of a withdrawn slice: it is offered no more. Who holds it is asked of the kubelet once more after `at`."""

    slice_id: SliceId
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    place: Place
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishHalfMade:
    seen: SeenSlice
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveHalfMade:
    seen: SeenSlice
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Destroy:
    seen: SeenSlice
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """`until`: when the answer changes by itself; None: not before something else is read."""

    until: float | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    pass


Action = (
    EndRelease | Withdraw | Restore | NoteLowered | Create | FinishHalfMade | RemoveHalfMade | Destroy | Wait | Settled
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    action: Action
    complaints: tuple[Complaint, ...] = ()


def next_action(reading: GpuReading, wanted: WantedGpu | None, facts: Facts, now: float) -> Decision:
    if reading.model is None or reading.health is not GpuHealth.HEALTHY:
        why = f"{reading.uuid} is {reading.health}: {reading.why}"
        return Decision(action=Wait(until=None, why=why), complaints=(Complaint(reason="GpuUnusable", message=why),))
    if facts.layout is Layout.STATIC:
        return Decision(action=_left_alone(reading, facts, "the node's layout is static"))
    if wanted is None:
        if facts.spec_known and any(facts.mark(reading.slice_id(seen)).broken for seen in reading.slices):
            return _without_broken(reading, reading.model, facts, now)
        return Decision(action=_left_alone(reading, facts, "nothing is wanted of the GPU"))
    target, complaints = legal_places(reading, reading.model, wanted)
    return _Change(reading, reading.model, target, facts, now).decide(complaints)


def legal_places(
    reading: GpuReading, model: GpuModel, wanted: WantedGpu
) -> tuple[dict[SliceKey, Place], tuple[Complaint, ...]]:
    """The wanted slices that the GPU can have beside each other, the earlier in the spec first, and what is wrong
    with the others.
    """
    target: dict[SliceKey, Place] = {}
    complaints: list[Complaint] = []
    for each in wanted.slices:
        where = f"{reading.uuid}: {each.key}"
        try:
            place = model.place(model.profile(each.profile), each.start)
        except BadInput as error:
            complaints.append(Complaint(reason="IllegalPlacement", message=f"{reading.uuid}: {error}"))
            continue
        clash = next((other for other in target.values() if other.mask & place.mask), None)
        in_the_way = next((other for other in reading.foreign if other.mask(model) & place.mask), None)
        if each.size != place.profile.memory_units:
            message = f"{where} takes {place.profile.memory_units} memory units, the spec says {each.size}"
            complaints.append(Complaint(reason="WrongSize", message=message))
        elif clash is not None:
            complaints.append(
                Complaint(reason="Overlap", message=f"{where} overlaps {clash}, which the spec wants too")
            )
        elif in_the_way is not None:
            message = f"{where} overlaps what was not made here: {in_the_way.why}"
            complaints.append(Complaint(reason="ForeignInTheWay", message=message))
        else:
            target[each.key] = place
    return target, tuple(complaints)


def _left_alone(reading: GpuReading, facts: Facts, why: str) -> Action:
    """What was begun is given up, and nothing else is done."""
    for seen in reading.slices:
        slice_id = reading.slice_id(seen)
        if facts.mark(slice_id).withdrawn_since is not None:
            return Restore(slice_id=slice_id, why=why)
    return _release_that_ended(reading, facts) or Settled()


def _without_broken(reading: GpuReading, model: GpuModel, facts: Facts, now: float) -> Decision:
    """Of a GPU that the spec does not name the broken slices go when nobody has them, as no use of them is left; the
    rest stays as it is, half made ones too: an administrator may be at work.
    """
    whole = tuple(seen for seen in reading.slices if not seen.half_made)
    kept = {_key(seen.place): seen.place for seen in whole if not facts.mark(reading.slice_id(seen)).broken}
    return _Change(replace(reading, slices=whole), model, kept, facts, now).decide(())


def _release_that_ended(reading: GpuReading, facts: Facts) -> EndRelease | None:
    read_at = reading.read_at
    for slice_id, mark in sorted(facts.marks.items()):
        if slice_id.gpu != reading.uuid or mark.release is None:
            continue
        seen = reading.find(slice_id)
        if seen is not None and seen.pids and seen.mig_uuid == mark.release.mig_uuid and mark.release.since < read_at:
            return EndRelease(slice_id=slice_id, why=f"{_listed(seen.pids)} came back to it")
        asked = facts.kubelet is not None and facts.kubelet.asked_at > mark.release.since
        if asked and not facts.holders(slice_id):
            return EndRelease(slice_id=slice_id, why="the kubelet has dropped its pod")
    return None


class _Change:
    """One question about one GPU."""

    def __init__(
        self, reading: GpuReading, model: GpuModel, target: Mapping[SliceKey, Place], facts: Facts, now: float
    ) -> None:
        self.reading, self.model, self.target, self.facts, self.now = reading, model, target, facts, now
        self.whole = [seen for seen in reading.slices if not seen.half_made]
        self.half_made = [seen for seen in reading.slices if seen.half_made]
        self.leaving = [seen for seen in self.whole if self._why_leaving(seen)]
        self.waits: list[Wait] = []

    def decide(self, complaints: tuple[Complaint, ...]) -> Decision:
        action = self._first()
        said = (*complaints, *self._kept())
        if action is None:
            moments = [wait.until for wait in self.waits if wait.until is not None]
            why = "; ".join(dict.fromkeys(wait.why for wait in self.waits))
            action = Wait(until=min(moments, default=None), why=why) if self.waits else Settled()
        return Decision(action=action, complaints=said)

    def _first(self) -> Action | None:
        """In this order: what takes no time, so that each slice that is to go starts its way out at once; then what
        can be made without waiting for anything; then what is ready to go, the places that are wanted first.
        """
        found = _release_that_ended(self.reading, self.facts) or self._restored() or self._withdrawn()
        if found is not None:
            return found
        if not self.facts.journal_writable:
            if self._unfinished():
                self.waits.append(Wait(until=None, why=_NO_JOURNAL))
            return None
        return self._made() or self._removed() or self._destroyed()

    def _unfinished(self) -> bool:
        missing = self.target.keys() - {_key(seen.place) for seen in self.whole}
        return bool(missing or self.leaving or self.half_made)

    def _restored(self) -> Restore | None:
        for seen in self.whole:
            slice_id = self.reading.slice_id(seen)
            if self.facts.mark(slice_id).withdrawn_since is None:
                continue
            if seen not in self.leaving:
                return Restore(slice_id=slice_id, why="it is wanted again")
            if (user := self._user(seen)) and not self.facts.mark(slice_id).broken:
                return Restore(slice_id=slice_id, why=f"{user} has it")
            if refused := self._refused(seen.place):
                return Restore(slice_id=slice_id, why=refused.why)
            if not self.facts.journal_writable and not self.facts.mark(slice_id).broken:
                return Restore(slice_id=slice_id, why=_NO_JOURNAL)
        return None

    def _withdrawn(self) -> Withdraw | None:
        """A kubelet that is away is waited for first: withdrawn slices would be lost to all while it is."""
        for seen in self.leaving:
            slice_id, why = self.reading.slice_id(seen), self._why_leaving(seen)
            mark = self.facts.mark(slice_id)
            if mark.withdrawn_since is not None or self._released(seen) or self._user(seen):
                continue
            if refused := self._refused(seen.place):
                self.waits.append(Wait(until=refused.until, why=f"{slice_id}: {refused.why}"))
            elif self.facts.kubelet is None:
                self.waits.append(Wait(until=None, why="the kubelet does not answer"))
            elif self.facts.journal_writable:
                return Withdraw(slice_id=slice_id, why=why)
        return None

    def _made(self) -> Action | None:
        taken = 0
        for seen in self.reading.slices:
            taken |= seen.place.mask
        here = {_key(seen.place): seen for seen in self.reading.slices}
        for key, place in sorted(self.target.items(), key=lambda item: (item[1].start, item[0])):
            slice_id = SliceId(gpu=self.reading.uuid, profile=key.profile, start=key.start)
            found = here.get(key)
            if place.mask & taken if found is None else not found.half_made:
                continue
            if refused := self._refused(place):
                self.waits.append(Wait(until=refused.until, why=f"{slice_id}: {refused.why}"))
            elif self.facts.mark(slice_id).release is not None:
                self.waits.append(Wait(until=None, why=f"{slice_id} is still counted for the pod that released it"))
            elif found is not None:
                return FinishHalfMade(seen=found, why="it is wanted and has no compute instance")
            else:
                return Create(place=place, why="it is wanted and its place is free")
        return None

    def _removed(self) -> RemoveHalfMade | None:
        """A GPU instance without a compute instance runs nothing and can be given to nobody, whoever held it."""
        for seen in self.half_made:
            if _key(seen.place) in self.target:
                continue
            if refused := self._refused(seen.place):
                self.waits.append(Wait(until=refused.until, why=f"{seen.place}: {refused.why}"))
            else:
                return RemoveHalfMade(seen=seen, why="it is not wanted and has no compute instance")
        return None

    def _destroyed(self) -> Action | None:
        wanted = 0
        for place in self.target.values():
            wanted |= place.mask
        for seen in sorted(self.leaving, key=lambda seen: not seen.place.mask & wanted):
            slice_id = self.reading.slice_id(seen)
            if self._user(seen) or self._refused(seen.place):
                continue
            stage = "" if self._released(seen) else self._stage(seen, slice_id)
            if isinstance(stage, NoteLowered):
                return stage
            stage = stage or self._unseen(seen, slice_id)
            if not stage:
                return Destroy(seen=seen, why=self._why_leaving(seen))
            self.waits.append(Wait(until=None, why=f"{slice_id}: {stage}"))
        return None

    def _stage(self, seen: SeenSlice, slice_id: SliceId) -> str | NoteLowered:
        """What a withdrawn slice still waits for; empty: nobody can come any more, and nobody came."""
        mark, kubelet, node = self.facts.mark(slice_id), self.facts.kubelet, self.facts.node
        since = mark.withdrawn_since
        if since is None:
            return "it is not withdrawn yet"
        if kubelet is None:
            return "the kubelet does not answer"
        if kubelet.asked_at <= since or device_id(slice_id) in kubelet.view.allocatable:
            return "the kubelet still offers it"
        offered = _offered(kubelet, seen.place.profile.name)
        if node is None or node.asked_at <= since or node.allocatable.get(slice_id.profile, 0) > offered:
            return "the node's status still offers it"
        if mark.lowered_at is None:
            return NoteLowered(slice_id=slice_id, at=max(kubelet.asked_at, node.asked_at))
        if kubelet.asked_at <= mark.lowered_at:
            return "the kubelet is to be asked once more who holds it"
        return ""

    def _unseen(self, seen: SeenSlice, slice_id: SliceId) -> str:
        if seen.pids is None:
            return "its processes cannot be listed"
        if self.facts.mark(slice_id).held_before and not self.facts.processes_verified:
            return "a container had it, and no process has been seen here yet: an empty list may be blindness"
        return ""

    def _kept(self) -> Iterator[Complaint]:
        """Slices that stay against the spec, and places at which nothing could be made."""
        for seen in self.leaving:
            slice_id = self.reading.slice_id(seen)
            blocked = [str(place) for place in self.target.values() if place.mask & seen.place.mask]
            instead = f", so {', '.join(blocked)} cannot be made" if blocked else ", though the spec does not want it"
            if user := self._user(seen):
                yield Complaint(reason=PLACE_BUSY, message=f"{slice_id} stays{instead}: {user} has it")
            elif refused := self._refused(seen.place):
                yield Complaint(reason=refused.reason, message=f"{slice_id} stays{instead}: {refused.why}")

        here = {_key(seen.place) for seen in self.whole}
        for key, place in self.target.items():
            if key not in here and (refused := self._refused(place)):
                yield Complaint(reason=refused.reason, message=f"{self.reading.uuid}: {place}: {refused.why}")

    def _why_leaving(self, seen: SeenSlice) -> str:
        slice_id = self.reading.slice_id(seen)
        broken = self.facts.mark(slice_id).broken
        if self.target.get(slice_id.key) is None:
            return f"it is broken: {broken}" if broken else "it is not wanted"
        return f"it is to be made anew: {broken}" if broken else ""

    def _released(self, seen: SeenSlice) -> bool:
        release = self.facts.mark(self.reading.slice_id(seen)).release
        return release is not None and release.mig_uuid == seen.mig_uuid

    def _user(self, seen: SeenSlice) -> str:
        """Who makes it busy; empty: nobody."""
        slice_id = self.reading.slice_id(seen)
        released = self._released(seen)
        holders = self.facts.holders(slice_id)
        if holders and not released:
            return ", ".join(f"{each.namespace}/{each.pod}" for each in holders)
        if seen.pids:
            return _listed(seen.pids)
        if not released and self.facts.mark(slice_id).just_handed_out(self.now):
            self.waits.append(Wait(until=self.now + 1.0, why=f"{slice_id} was handed out a moment ago"))
            return "a container that is about to start"
        return ""

    def _refused(self, place: Place) -> BackOff | None:
        found = self.facts.back_offs.get(_key(place))
        return found if found is not None and self.now < found.until else None


def _key(place: Place) -> SliceKey:
    return SliceKey(profile=place.profile.name, start=place.start)


def _offered(kubelet: KubeletReading, profile: ProfileName) -> int:
    """How many of a profile the kubelet holds for healthy, on all GPUs of the node."""
    infix = f"/{profile}/"
    return sum(infix in each for each in kubelet.view.allocatable)


def _listed(pids: Sequence[int]) -> str:
    return f"pid {', '.join(map(str, pids))}"
