"""Writes how many slices the Node offers, as soon as its kubelet believes it: the scheduler knows at once.

A thread of its own runs `run`, since a write waits for the API server and serving must not. The answer to each read and
write goes onto the board, where the GPU loops see that a withdrawn slice is offered no more. The subtle thing is the
kubelet's own push, which may bring back what it computed before a change: so for a while after each change the Node is
read again, and written again where it differs.
"""

import logging
import threading
from collections.abc import Callable
from typing import Final

from knative_mig.core.agent.node_resources import Served, SliceCounts, believed_counts, changes_the_offer, next_write
from knative_mig.core.agent.readings import device_id
from knative_mig.core.inventory import NodeName
from knative_mig.ports.kube import ClusterError, NodeSlices, NodeStatuses
from reconfigurer.agent.board import Board, Snapshot
from reconfigurer.agent.latest_devices import LatestDevices
from reconfigurer.agent.metrics import AgentMetrics
from reconfigurer.agent.retry import Retry

_log = logging.getLogger(__name__)
REASSERT_FOR_S: Final = 15.0  # the kubelet pushes each 10 s
REASSERT_EACH_S: Final = 1.0
LOOK_EACH_S: Final = 30.0
NOTICE_STOP_WITHIN_S: Final = 0.5


class NodeStatusLoop:
    def __init__(
        self,
        node: NodeName,
        board: Board,
        statuses: NodeStatuses,
        metrics: AgentMetrics,
        retry: Retry,
        *,
        clock: Callable[[], float],
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        """`may_write`: not while another plugin serves the same resources, whose devices the kubelet counts too."""
        self._node = node
        self._board = board
        self._statuses = statuses
        self._metrics = metrics
        self._retry = retry
        self._clock = clock
        self._may_write = may_write
        self._latest = LatestDevices()
        self._says: SliceCounts | None = None
        self._look_at = float("-inf")
        self._not_before = float("-inf")  # while the API server is away
        self._right: SliceCounts | None = None
        self._reassert_until = float("-inf")
        self._spec_seen: tuple[int, float] | None = None  # a generation on its way, and when it came

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            known = self._board.snapshot()
            wait_s = self.step()
            self._board.wait(known, min(wait_s, NOTICE_STOP_WITHIN_S), self._matters)

    def _matters(self, known: Snapshot, now: Snapshot) -> bool:
        """What is offered is what the kubelet believes, so each of its views may be news. Of how far the GPUs are only
        while it is measured how long a spec takes.
        """
        if now.kubelet is not known.kubelet or now.spec is not known.spec or now.models is not known.models:
            return True
        return self._measures and now.progress is not known.progress

    @property
    def _measures(self) -> bool:
        return self._spec_seen is not None and self._spec_seen[1] != float("inf")

    def step(self) -> float:
        """Seconds until there is something to do, if nothing changes before."""
        now, at = self._board.snapshot(), self._clock()
        self._note_spec(now, at)
        if now.kubelet is None or not self._may_write():
            return LOOK_EACH_S
        if at < self._not_before:
            return self._not_before - at
        served = self._latest.of(now)
        right = believed_counts(served, now.kubelet.view)
        if right != self._right:
            self._right = right
            self._reassert_until = at + REASSERT_FOR_S
            self._look_at = min(self._look_at, at + REASSERT_EACH_S)
        try:
            says, awaited = self._says if at < self._look_at else None, self._awaited(now)
            write = next_write(right, says) if says is not None else None
            if says is None or (awaited and write is None):  # a write's answer would tell as much
                says = self._keep(self._statuses.read_slices(self._node), at)
                write = next_write(right, says)
            elif write is not None and not awaited and not changes_the_offer(write, says):
                write = None  # it goes with the next one, or when the Node is looked at
            if write is not None:
                at = self._clock()
                asked = NodeSlices(capacity=write.capacity, allocatable=write.allocatable)
                self._keep(self._statuses.write_slices(self._node, asked), at)
                self._metrics.phase_seconds.labels("node-status").observe(self._clock() - at)
                _log.info("node %s offers %s", self._node, _in_words(write))
        except ClusterError as error:
            return self._failed(error)
        self._retry.worked()
        self._observe(now, served)
        return max(self._look_at - self._clock(), 0.0)

    def _awaited(self, now: Snapshot) -> bool:
        """Whether a GPU loop waits to hear that the Node does not offer a slice that the kubelet has let go."""
        if now.kubelet is None:
            return False
        for slice_id, mark in now.marks.items():
            since = mark.withdrawn_since
            if since is None or mark.lowered_at is not None or now.kubelet.asked_at <= since:
                continue
            let_go = device_id(slice_id) not in now.kubelet.view.allocatable
            if let_go and (now.node is None or now.node.asked_at <= since):
                return True
        return False

    def _keep(self, answer: NodeSlices, asked_at: float) -> SliceCounts:
        self._says = SliceCounts(capacity=answer.capacity, allocatable=answer.allocatable)
        self._look_at = asked_at + (REASSERT_EACH_S if asked_at < self._reassert_until else LOOK_EACH_S)
        self._board.put_node(answer.allocatable, asked_at)
        return self._says

    def _failed(self, error: ClusterError) -> float:
        self._metrics.status_write_errors.labels("node", error.reason).inc()
        if not self._retry.failing:
            _log.warning("the status of node %s cannot be read or written: %s", self._node, error)
        wait_s = self._retry.next_wait_s()
        self._not_before = self._clock() + wait_s
        self._look_at = float("-inf")  # what was known of the Node is old when the API server is back
        return wait_s

    def _note_spec(self, now: Snapshot, at: float) -> None:
        """The first one after a start is not measured: nobody knows how long it has been there."""
        if now.spec is None:
            return
        if self._spec_seen is None:
            self._spec_seen = (now.spec.generation, float("inf"))
        elif self._spec_seen[0] < now.spec.generation:
            self._spec_seen = (now.spec.generation, at)

    def _observe(self, now: Snapshot, served: Served) -> None:
        """The first time that all GPUs are as a spec says, the kubelet believes it, and so the Node says it."""
        if self._spec_seen is None or not self._measures or now.spec is None or now.kubelet is None:
            return
        if any(
            device.healthy and device.id not in now.kubelet.view.allocatable
            for each in served.values()
            for device in each
        ):
            return
        generation, came_at = self._spec_seen
        named = [now.progress.get(gpu.uuid) for gpu in now.spec.spec.gpus if gpu.uuid in now.readings]
        if all(each is not None and each.settled and each.spec_generation >= generation for each in named):
            self._metrics.spec_to_allocatable_seconds.observe(self._clock() - came_at)
            self._spec_seen = (generation, float("inf"))


def _in_words(counts: SliceCounts) -> str:
    return ", ".join(
        f"{counts.allocatable[profile]} of {counts.capacity[profile]} {profile}"
        for profile in sorted(counts.allocatable)
    )
