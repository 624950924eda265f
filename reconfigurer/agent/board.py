"""What the threads of a node agent know together: the spec, the readings, and a mark for each slice.

Written by the GPU loops, the node loop, the surroundings, the slice desk and the slice sockets; read by all of them.
What goes in and out is immutable, so a snapshot is consistent for as long as it is kept.

The subtle thing is the three questions that are a decision and a note in one step, under one lock: `hand_out`,
`withdraw` and `release`. A slice is either handed out or withdrawn, never both, however the threads run; so after a
`withdraw` nobody new can come, and one that came just before is known by its `handed_out_at`.

A dozen threads wait for news, and GPUs that change together have some hundred of them in a tenth of a second. So each
says what is news to it, and is not woken for the rest: whoever puts something on the board asks for them.
"""

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Protocol, TypeVar

from knative_mig.core.agent.health import BrokenSlice, still_broken
from knative_mig.core.agent.readings import (
    UNMARKED,
    Complaint,
    GpuReading,
    KubeletReading,
    KubeletView,
    Mark,
    NodeReading,
    Release,
    SeenSlice,
    Unnamed,
)
from knative_mig.core.geometry import GpuModel
from knative_mig.core.gpu_node import GpuHealth, GpuNode, JournalState, SliceId
from knative_mig.core.inventory import GpuUuid
from knative_mig.core.profile import ProfileName

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a GPU's loop is: `doing` is empty when the GPU is as the spec says, or nothing can be done."""

    settled: bool = False
    doing: str = ""
    complaints: tuple[Complaint, ...] = ()
    spec_generation: int = 0  # of the spec that this was judged by


@dataclass(frozen=True, slots=True, kw_only=True)
class Journalled:
    state: JournalState = JournalState.RECOVERING
    open_intents: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    version: int = 0
    spec: GpuNode | None = None  # None: the API server has not told yet
    readings: Mapping[GpuUuid, GpuReading] = field(default_factory=dict)
    unnamed: Mapping[int, Unnamed] = field(default_factory=dict)  # by the driver's index
    progress: Mapping[GpuUuid, Progress] = field(default_factory=dict)
    kubelet: KubeletReading | None = None  # None: it has not answered since it was last away
    node: NodeReading | None = None  # None: its status has not been read yet
    marks: Mapping[SliceId, Mark] = field(default_factory=dict)
    models: tuple[GpuModel, ...] = ()  # all that were ever read, one object each
    journal: Journalled = Journalled()
    registered: bool | None = None  # with the kubelet, every profile; None: not yet
    other_owners: tuple[str, ...] | None = None  # of this node's slices; None: not looked yet
    all_read: bool = False  # each GPU, but for those that are lost or hang: from then on slices are served
    processes_verified: bool = False  # a process known to be there was seen: an empty list of pids counts from then on

    def mark(self, slice_id: SliceId) -> Mark:
        return self.marks.get(slice_id, UNMARKED)


Matters = Callable[[Snapshot, Snapshot], bool]  # of what was known and what is: whether that is news to somebody


def anything(known: Snapshot, now: Snapshot) -> bool:
    return now.version > known.version


def slices_or_kubelet(known: Snapshot, now: Snapshot) -> bool:
    """What is there, what is remembered of it, who holds it, and whether it may be served."""
    return (
        now.readings is not known.readings
        or now.marks is not known.marks
        or now.kubelet is not known.kubelet
        or now.all_read is not known.all_read
    )


@dataclass(slots=True, eq=False)
class _Waiter:
    known: Snapshot
    matters: Matters
    woken: threading.Lock  # held until it is


class ReleaseBook(Protocol):
    """The releases that outlive the agent, each with its slice's MIG UUID. OSError: the disk does not take it."""

    def all(self) -> Mapping[SliceId, str]: ...

    def remember(self, uuids: Mapping[SliceId, str]) -> None: ...

    def forget(self, slice_id: SliceId) -> None: ...


class BrokenBook(Protocol):
    """The broken slices that outlive the agent. Where the disk takes nothing they do not, and no call fails."""

    def broken(self) -> Mapping[SliceId, BrokenSlice]: ...

    def broke(self, slice_id: SliceId, broken: BrokenSlice) -> None: ...

    def mended(self, slice_id: SliceId) -> None: ...


