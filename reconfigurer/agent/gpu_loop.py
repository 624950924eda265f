"""One GPU of a node: read it, decide, do one thing, read it again.

`step` is called over and over by a thread of its own (`process` makes it), and by tests with a clock of theirs. What
to do is decided in `core.agent.layout_change`, what an interrupted change means in `core.agent.recovery`; here it is
carried out: written to the journal before and after, published for containers, told on the board.

The subtle thing is a call whose outcome is not known, because it failed half way or hung and its worker was killed. Its
intent stays open, the GPU is read, and the intent is judged as after a restart of the whole agent: there is one way to
recover, and it is used every day.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Protocol

from knative_mig.core.agent import devices, health, layout_change, recovery
from knative_mig.core.agent.layout_change import Decision, Facts, back_off
from knative_mig.core.agent.readings import GpuReading, KubeletView, Mark, SeenForeign, SeenSlice
from knative_mig.core.errors import GpuError, GpuTimeout, SliceInUse
from knative_mig.core.geometry import Place
from knative_mig.core.gpu_node import GpuHealth, Holder, JournalState, Layout, SliceId, SliceKey, WantedGpu
from knative_mig.core.inventory import GpuUuid
from knative_mig.ports.gpu import (
    Gpu,
    GpuDriver,
    GpuInstance,
    HealthEvent,
    SliceProcess,
    create_slice,
    destroy_slice,
)
from knative_mig.ports.injection import SliceInjection
from knative_mig.ports.journal import Intent, Journal, JournalUnwritable, Operation
from reconfigurer.agent.board import Board, Journalled, Progress, Snapshot
from reconfigurer.agent.published_slices import PublishedSlices

READ_EVERY_S: Final = 2.0  # what an administrator or an application changes is seen this late
READ_SOON_S: Final = 0.25  # while a pod that was in the way ends: its processes go a moment before or after it
FRESH_S: Final = 0.1  # a reading this young, taken after the last change, is not repeated for the next one
HEAR_EVERY_S: Final = 0.25  # a question to the worker, and other GPUs' changes wake this loop many times a second
HEAR_AT_LEAST_EACH_S: Final = 1.0  # also while one thing after another is done
_LOG = logging.getLogger(__name__)


class Kind(StrEnum):
    CREATED = "Created"
    FINISHED = "Finished"
    DESTROYED = "Destroyed"
    REMOVED = "Removed"
    IN_USE = "InUse"  # a destroy was refused: a process is on the slice
    HANDLE_HELD = "HandleHeld"  # refused, and no process is listed: a monitor such as DCGM has it open
    FAILED = "Failed"
    TIMED_OUT = "TimedOut"
    RECOVERED = "Recovered"
    XID = "Xid"
    QUARANTINED = "Quarantined"
    HEALED = "Healed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """For metrics and events."""

    kind: Kind
    gpu: GpuUuid
    key: SliceKey | None = None
    why: str = ""
    seconds: float = 0.0


class QuarantineBook(Protocol):
    """The quarantines that outlive the agent. Where the disk takes nothing they do not, and no call fails."""

    def quarantine(self, gpu: GpuUuid) -> health.Quarantine | None: ...

    def quarantined(self, gpu: GpuUuid, quarantine: health.Quarantine) -> None: ...

    def over(self, gpu: GpuUuid) -> None: ...

    def try_again(self) -> None: ...


def nobody_listens(_: Happened) -> None:
    pass


class GpuLoop:
    def __init__(
        self,
        uuid: GpuUuid,
        *,
        driver: GpuDriver,
        journal: Journal,
        board: Board,
        injection: SliceInjection,
        ill: QuarantineBook,
        boot_id: str,
        clock: Callable[[], float],
        layout: Layout = Layout.DYNAMIC,
        intents: Sequence[Intent] = (),
        happened: Callable[[Happened], None] = nobody_listens,
    ) -> None:
        """`intents`: what the journal held when it was opened, of whichever GPU. `clock`: the one by which the board's
        marks are dated; it never goes back.
        """
        self._uuid, self._driver, self._journal = uuid, driver, journal
        self._board, self._boot_id = board, boot_id
        self._clock, self._layout, self._happened = clock, layout, happened
        self._unsettled = [each for each in intents if each.gpu == uuid]
        self._heard_at = float("-inf")
        self._deaf = ""  # why events could not be heard the last time
        self._settled_by: tuple[object, ...] | None = None
        self._reading: GpuReading | None = None
        self._held: frozenset[tuple[str, Holder]] = frozenset()
        self._in_the_way, self._left_at = False, float("-inf")  # whether a slice is, and when one was let go last
        self._instances: dict[SliceKey, GpuInstance] = {}
        self._back_offs: dict[SliceKey, layout_change.BackOff] = {}
        self._published = PublishedSlices(uuid, injection)
        self._ill, of_before = ill, ill.quarantine(uuid)
        self._quarantine = of_before.go_on(clock()) if of_before is not None else None

    def step(self, now: float) -> float:
        """Do the next thing; answers in how many seconds there may be another without news from the board."""
        if now >= self._heard_at + HEAR_AT_LEAST_EACH_S:
            self._hear_events()
        self._note_who_left(now)
        if self._reading is None or now >= self._read_due_at() or self._released_since():
            self._read()
        assert self._reading is not None
        if self._settled_by is not None and self._settled_by == self._facts_that_settle(self._board.snapshot()):
            return self._rest(now, None)
        self._settle()
        self._try_journal()
        snapshot = self._board.snapshot()
        decision = self._decide(snapshot)
        if isinstance(decision.action, _CUTS) and not self._just_read(snapshot):
            self._read()
            snapshot = self._board.snapshot()
            decision = self._decide(snapshot)
        self._tell(decision, snapshot)  # a call that hangs is told while it does
        acted = self._act(decision)
        self._in_the_way = any(each.reason == layout_change.PLACE_BUSY for each in decision.complaints)
        settled = isinstance(decision.action, layout_change.Settled)
        self._settled_by = self._facts_that_settle(snapshot) if settled else None
        if acted:
            return 0.0
        return self._rest(now, decision.action.until if isinstance(decision.action, layout_change.Wait) else None)

    def _rest(self, now: float, until: float | None) -> float:
        """Nobody waits for an answer of this GPU's, so its events are heard now."""
        if now >= self._heard_at + HEAR_EVERY_S and self._hear_events():
            return 0.0
        read_at = self._read_due_at()
        return max((read_at if until is None else min(read_at, until)) - self._clock(), 0.01)

    def _read_due_at(self) -> float:
        assert self._reading is not None
        soon = self._in_the_way and self._reading.read_at < self._left_at + READ_EVERY_S
        return self._reading.read_at + (READ_SOON_S if soon else READ_EVERY_S)

    def _note_who_left(self, now: float) -> None:
        held = self._held_in(self._board.snapshot())
        if self._held - held:
            self._left_at = now
        self._held = held

    def _held_in(self, snapshot: Snapshot) -> frozenset[tuple[str, Holder]]:
        view = snapshot.kubelet.view if snapshot.kubelet is not None else KubeletView()
        ours = ((each, by) for each, by in view.holders.items() if each.startswith(f"{self._uuid}/"))
        return frozenset((device, holder) for device, held_by in ours for holder in held_by)

    def matters(self, known: Snapshot, now: Snapshot) -> bool:
        """Whether there may be something to do that was not there before. What this loop puts on the board itself is no
        news to it, other GPUs are not its business, and one that is as it should be waits for nothing from outside.
        """
        if now.spec is not known.spec or now.processes_verified is not known.processes_verified:
            return True
        if now.journal.state is not known.journal.state:
            return True
        if now.kubelet is not known.kubelet and self._in_the_way and self._held_in(now) != self._held:
            return True
        outside = now.kubelet is not known.kubelet or now.node is not known.node
        return (outside and self._settled_by is None) or self._marks_of(now) != self._marks_of(known)

    # Reading

    def _read(self) -> None:
        """What containers need of a slice is there before the slice is on the board, as it is offered from then on."""
        self._ill.try_again()
        before = self._reading or GpuReading(uuid=self._uuid, read_at=self._clock())
        kubelet = self._board.snapshot().kubelet
        try:
            read = self._driver.occupancy(self._uuid)
        except GpuError as error:
            if self._quarantine is not None:
                self._quarantine = replace(self._quarantine, failed_since=True)
            self._put(before.unreadable(health.health_of(error), str(error), self._clock()))
            return
        gpu = read.gpu
        self._instances = {_key(each.place): each for each in gpu.instances}
        slices = tuple(_seen(each, _pids(each, read.processes.get(each.gi_id, ()))) for each in gpu.instances)
        self._heal(gpu, slices)
        reading = self._judged(gpu, self._published.follow(slices))
        self._put(reading)
        marks = self._board.snapshot().marks
        self._board.put_of_no_pod(self._uuid, devices.of_no_pod(reading, kubelet, marks, self._clock()))

    def _released_since(self) -> bool:
        """A slice was released after the last reading, which may still show its processes."""
        assert self._reading is not None
        read_at = self._reading.read_at
        marks = self._board.snapshot().marks.items()
        return any(each.gpu == self._uuid and mark.release and mark.release.since >= read_at for each, mark in marks)

    def _judged(self, gpu: Gpu, slices: tuple[SeenSlice, ...]) -> GpuReading:
        state, why = health.health_of_mode(current=gpu.mode.current, pending=gpu.mode.pending)
        if self._quarantine is not None and state is GpuHealth.HEALTHY:
            state, why = GpuHealth.RESET_REQUIRED, self._quarantine.why
        elif gpu.wants_reset and state is GpuHealth.HEALTHY:
            state, why = GpuHealth.RESET_REQUIRED, "the driver says so"
        return GpuReading(
            uuid=self._uuid,
            read_at=self._clock(),
            product=gpu.product,
            model=gpu.model,
            health=state,
            why=why,
            slices=slices,
            foreign=tuple(
                SeenForeign(gi_id=each.gi_id, start=each.start, size=each.size, why=each.why) for each in gpu.foreign
            ),
        )

    def _put(self, reading: GpuReading) -> None:
        """What was remembered of a slice that is gone, or made anew, is forgotten with it."""
        before = self._reading
        self._reading = reading
        self._board.put_reading(reading)
        self._tell_of_health(before, reading)
        if before is None:
            return
        for seen in before.slices:
            slice_id = reading.slice_id(seen)
            now = reading.find(slice_id)
            if now is None or now.mig_uuid != seen.mig_uuid:
                self._board.forget(slice_id)

    # Health

    def _tell_of_health(self, before: GpuReading | None, reading: GpuReading) -> None:
        """Each change once, whatever it was seen by; one that is ill at the start is news too."""
        was = before.health if before is not None else GpuHealth.HEALTHY
        if reading.health is was:
            return
        if reading.health is GpuHealth.HEALTHY:
            assert before is not None
            kind, why = Kind.HEALED, f"it is well again after it was {before.health}: {before.why}"
        else:
            kind, why = Kind.QUARANTINED, f"it is {reading.health}: {reading.why}"
        self._happened(Happened(kind=kind, gpu=self._uuid, why=why))

    def _hear_events(self) -> bool:
        """Whether there was one."""
        self._heard_at, heard = self._clock(), False
        try:
            while (event := self._driver.wait_for_event(0)) is not None:
                if event.gpu == self._uuid:
                    heard = True
                    self._hear(event)
            self._deaf = ""
        except GpuError as error:
            if str(error) != self._deaf:
                self._deaf = str(error)
                _LOG.warning("Events of %s cannot be heard: %s", self._uuid, error)
        return heard

    def _hear(self, event: HealthEvent) -> None:
        """What an XID says is kept before anything follows from it: it is raised once, and the agent may end here."""
        verdict = health.verdict(event.xid)
        of_slice = verdict.harm is health.Harm.SLICE and event.gi_id is not None
        quarantines = verdict.harm is not health.Harm.NONE and not of_slice
        _LOG.warning("%s on %s, GPU instance %s", verdict.why, self._uuid, event.gi_id)
        if quarantines and self._quarantine is None:
            self._ill.quarantined(self._uuid, self._quarantine_of_now(verdict.why))
        if verdict.harm is not health.Harm.NONE and event.gi_id is not None:
            self._read()  # by a reading of before the event the id may be another slice's
        slices = self._reading.slices if self._reading else ()
        struck = next((each for each in slices if event.gi_id is not None and each.gi_id == event.gi_id), None)
        key = _key(struck.place) if struck else None
        if of_slice and key is not None:
            self._board.break_slice(self._id(key), verdict.why)
        self._happened(Happened(kind=Kind.XID, gpu=self._uuid, key=key, why=verdict.why))
        if quarantines:
            self._set_quarantine(verdict.why)

    def _set_quarantine(self, why: str) -> None:
        if self._quarantine is None:
            self._read()
            self._quarantine = self._quarantine_of_now(why)
            self._ill.quarantined(self._uuid, self._quarantine)
            self._read()

    def _quarantine_of_now(self, why: str) -> health.Quarantine:
        return health.Quarantine(
            why=why, since=self._clock(), mig_uuids=_mig_uuids(self._reading.slices if self._reading else ())
        )

    def _heal(self, gpu: Gpu, slices: tuple[SeenSlice, ...]) -> None:
        if self._quarantine is None:
            return
        quarantine = self._quarantine.seen(wants_reset=gpu.wants_reset)
        self._quarantine = quarantine
        if quarantine.over(_mig_uuids(slices), wants_reset=gpu.wants_reset, now=self._clock()):
            self._quarantine = None
            self._ill.over(self._uuid)

    # The journal

    def _settle(self) -> None:
        """Intents whose outcome is not known; those that cannot be judged or mended now stay for the next step."""
        if not self._unsettled:
            return
        assert self._reading is not None
        by_number = {each.number: each for each in self._unsettled}
        wanted = self._wanted(self._board.snapshot())
        for judgement in recovery.judge(
            [_open_intent(each) for each in self._unsettled], self._reading, wanted, self._boot_id
        ):
            intent = by_number[judgement.number]
            if judgement.remedy is recovery.Remedy.KEEP_OPEN:
                continue
            refused = self._back_offs.get(intent.slice)
            if judgement.remedy is not recovery.Remedy.CLOSE and refused and self._clock() < refused.until:
                continue
            _LOG.info("Recovering: %s", judgement.why)
            try:
                self._mend(intent, judgement)
                self._journal.done(intent)
            except GpuError as error:
                self._refused(intent.slice, error)
                continue
            except JournalUnwritable as error:
                self._unwritable(error)
                continue
            self._unsettled.remove(intent)
            self._happened(Happened(kind=Kind.RECOVERED, gpu=self._uuid, key=intent.slice, why=judgement.why))
        self._put_journal()

    def _mend(self, intent: Intent, judgement: recovery.Judgement) -> None:
        if judgement.remedy is recovery.Remedy.CLOSE:
            return
        instance = self._instances[intent.slice]
        if judgement.remedy is recovery.Remedy.FINISH:
            self._driver.create_compute_instance(instance)
        else:
            self._driver.destroy_gpu_instance(instance)
        self._read()

    def _try_journal(self) -> None:
        journal = self._board.snapshot().journal
        if journal.state is JournalState.UNWRITABLE and self._journal.writable():
            _LOG.info("The journal can be written again")
            self._board.put_journal(Journalled(state=JournalState.RECOVERING, open_intents=journal.open_intents))
        self._put_journal()

    def _put_journal(self) -> None:
        known = self._board.snapshot().journal
        left = self._journal.open_intents()
        state = JournalState.CLEAN if known.state is JournalState.RECOVERING and left == 0 else known.state
        self._board.put_journal(replace(known, state=state, open_intents=left))

    def _unwritable(self, error: JournalUnwritable) -> None:
        _LOG.error("Nothing is made or destroyed: %s", error)
        left = self._journal.open_intents()
        self._board.put_journal(Journalled(state=JournalState.UNWRITABLE, open_intents=left, why=str(error)))

    # Deciding and doing

    def _decide(self, snapshot: Snapshot) -> Decision:
        assert self._reading is not None
        facts = Facts(
            layout=self._layout,
            kubelet=snapshot.kubelet,
            node=snapshot.node,
            marks=snapshot.marks,
            back_offs=self._back_offs,
            spec_known=snapshot.spec is not None,
            journal_writable=snapshot.journal.state is not JournalState.UNWRITABLE,
            processes_verified=snapshot.processes_verified,
        )
        return layout_change.next_action(self._reading, self._wanted(snapshot), facts, self._clock())

    def _just_read(self, snapshot: Snapshot) -> bool:
        """Since the kubelet was last asked who holds what: whoever came to a slice later is refused by the driver."""
        assert self._reading is not None
        read_at = self._reading.read_at
        asked_at = snapshot.kubelet.asked_at if snapshot.kubelet is not None else float("-inf")
        return asked_at < read_at and self._clock() < read_at + FRESH_S

    def _facts_that_settle(self, snapshot: Snapshot) -> tuple[object, ...] | None:
        """While these stay the same, a GPU that is as it should be stays so, and whatever woke this loop was about
        another one. None: there is more to look at.
        """
        marks = self._marks_of(snapshot)
        if self._unsettled or any(mark.release or mark.withdrawn_since is not None for _, mark in marks):
            return None
        if snapshot.journal.state not in {JournalState.CLEAN, JournalState.REBUILT}:
            return None
        held = self._held_in(snapshot) if self._in_the_way else None
        return snapshot.spec, self._reading, marks, snapshot.journal.state, snapshot.processes_verified, held

    def _marks_of(self, snapshot: Snapshot) -> tuple[tuple[SliceId, Mark], ...]:
        return tuple(item for item in snapshot.marks.items() if item[0].gpu == self._uuid)

    def _wanted(self, snapshot: Snapshot) -> WantedGpu | None:
        return snapshot.spec.spec.wanted(self._uuid) if snapshot.spec is not None else None

    def _act(self, decision: Decision) -> bool:
        match decision.action:
            case layout_change.Settled() | layout_change.Wait():
                return False
            case layout_change.Withdraw(slice_id=slice_id, why=why):
                _LOG.info("Taking %s back from the kubelet: %s", slice_id, why)
                self._board.withdraw(slice_id, self._clock())
            case layout_change.Restore(slice_id=slice_id, why=why):
                _LOG.info("Giving %s back to the kubelet: %s", slice_id, why)
                self._board.restore(slice_id)
            case layout_change.NoteLowered(slice_id=slice_id, at=at):
                self._board.note_lowered(slice_id, at)
            case layout_change.EndRelease(slice_id=slice_id, why=why):
                return self._end_release(slice_id, why)
            case layout_change.Create(place=place, why=why):
                self._cut(Kind.CREATED, Operation.CREATE, place, None, why)
            case layout_change.FinishHalfMade(seen=seen, why=why):
                self._cut(Kind.FINISHED, Operation.CREATE, seen.place, None, why)
            case layout_change.Destroy(seen=seen, why=why):
                self._cut(Kind.DESTROYED, Operation.DESTROY, seen.place, seen.mig_uuid, why)
            case layout_change.RemoveHalfMade(seen=seen, why=why):
                self._cut(Kind.REMOVED, Operation.DESTROY, seen.place, None, why)
        return True

    def _end_release(self, slice_id: SliceId, why: str) -> bool:
        try:
            self._board.end_release(slice_id)
        except OSError as error:
            _LOG.error("%s stays released, since that cannot be written down (%s), though %s", slice_id, error, why)
            return False
        _LOG.info("%s is not released any more: %s", slice_id, why)
        return True

    def _cut(self, kind: Kind, operation: Operation, place: Place, mig_uuid: str | None, why: str) -> None:
        key = _key(place)
        try:
            intent = self._journal.intend(operation, self._uuid, key, mig_uuid=mig_uuid)
        except JournalUnwritable as error:
            self._unwritable(error)
            return
        began = self._clock()
        try:
            self._call(kind, place)
        except GpuError as error:
            self._unsettled.append(intent)
            self._refused(key, error)
            self._read()
            return
        _LOG.info("%s %s: %s", kind, self._id(key), why)
        self._back_offs.pop(key, None)
        self._read()
        try:
            self._journal.done(intent)
        except JournalUnwritable as error:
            self._unsettled.append(intent)
            self._unwritable(error)
        self._happened(Happened(kind=kind, gpu=self._uuid, key=key, why=why, seconds=self._clock() - began))

    def _call(self, kind: Kind, place: Place) -> None:
        if kind is Kind.CREATED:
            create_slice(self._driver, self._uuid, place.profile.name, place.start)
            return
        instance = self._instances[_key(place)]
        if kind is Kind.FINISHED:
            self._driver.create_compute_instance(instance)
        else:
            destroy_slice(self._driver, instance)

    def _refused(self, key: SliceKey, error: GpuError) -> None:
        """SliceInUse is the driver's last word on a slice that nobody was seen to hold; it is given back."""
        kind, why = Kind.FAILED, str(error)
        if isinstance(error, GpuTimeout):
            kind = Kind.TIMED_OUT
        elif isinstance(error, SliceInUse):
            instance = self._instances.get(key)
            kind = Kind.IN_USE if instance is not None and self._has_processes(instance) else Kind.HANDLE_HELD
            if kind is Kind.HANDLE_HELD:
                why = f"{why}; no process is listed, so a monitor such as DCGM may have it open"
        _LOG.warning("%s of %s: %s", kind, self._id(key), why)
        self._back_offs[key] = back_off(self._back_offs.get(key), self._clock(), error.reason, why)
        self._happened(Happened(kind=kind, gpu=self._uuid, key=key, why=why))

    def _has_processes(self, instance: GpuInstance) -> bool:
        """As far as the driver tells."""
        try:
            return instance.compute_instance is not None and bool(self._driver.processes(instance))
        except GpuError as error:
            _LOG.warning("The processes of %s cannot be listed: %s", instance.slice_id, error)
            return False

    def _tell(self, decision: Decision, snapshot: Snapshot) -> None:
        """`snapshot`: what was decided by; a spec that has come since has not been judged."""
        node = snapshot.spec
        self._board.put_progress(
            self._uuid,
            Progress(
                settled=isinstance(decision.action, layout_change.Settled),
                doing=_doing(decision.action),
                complaints=decision.complaints,
                spec_generation=node.generation if node is not None else 0,
            ),
        )

    def _id(self, key: SliceKey) -> SliceId:
        return SliceId(gpu=self._uuid, profile=key.profile, start=key.start)


