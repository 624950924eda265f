"""Writes `GpuNode.status`: what the planner and people know of this node.

A thread of its own runs `run`. It is written when it differs from what was written last, changes that come together in
one write, and once a minute in any case. A slice that was made is told at once, as a pod waits for it; how slices are
remade is not told while it takes no longer than a moment, as each write costs those who wait processor time. The subtle
thing is the first one: what was reported before a restart is read back, so that nobody sees a slice's idle time or a
condition begin anew.

Who else writes it, by hand or by mistake, is seen by the mirror: what it shows is compared with the answers to our own
writes, of which it may show an older one for a moment.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from knative_mig.core.agent.status import Applied, Known, gpu_node_status
from knative_mig.core.errors import BadInput
from knative_mig.core.gpu_node import GpuNode, GpuNodeStatus, Layout
from knative_mig.core.inventory import NodeName
from knative_mig.ports.kube import ClusterError, GpuNodes, ObjectNotFound
from reconfigurer.agent.board import Board, Snapshot
from reconfigurer.agent.metrics import AgentMetrics
from reconfigurer.agent.retry import Retry
from reconfigurer.agent.surroundings import Surroundings

_log = logging.getLogger(__name__)
DEBOUNCE_S: Final = 0.05
WHILE_REMADE_S: Final = 0.25  # the longest that slices which are on their way are not told of
APART_S: Final = 0.025  # slices that GPUs which change together make one after the other are told together
AT_LEAST_EACH_S: Final = 60.0
RIGHT_AGAIN_EACH_S: Final = 1.0  # against one who overwrites it again and again
MIRROR_IS_BEHIND: Final = 64  # writes at the most
NOTICE_STOP_WITHIN_S: Final = 0.5


def _remakes(now: Snapshot) -> bool:
    return now.journal.open_intents > 0 or any(mark.withdrawn_since is not None for mark in now.marks.values())


def _never(_known: Snapshot, _now: Snapshot) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What of a report does not change while the agent runs."""

    node: NodeName
    layout: Layout
    agent_version: str
    boot_id: str


class Publisher:
    def __init__(
        self,
        identity: Identity,
        board: Board,
        gpu_nodes: GpuNodes,
        metrics: AgentMetrics,
        retry: Retry,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        surroundings: Surroundings,
        all_read: Callable[[], bool] = lambda: True,
        found: Callable[[GpuNodeStatus | None], None] | None = None,
    ) -> None:
        """`found`: told what a former agent reported, before anything is reported anew."""
        self._identity = identity
        self._board = board
        self._gpu_nodes = gpu_nodes
        self._metrics = metrics
        self._retry = retry
        self._clock = clock
        self._wall = wall
        self._surroundings = surroundings
        self._all_read = all_read
        self._found = found or surroundings.reported
        self._previous: GpuNodeStatus | None = None
        self._there = False  # the GpuNode, as far as is known
        self._written: GpuNodeStatus | None = None
        self._written_at = float("-inf")
        self._answers: deque[GpuNodeStatus | None] = deque(maxlen=MIRROR_IS_BEHIND)
        self._shown: GpuNode | None = None
        self._looked_at: GpuNode | None = None
        self._not_before = float("-inf")

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            known = self._board.snapshot()
            wait_s = self.step()
            if self._board.wait(known, min(wait_s, NOTICE_STOP_WITHIN_S)).version > known.version:
                self._gather()

    def _gather(self) -> None:
        """Lets more changes come, until one has that somebody waits for. While slices are remade all the rest tells of
        something that is over in a moment.
        """
        now, began = self._board.snapshot(), self._clock()
        told = {each.mig_uuid for gpu in self._written.gpus for each in gpu.slices} if self._written else set()

        def has_a_slice_to_tell(_: Snapshot, now: Snapshot) -> bool:
            """One that was not there when the status was written last."""
            whole = (seen for gpu in now.readings.values() for seen in gpu.slices if not seen.half_made)
            return any(seen.mig_uuid not in told for seen in whole)

        def left_s() -> float:
            if has_a_slice_to_tell(now, now):
                return self._written_at + APART_S - self._clock()
            return began + (WHILE_REMADE_S if _remakes(now) else DEBOUNCE_S) - self._clock()

        while (wait_s := left_s()) > 0:
            tells = has_a_slice_to_tell(now, now)
            now = self._board.wait(now, min(wait_s, DEBOUNCE_S), _never if tells else has_a_slice_to_tell)

    def shown(self, node: GpuNode | None) -> None:
        """What the mirror has now; on its thread. It is looked at when nothing is being written."""
        self._shown = node

    def step(self) -> float:
        """Seconds until it is written again, if nothing changes before."""
        at = self._clock()
        if at < self._not_before:
            return self._not_before - at
        self._look_at_what_is_shown(at)
        try:
            if not self._there:
                found = self._ensured()
                self._answers.append(found)
                self._found(found)
                self._previous = self._previous or found
                self._there = True
            status = gpu_node_status(self._known(self._board.snapshot()), self._previous, self._wall())
            self._previous = status
            if status != self._written or at - self._written_at >= AT_LEAST_EACH_S:
                shown = self._shown
                self._answers.append(self._gpu_nodes.write_status(self._identity.node, status).status)
                self._looked_at = shown  # whatever it was, it is written over
                self._written, self._written_at = status, at
        except (ClusterError, BadInput) as error:  # BadInput: the answer was not one that this version knows
            if isinstance(error, ObjectNotFound):
                self._there = False
            self._metrics.status_write_errors.labels("gpunode", error.reason).inc()
            if not self._retry.failing:
                _log.warning("the status of GpuNode %s cannot be written: %s", self._identity.node, error)
            wait_s = self._retry.next_wait_s()
            self._not_before = at + wait_s
            return wait_s
        self._retry.worked()
        return max(self._written_at + AT_LEAST_EACH_S - self._clock(), 0.0)

    def _look_at_what_is_shown(self, at: float) -> None:
        shown = self._shown
        if shown is self._looked_at or not self._answers:
            return
        if shown is not None and shown.status in self._answers:
            while self._answers[0] != shown.status:
                self._answers.popleft()
        elif at < self._written_at + RIGHT_AGAIN_EACH_S:
            return
        else:
            _log.warning("the status of GpuNode %s was overwritten: it is written again", self._identity.node)
            self._written = None
            self._there = self._there and shown is not None
        self._looked_at = shown

    def _ensured(self) -> GpuNodeStatus | None:
        """What a former agent reported, if it can be read: one of another version may have written what this one does
        not know.
        """
        try:
            return self._gpu_nodes.ensure(self._identity.node).status
        except BadInput as error:
            _log.warning("what a former agent reported is not gone on with: %s", error)
            return None

    def _known(self, now: Snapshot) -> Known:
        return Known(
            readings=now.readings,
            unnamed=now.unnamed,
            all_read=self._all_read(),
            marks=now.marks,
            applied={
                uuid: Applied(
                    settled=each.settled,
                    doing=each.doing,
                    complaints=each.complaints,
                    spec_generation=each.spec_generation,
                )
                for uuid, each in now.progress.items()
            },
            spec=now.spec,
            kubelet=now.kubelet,
            models=now.models,
            layout=self._identity.layout,
            agent_version=self._identity.agent_version,
            boot_id=self._identity.boot_id,
            journal=now.journal.state,
            open_intents=now.journal.open_intents,
            journal_why=now.journal.why,
            registered=now.registered,
            other_owners=now.other_owners,
            adopts_layout=self._surroundings.adopts_layout,
            processes_verified=now.processes_verified,
        )