class Board:
    def __init__(
        self, *, releases: ReleaseBook | None = None, ill: BrokenBook | None = None, now_s: float = 0.0
    ) -> None:
        """`releases`: those of before hold from `now_s` on. `ill`: what broke before is broken from when it is read.
        Without a book either ends with the agent.
        """
        self._lock = threading.RLock()
        self._waiters: list[_Waiter] = []
        self._releases, self._releasing = releases, threading.Lock()
        self._ill, self._not_read_yet = ill, dict(ill.broken()) if ill else {}
        before = releases.all() if releases else {}
        marks = {each: Mark(release=Release(since=now_s, mig_uuid=uuid)) for each, uuid in before.items()}
        self._now = Snapshot(marks=MappingProxyType(marks))

    # Reading

    def snapshot(self) -> Snapshot:
        return self._now

    def wait(self, known: Snapshot, timeout_s: float, matters: Matters = anything) -> Snapshot:
        """What there is, as soon as that is news to who knows `known`, or the time is up. `matters` is asked on other
        threads, under the board's lock.
        """
        with self._lock:
            if timeout_s <= 0 or matters(known, self._now):
                return self._now
            waiter = _Waiter(known, matters, threading.Lock())
            waiter.woken.acquire()
            self._waiters.append(waiter)
        if not waiter.woken.acquire(timeout=min(timeout_s, threading.TIMEOUT_MAX)):
            with self._lock, suppress(ValueError):
                self._waiters.remove(waiter)
        return self._now

    # What was read. None of these wakes anybody when it says what was known.

    def put_spec(self, node: GpuNode | None) -> None:
        """Without its status: the agent's own reports come back this way too, and are no news."""
        spec = None if node is None else replace(node, status=None, resource_version="")
        self._change(lambda now: replace(now, spec=spec))

    def put_reading(self, reading: GpuReading) -> None:
        """A reading that differs in nothing but its time is kept without waking anybody. What broke before the agent
        started comes back with the first: between the two it would be offered.
        """
        of_before = self._broken_before(reading)
        broken = still_broken(of_before, reading)

        def change(now: Snapshot) -> Snapshot:
            models = now.models
            if reading.model is not None and not any(_same_model(reading.model, each) for each in models):
                models = (*models, reading.model)
            marks = now.marks
            for slice_id, why in broken.items():
                marks = _with(marks, slice_id, replace(now.mark(slice_id), broken=why))
            return replace(now, readings=_with(now.readings, reading.uuid, reading), models=models, marks=marks)

        known = self._now.readings.get(reading.uuid)
        self._change(change, quiet=known is not None and not broken and _same_reading(known, reading))
        for slice_id in of_before.keys() - broken.keys():
            self._no_longer_broken(slice_id)

    def put_unnamed(self, index: int, unnamed: Unnamed) -> None:
        """The driver's index-th GPU has not said who it is."""
        self._change(lambda now: replace(now, unnamed=_with(now.unnamed, index, unnamed)))

    def put_named(self, index: int) -> None:
        """It has, and its reading is there."""
        self._change(
            lambda now: replace(
                now, unnamed=MappingProxyType({each: why for each, why in now.unnamed.items() if each != index})
            )
        )

    def put_progress(self, gpu: GpuUuid, progress: Progress) -> None:
        self._change(lambda now: replace(now, progress=_with(now.progress, gpu, progress)))

    def put_kubelet(self, view: KubeletView, asked_at: float) -> None:
        """Wakes everybody each time: a newer view is what a withdrawn slice waits for, whatever it says."""

        def change(now: Snapshot) -> Snapshot:
            marks = dict(now.marks)
            for slice_id in (SliceId.parse(each) for each, holders in view.holders.items() if holders):
                if not now.mark(slice_id).held_before or now.mark(slice_id).of_no_pod:
                    marks[slice_id] = replace(now.mark(slice_id), held_before=True, of_no_pod=False)
            kubelet = KubeletReading(view=view, asked_at=asked_at)
            return replace(now, kubelet=kubelet, marks=MappingProxyType(marks))

        self._change(change)

    def kubelet_away(self) -> None:
        self._change(lambda now: replace(now, kubelet=None))

    def put_node(self, allocatable: Mapping[ProfileName, int], asked_at: float) -> None:
        """What the API server says that the node offers, read or answered to a write after `asked_at`."""
        told = NodeReading(allocatable=MappingProxyType(dict(allocatable)), asked_at=asked_at)
        self._change(lambda now: replace(now, node=told))

    def put_journal(self, journal: Journalled) -> None:
        self._change(lambda now: replace(now, journal=journal))

    def put_registered(self, *, registered: bool) -> None:
        self._change(lambda now: replace(now, registered=registered))

    def put_other_owners(self, owners: tuple[str, ...] | None) -> None:
        self._change(lambda now: replace(now, other_owners=owners))

    def put_all_read(self) -> None:
        self._change(lambda now: replace(now, all_read=True))

    def put_processes_verified(self, *, verified: bool) -> None:
        self._change(lambda now: replace(now, processes_verified=verified))

    # Marks

    def hand_out(self, slice_id: SliceId, now_s: float) -> str:
        """The MIG UUID of a slice that the kubelet gives to a container; from here on it is not withdrawn before its
        holder had time to show. Why not, as an exception's text, where it may not be given.
        """
        with self._lock:
            refusal = self._refusal(slice_id)
            if refusal:
                raise NotToBeGiven(refusal)
            seen = self._now.readings[slice_id.gpu].find(slice_id)
            assert seen is not None
            assert seen.mig_uuid is not None
            self._mark(slice_id, lambda mark: replace(mark, handed_out_at=now_s, held_before=True))
            return seen.mig_uuid

    def refusal(self, slice_id: SliceId) -> str:
        """Why this slice may not be given to a container now; empty: it may."""
        with self._lock:
            return self._refusal(slice_id)

    def withdraw(self, slice_id: SliceId, now_s: float) -> bool:
        """To be destroyed: the kubelet is told that it is unhealthy. Repeated, it keeps its first time. False: it was
        handed out a moment ago, and whoever got it has not had time to show.
        """
        with self._lock:
            mark = self._now.mark(slice_id)
            if mark.withdrawn_since is None:
                if mark.just_handed_out(now_s):
                    return False
                self._mark(slice_id, lambda mark: replace(mark, withdrawn_since=now_s))
            return True

    def note_lowered(self, slice_id: SliceId, at: float) -> None:
        """Kubelet and node status offer a withdrawn slice no more; `at`: when the later of them had been asked."""
        self._mark(slice_id, lambda mark: replace(mark, lowered_at=at))

    def restore(self, slice_id: SliceId) -> None:
        """It is not to be destroyed after all."""
        self._mark(slice_id, lambda mark: replace(mark, withdrawn_since=None, lowered_at=None))

    def release(self, slice_id: SliceId, mig_uuid: str, now_s: float) -> bool:
        """Its engine has gone, its pod goes on. False: that slice is not there any more. Whoever calls has seen that
        no process is on it; whether one came back is looked at before anything is destroyed. OSError: it could not be
        kept, and is not released.
        """
        released = Release(since=now_s, mig_uuid=mig_uuid)
        with self._releasing:
            if self._releases and self._stands(slice_id, mig_uuid):
                try:
                    self._releases.remember({slice_id: mig_uuid})
                except OSError:
                    with suppress(OSError):
                        self._releases.forget(slice_id)
                    raise
            with self._lock:
                if self._stands(slice_id, mig_uuid):
                    self._mark(slice_id, lambda mark: mark if mark.release else replace(mark, release=released))
                    return True
            if self._releases:
                self._releases.forget(slice_id)
            return False

    def end_release(self, slice_id: SliceId) -> None:
        """The kubelet has dropped its pod, or a process came back. Forgotten on the disk first: an agent that took it
        for released after a restart would take it from its next pod. OSError: it stays released.
        """
        with self._releasing:
            if self._releases:
                self._releases.forget(slice_id)
            self._mark(slice_id, lambda mark: replace(mark, release=None))

    def break_slice(self, slice_id: SliceId, why: str) -> None:
        """Nobody may be given it until it is made anew; the first reason is kept. Kept on the disk first:
        whatever follows, an agent that starts later knows why.
        """
        seen = self._seen(slice_id)
        if self._ill and seen and seen.mig_uuid and not self._now.mark(slice_id).broken:
            self._ill.broke(slice_id, BrokenSlice(mig_uuid=seen.mig_uuid, why=why))
        self._mark(slice_id, lambda mark: mark if mark.broken else replace(mark, broken=why))

    def put_of_no_pod(self, gpu: GpuUuid, slices: frozenset[SliceId]) -> None:
        """Those of this GPU, and no others, have a process that no pod answers for."""
        before = frozenset(each for each, mark in self._now.marks.items() if each.gpu == gpu and mark.of_no_pod)
        for slice_id in before ^ slices:
            self._mark(slice_id, lambda mark, on=slice_id in slices: replace(mark, of_no_pod=on))  # type: ignore[misc]

    def forget(self, slice_id: SliceId) -> None:
        """The slice has been destroyed: what was true of it is not of a successor. A release outlives it: its pod
        still holds the id.
        """
        self._mark(slice_id, lambda mark: Mark(release=mark.release))
        self._no_longer_broken(slice_id)

    # The one writer of `_now`

    def _refusal(self, slice_id: SliceId) -> str:
        now = self._now
        reading, mark, seen = now.readings.get(slice_id.gpu), now.mark(slice_id), self._seen(slice_id)
        if reading is None or seen is None:
            return f"{slice_id} is not there"
        if reading.health is not GpuHealth.HEALTHY:
            return f"{slice_id}: its GPU is {reading.health}: {reading.why}"
        if mark.release is not None:
            return f"{slice_id} was released by its last pod, which the kubelet has not dropped yet"
        if mark.broken:
            return f"{slice_id} is broken: {mark.broken}"
        if mark.of_no_pod:
            return f"{slice_id} has a process on it that no pod owns"
        if mark.withdrawn_since is not None:
            return f"{slice_id} is being taken back to be destroyed"
        if seen.half_made:
            return f"{slice_id} is half made"
        if seen.not_injectable:
            return f"{slice_id}: {seen.not_injectable}"
        return ""

    def _stands(self, slice_id: SliceId, mig_uuid: str) -> bool:
        seen = self._seen(slice_id)
        return seen is not None and seen.mig_uuid == mig_uuid

    def _seen(self, slice_id: SliceId) -> SeenSlice | None:
        reading = self._now.readings.get(slice_id.gpu)
        return reading.find(slice_id) if reading else None

    def _broken_before(self, reading: GpuReading) -> Mapping[SliceId, BrokenSlice]:
        """Once for each GPU, when it has been read: one that has not answered yet shows no slices."""
        with self._lock:
            if not self._not_read_yet or reading.model is None:
                return {}
            of_it = {each: why for each, why in self._not_read_yet.items() if each.gpu == reading.uuid}
            self._not_read_yet = {each: why for each, why in self._not_read_yet.items() if each.gpu != reading.uuid}
            return of_it

    def _no_longer_broken(self, slice_id: SliceId) -> None:
        if self._ill:
            self._ill.mended(slice_id)

    def _mark(self, slice_id: SliceId, change: Callable[[Mark], Mark]) -> None:
        def marked(now: Snapshot) -> Snapshot:
            after = change(now.mark(slice_id))
            rest = {each: mark for each, mark in now.marks.items() if each != slice_id}
            return replace(now, marks=MappingProxyType(rest if after.empty else {**rest, slice_id: after}))

        self._change(marked)

    def _change(self, change: Callable[[Snapshot], Snapshot], *, quiet: bool = False) -> None:
        with self._lock:
            before = self._now
            after = change(before)
            if after == before:
                return
            self._now = after if quiet else replace(after, version=before.version + 1)
            if not quiet:
                self._wake()

    def _wake(self) -> None:
        for waiter in [each for each in self._waiters if each.matters(each.known, self._now)]:
            self._waiters.remove(waiter)
            waiter.woken.release()


class NotToBeGiven(Exception):
    """Why a slice may not be handed out; the desk answers the kubelet with it."""


def _with(mapping: Mapping[K, V], key: K, value: V) -> Mapping[K, V]:
    return MappingProxyType({**mapping, key: value})


def _same_reading(one: GpuReading, other: GpuReading) -> bool:
    return replace(one, read_at=0.0) == replace(other, read_at=0.0)


def _same_model(one: GpuModel, other: GpuModel) -> bool:
    return (one.name, one.profiles) == (other.name, other.profiles)