_CUTS: Final = (
    layout_change.Create,
    layout_change.FinishHalfMade,
    layout_change.Destroy,
    layout_change.RemoveHalfMade,
)


def _doing(action: layout_change.Action) -> str:
    match action:
        case layout_change.Settled():
            return ""
        case layout_change.Wait(why=why):
            return why
        case layout_change.Create(place=place, why=why):
            return f"{place} is being made: {why}"
        case layout_change.FinishHalfMade(seen=seen, why=why):
            return f"{seen.place} is being finished: {why}"
        case layout_change.Destroy(seen=seen, why=why) | layout_change.RemoveHalfMade(seen=seen, why=why):
            return f"{seen.place} is being destroyed: {why}"
        case _:
            return type(action).__name__


def _key(place: Place) -> SliceKey:
    return SliceKey(profile=place.profile.name, start=place.start)


def _pids(instance: GpuInstance, listed: tuple[SliceProcess, ...] | GpuError) -> tuple[int, ...] | None:
    """None: they are not known."""
    if isinstance(listed, GpuError):
        _LOG.warning("The processes of %s cannot be listed: %s", instance.slice_id, listed)
        return None
    return tuple(each.pid for each in listed)


def _seen(instance: GpuInstance, pids: tuple[int, ...] | None) -> SeenSlice:
    compute = instance.compute_instance
    return SeenSlice(
        place=instance.place,
        gi_id=instance.gi_id,
        ci_id=compute.ci_id if compute else None,
        mig_uuid=compute.mig_uuid if compute else None,
        pids=pids,
    )


def _mig_uuids(slices: Sequence[SeenSlice]) -> frozenset[str]:
    return frozenset(each.mig_uuid for each in slices if each.mig_uuid is not None)


def _open_intent(intent: Intent) -> recovery.OpenIntent:
    return recovery.OpenIntent(
        number=intent.number,
        begun=recovery.Begun(intent.operation.value),
        gpu=intent.gpu,
        key=intent.slice,
        boot_id=intent.boot_id,
        mig_uuid=intent.mig_uuid,
    )
