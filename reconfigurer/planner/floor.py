"""The floor: in the planner's leader, the one writer of the autoscaling annotations on Revisions.

Composed in `process`, which also makes the thread that calls `run`; what is decided is `core.floor.rule`. Each round
starts from the mirrors, stores what it is about to write, and then writes: a leader that comes after one that died in
between knows what is the user's. Both writes are tied to the version that was read, so that neither an edit nor a newer
leader is written over unseen.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

from knative_mig.core.floor.rule import Settled, assigned, live, next_expiry, settle
from knative_mig.core.floor.values import Record, Request, Revision, Setting
from knative_mig.ports.autoscaling import FloorRecords, FloorStore, Revisions
from knative_mig.ports.kube import (
    AlreadyExists,
    ClusterError,
    Conflict,
    EventRecorder,
    EventType,
    Mirror,
    ObjectNotFound,
    Refused,
    Subject,
)
from reconfigurer.planner.clocks import Now
from reconfigurer.planner.leader import Leader
from reconfigurer.planner.metrics import FloorMetrics

_log = logging.getLogger(__name__)
_NOTHING: Final[Record] = {}
_AGAIN_S: Final = 1.0  # after a round that could not be brought to its end


class FloorOutcome(StrEnum):
    STANDBY = "standby"
    BLIND = "blind"  # what is asked, or what stands, is not known well enough
    OVERTAKEN = "overtaken"
    NOT_STORED = "not-stored"
    SETTLED = "settled"
    WROTE = "wrote"


class Floor:
    def __init__(
        self,
        *,
        requests: Mirror[tuple[Request, ...]],
        revisions: Mirror[Revision],
        store: FloorStore,
        writes: Revisions,
        leader: Leader,
        events: EventRecorder,
        metrics: FloorMetrics,
        clock: Callable[[], Now],
        resync_s: float,
        mirror_age_limit_s: float,
    ) -> None:
        self._requests = requests
        self._revisions = revisions
        self._store = store
        self._writes = writes
        self._leader = leader
        self._events = events
        self._metrics = metrics
        self._clock = clock
        self._resync_s = resync_s
        self._age_limit_s = mirror_age_limit_s
        self._stored: FloorRecords | None = None  # None: not ours, or not read yet
        self._answers: dict[str, tuple[Revision, frozenset[str]]] = {}
        self._unheard: dict[str, str] = {}  # what was told of whom
        self._refused: dict[str, str] = {}
        self._due = 0.0  # wall
        self._woken = threading.Event()

    @property
    def records(self) -> Mapping[str, Record]:
        """What stands on Revisions and is not the user's, by UID; empty while another one leads."""
        stored = self._stored
        return stored.records if stored else {}

    def wake_on_changes(self) -> None:
        for mirror in (self._requests, self._revisions):
            mirror.on_change(lambda _: self.wake())

    def wake(self) -> None:
        self._woken.set()

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set and the floor is woken."""
        outcome = FloorOutcome.STANDBY
        while not stop.is_set():
            if outcome is not FloorOutcome.WROTE:
                self._woken.wait(self._wait_s(outcome))
            if stop.is_set():
                return
            try:
                outcome = self.step(self._clock())
            except Exception:  # noqa: BLE001  one odd Revision must not leave all others without their floor
                _log.exception("A round of the floor failed")
                self._stored, outcome = None, FloorOutcome.NOT_STORED
                stop.wait(_AGAIN_S)

    def _wait_s(self, outcome: FloorOutcome) -> float:
        if outcome is FloorOutcome.NOT_STORED:
            return _AGAIN_S
        return max(0.0, min(self._resync_s, self._due - self._clock().wall)) if self._due else self._resync_s

    def step(self, now: Now) -> FloorOutcome:
        self._woken.clear()
        outcome = self._step(now)
        self._metrics.rounds.labels(str(outcome)).inc()
        return outcome

    def _step(self, now: Now) -> FloorOutcome:
        self._due = 0.0
        token = self._leader.token()
        if token is None:
            self._stored, self._answers = None, {}
            return FloorOutcome.STANDBY
        mirrors = (self._requests, self._revisions)
        if any(not each.synced or each.age_s(now.monotonic) > self._age_limit_s for each in mirrors):
            return FloorOutcome.BLIND
        stored = self._led(token)
        if stored is None:
            return FloorOutcome.OVERTAKEN if self._leader.token() is None else FloorOutcome.NOT_STORED
        every = [each for asked in self._requests.snapshot().values() for each in asked]
        asked = live(every, now.wall)
        self._due = next_expiry(asked, now.wall)
        self._metrics.show_requests(asked)
        settled = self._settle(stored, asked)
        records = {uid: each.record for uid, (_, each) in settled.items() if each.record}
        if records != stored.records and not self._save(FloorRecords(records=records, token=token)):
            return FloorOutcome.NOT_STORED
        return self._write(settled, token)

    def _led(self, token: int) -> FloorRecords | None:
        """The record, under our token: who led before finds out at its next write."""
        if self._stored is not None and self._stored.token == token:
            return self._stored
        try:
            there = self._store.load()
        except ClusterError as error:
            _log.warning("The floor's record cannot be read: %s", error)
            return None
        if there.token > token:
            self._leader.lost(f"fencing token {there.token} stands on the floor's record", at_least=there.token)
            return None
        self._stored, self._answers = there, {}
        return self._stored if self._save(FloorRecords(records=there.records, token=token)) else None

    def _save(self, records: FloorRecords) -> bool:
        assert self._stored is not None
        version = self._stored.resource_version
        new = FloorRecords(records=records.records, token=records.token, resource_version=version)
        try:
            self._stored = self._store.save(new)
        except (Conflict, AlreadyExists):
            self._stored = None  # read again, and see who leads
        except ClusterError as error:
            _log.warning("The floor's record cannot be stored, so nothing is written: %s", error)
        else:
            return True
        return False

    def _settle(self, stored: FloorRecords, asked: list[Request]) -> dict[str, tuple[Revision, Settled]]:
        revisions = self._newest()
        mine = assigned(asked, revisions.values())
        return {
            uid: (revisions[uid], settle(revisions[uid], stored.records.get(uid, _NOTHING), mine.get(uid, ())))
            for uid in mine.keys() | (stored.records.keys() & revisions.keys())
            if not revisions[uid].ending
        }

    def _newest(self) -> dict[str, Revision]:
        """The mirror's, but for those that we have written and it has not shown yet."""
        found = {each.uid: each for each in self._revisions.snapshot().values()}
        for uid, (answer, older) in [*self._answers.items()]:
            if uid in found and found[uid].resource_version in older:
                found[uid] = answer
            else:
                del self._answers[uid]
        return found

    def _write(self, settled: Mapping[str, tuple[Revision, Settled]], token: int) -> FloorOutcome:
        outcome = FloorOutcome.SETTLED
        for revision, each in settled.values():
            self._tell_unheard(revision, each)
            if not each.write:
                continue
            if self._leader.token() != token:
                return FloorOutcome.STANDBY
            if self._write_on(revision, each.write):
                self._tell(revision, EventType.NORMAL, "FloorSet", _said(each))
                outcome = FloorOutcome.WROTE
        return outcome

    def _write_on(self, revision: Revision, values: Mapping[Setting, str | None]) -> bool:
        """Whether any of it was taken. Of what is refused together, each value is tried: one that the cluster does not
        take must not stand in the way of other people's.
        """
        try:
            answer = self._writes.write(revision, values)
        except (Conflict, ObjectNotFound):
            self._metrics.writes.labels("conflict").inc()  # the mirror shows what it was, and wakes us
            return False
        except ClusterError as error:
            self._metrics.writes.labels(error.reason).inc()
            _log.warning("The floor of %s is not written: %s", revision.function, error)
            if not isinstance(error, Refused):
                return False
            if len(values) > 1:
                taken = [self._write_on(self._latest(revision), {each: value}) for each, value in values.items()]
                return any(taken)
            self._tell_once(self._refused, revision, "FloorRefused", f"{', '.join(values)}: {error}")
            return False
        older = self._answers[revision.uid][1] if revision.uid in self._answers else frozenset()
        self._answers[revision.uid] = (answer, older | {revision.resource_version})
        self._metrics.writes.labels("written").inc()
        return True

    def _latest(self, revision: Revision) -> Revision:
        return self._answers[revision.uid][0] if revision.uid in self._answers else revision

    def _tell_unheard(self, revision: Revision, settled: Settled) -> None:
        if settled.unheard:
            self._tell_once(self._unheard, revision, "FloorUnheard", settled.unheard)
        else:
            self._unheard.pop(revision.uid, None)
        if not settled.write:
            self._refused.pop(revision.uid, None)

    def _tell_once(self, told: dict[str, str], revision: Revision, reason: str, message: str) -> None:
        if told.get(revision.uid) != message:
            told[revision.uid] = message
            self._tell(revision, EventType.WARNING, reason, message)

    def _tell(self, revision: Revision, kind: EventType, reason: str, message: str) -> None:
        self._events.record(subject_of(revision), kind, reason, message)


def subject_of(revision: Revision) -> Subject:
    return Subject(
        api_version="serving.knative.dev/v1",
        kind="Revision",
        namespace=revision.namespace,
        name=revision.name,
        uid=revision.uid,
    )


def _said(settled: Settled) -> str:
    values = ", ".join(f"{setting}: {value or 'none'}" for setting, value in settled.write.items())
    return f"{values}; {'; '.join(settled.reasons) or 'nobody asks for anything else any more'}"
