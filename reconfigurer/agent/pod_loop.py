"""Removes the pods of this node that cannot come right by themselves, tells those that end, and notices other owners.

A thread of its own runs `run`, woken by its pods' mirror, by the board and by the desk. `core.agent.failed_pods` says
which pods and why; each removal is an Event on its pod. On a static node the agent only reports: pods there are let be,
as their devices are another plugin's. Whoever has a slice is told of its pod's deletion, which SIGTERM tells it of much
later: it may give the slice back until then. The subtle thing is an eviction that a disruption budget holds
up: it is asked again, later each time, while the pod runs on a slice on which it can do nothing.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from knative_mig.core.agent.ending_pods import slices_of_ending
from knative_mig.core.agent.failed_pods import (
    Removal,
    dead_slices,
    failed_at_admission,
    on_broken_slices,
    on_changed_slices,
)
from knative_mig.core.agent.other_owners import other_owners
from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.gpu_node import SliceId
from knative_mig.core.inventory import NodeName
from knative_mig.ports.kube import (
    ClusterError,
    EventRecorder,
    EventType,
    Key,
    Mirror,
    ObjectNotFound,
    Pods,
    Subject,
    TooManyRequests,
)
from reconfigurer.agent.board import Board
from reconfigurer.agent.desk import Desk
from reconfigurer.agent.metrics import AgentMetrics
from reconfigurer.agent.surroundings import Surroundings

_log = logging.getLogger(__name__)
FIRST_RETRY_S: Final = 1.0
LAST_RETRY_S: Final = 60.0
LOOK_EACH_S: Final = 5.0
LOOK_FOR_FIRST_LIST_EACH_S: Final = 0.1  # a list without a pod wakes nobody


@dataclass(frozen=True, slots=True)
class _Tried:
    times: int
    again_at: float


class PodLoop:
    def __init__(
        self,
        *,
        node: NodeName,
        board: Board,
        desk: Desk,
        surroundings: Surroundings,
        mirror: Mirror[PodFacts],
        pods: Pods,
        events: EventRecorder,
        metrics: AgentMetrics,
        clock: Callable[[], float],
        static: bool = False,
        all_read: Callable[[], bool] = lambda: True,
        tell_deleted: Callable[[SliceId, Callable[[], bool]], None] = lambda _slice_id, _is_so: None,
    ) -> None:
        """`all_read`: all GPUs, but for those that are lost or hang. `tell_deleted` asks whether it is still so when
        nobody can be given the slice any more; OSError: it is untold.
        """
        self._node = node
        self._board = board
        self._desk = desk
        self._surroundings = surroundings
        self._mirror = mirror
        self._pods = pods
        self._events = events
        self._metrics = metrics
        self._clock = clock
        self._static = static
        self._all_read = all_read
        self._tell_deleted = tell_deleted
        self._tried: dict[str, _Tried] = {}
        self._woken = threading.Event()

    def wake(self) -> None:
        self._woken.set()

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self._woken.clear()
            wait_s = self.step()
            self._woken.wait(wait_s)

    def step(self) -> float:
        """Seconds until the next look, if nobody wakes it before."""
        if not self._mirror.synced:
            return LOOK_FOR_FIRST_LIST_EACH_S
        pods = tuple(self._mirror.snapshot().values())
        if not self._static:
            self._tell_ending()
        self._surroundings.pods_seen(other_owners(pods, self._node))
        self._tried = {uid: tried for uid, tried in self._tried.items() if uid in {pod.uid for pod in pods}}
        again_at = self._clock() + LOOK_EACH_S
        for removal in () if self._static else self._to_remove(pods):
            tried = self._tried.get(removal.uid)
            if tried is None or tried.again_at <= self._clock():
                tried = self._remove(removal, tried)
                self._tried[removal.uid] = tried
            again_at = min(again_at, tried.again_at)
        return max(again_at - self._clock(), 0.0)

    def _tell_ending(self) -> None:
        """Also who was told before: that costs nothing, and a restarted agent does not know."""
        for slice_id in self._ending():
            try:
                self._tell_deleted(slice_id, lambda which=slice_id: which in self._ending())  # type: ignore[misc]
            except OSError as error:
                _log.warning("who has %s is not told that its pod was deleted: %s", slice_id, error)

    def _ending(self) -> frozenset[SliceId]:
        now, pods = self._board.snapshot(), self._mirror.snapshot().values()
        return slices_of_ending(pods, now.kubelet, now.marks) if now.kubelet else frozenset()

    def _to_remove(self, pods: tuple[PodFacts, ...]) -> tuple[Removal, ...]:
        found = {removal.uid: removal for removal in failed_at_admission(pods, self._node)}
        all_read = self._all_read()  # before the look at them
        now = self._board.snapshot()
        if now.kubelet is not None:
            view, changed = now.kubelet.view, self._desk.changed()
            for slice_id in changed:
                if not view.holders_of(slice_id):
                    self._desk.settled(slice_id)
            for removal in on_changed_slices(pods, changed, view):
                found.setdefault(removal.uid, removal)
            unnamed = now.unnamed if all_read else {}
            for removal in on_broken_slices(pods, dead_slices(now.readings, now.marks, view, unnamed), view):
                found.setdefault(removal.uid, removal)
        return tuple(found.values())

    def _remove(self, removal: Removal, tried: _Tried | None) -> _Tried:
        times = tried.times + 1 if tried else 1
        wait_s = min(FIRST_RETRY_S * 2.0 ** min(times - 1, 16), LAST_RETRY_S)
        key = Key(removal.namespace, removal.pod)
        try:
            (self._pods.evict if removal.evict else self._pods.delete)(key, uid=removal.uid, grace_s=removal.grace_s)
        except ObjectNotFound:
            return _Tried(times, float("inf"))
        except ClusterError as error:
            self._metrics.status_write_errors.labels("pod", error.reason).inc()
            _log.warning("%s cannot be removed (%s): %s", removal, removal.message, error)
            if isinstance(error, TooManyRequests) and times == 1:
                self._say(removal, f"a disruption budget holds it up: {removal.message}")
            return _Tried(times, self._clock() + wait_s)
        _log.warning("%s: %s", removal, removal.message)
        if removal.evict:
            self._metrics.pods_evicted.inc()
        else:
            self._metrics.failed_pods_deleted.labels(removal.why.value).inc()
        self._say(removal, removal.message)
        return _Tried(times, self._clock() + LAST_RETRY_S)

    def _say(self, removal: Removal, message: str) -> None:
        subject = Subject(api_version="v1", kind="Pod", namespace=removal.namespace, name=removal.pod, uid=removal.uid)
        self._events.record(subject, EventType.WARNING, removal.why.value, message)
