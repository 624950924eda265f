"""The agent's side of its kubelet: serves the devices there are, reads what the kubelet believes and who holds them.

One thread runs `run`; nothing here waits for the API server, so pods start and slices are served while it is away.
PodResources cannot be watched, so they are polled: quickly while an answer is waited for, slowly otherwise. The subtle
thing is the kubelet's own limit over all its clients, 100 calls a second and ten at once; a reading takes two. So
it is asked when its answer can be news, a moment after it was told something or at once where only its word is missing,
and the readings that this takes ahead of a steady pace are few.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Final

from knative_mig.core.agent.known_holders import left_out, reported_holders, with_known_holders
from knative_mig.core.agent.node_resources import Served, profile_of
from knative_mig.core.agent.readings import KubeletReading, KubeletView, Mark, device_id
from knative_mig.core.agent.static_layout import in_our_ids
from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.gpu_node import GpuNodeStatus, SliceId
from knative_mig.ports.kubelet import DevicePlugins, KubeletUnreachable, PodResources
from reconfigurer.agent.board import Board, Snapshot, slices_or_kubelet
from reconfigurer.agent.latest_devices import LatestDevices
from reconfigurer.agent.metrics import AgentMetrics

_log = logging.getLogger(__name__)
SOON_S: Final = 0.005  # a kubelet that is well has taken in by then what it was told
FAST_S: Final = 0.025  # a steady pace: 80 of its 100 calls a second
AHEAD: Final = 3  # readings before that pace allows them, so that four come together: eight calls of its ten
PATIENT_S: Final = 0.1  # what has not come within IMPATIENT_FOR_S hangs on something slower than a kubelet
SLOW_S: Final = 1.0
AWAY_S: Final = 0.25
AWAY_AFTER: Final = 2  # failures in a row
IMPATIENT_FOR_S: Final = 5.0
NOTICE_STOP_WITHIN_S: Final = 0.5


class NodeLoop:
    def __init__(
        self,
        board: Board,
        pod_resources: PodResources,
        plugins: DevicePlugins | None,
        metrics: AgentMetrics,
        *,
        clock: Callable[[], float],
        pods: Callable[[], Iterable[PodFacts] | None] = tuple,
    ) -> None:
        """Without `plugins` the node's layout is static: it is read, nothing is served. The first devices are held back
        until all GPUs have been read: with fewer than there are, running pods' devices would vanish. `pods`: of this
        node, as the API server knows them; None until it has told.
        """
        self._board = board
        self._pod_resources = pod_resources
        self._plugins = plugins
        self._metrics = metrics
        self._clock = clock
        self._pods = pods
        self._view = KubeletView()
        self._completing = threading.Lock()
        self._goes_on_from_a_report = False
        self._left_out: tuple[object, ...] = ()
        self._latest = LatestDevices()
        self._served: Served | None = None
        self._connected: bool | None = None
        self._failures = 0
        self._asked_at = self._told_at = float("-inf")
        self._paced_at = float("-inf")  # when the next reading is due at a steady pace
        self._outstanding_since: float | None = None
        self.stepped_at = clock()

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            known = self._board.snapshot()
            wait_s = self.step()
            # What this step put on the board itself ends the wait at once, and the next step finds nothing to do.
            self._board.wait(known, min(wait_s, NOTICE_STOP_WITHIN_S), slices_or_kubelet)

    def reported(self, last: GpuNodeStatus | None) -> None:
        """What stood in the GpuNode when this agent first read it, on whichever thread that was; the first to say so is
        believed. Who held a slice by it does until the kubelet or the API server knows better.
        """
        with self._completing:
            if self._goes_on_from_a_report:
                return
            self._goes_on_from_a_report = True
            if last is None:
                return
            self._view = with_known_holders(self._view, reported_holders(last), None)
            kubelet = self._board.snapshot().kubelet
            if kubelet is not None:
                self._board.put_kubelet(self._completed(kubelet.view), kubelet.asked_at)

    def step(self) -> float:
        """Seconds until the kubelet is to be asked again, if nothing changes before."""
        self.stepped_at = self._clock()
        self._serve(self._board.snapshot())
        due_in = self._due_at() - self._clock()
        if due_in > 0:
            return due_in
        self._ask()
        return max(self._due_at() - self._clock(), 0.0)

    def _serve(self, now: Snapshot) -> None:
        if self._plugins is None or (self._served is None and not now.all_read):
            return
        devices = self._latest.of(now)
        if devices != self._served:
            self._plugins.serve(devices)
            self._served, self._told_at = devices, self._clock()

    def _ask(self) -> None:
        self._asked_at = self._clock()
        self._paced_at = max(self._paced_at, self._asked_at) + FAST_S
        try:
            view = self._pod_resources.view()
        except KubeletUnreachable as error:
            self._failures += 1
            if self._failures < AWAY_AFTER:
                # It limits its calls, and others call too: the last view stands, and grows old for whoever destroys.
                return
            if self._connected is not False:
                _log.warning("the kubelet does not answer: %s; nothing is destroyed until it does", error)
                self._connected = False
                self._metrics.kubelet_connected.set(0)
                self._board.kubelet_away()
            return
        self._failures = 0
        if self._connected is False:
            _log.info("the kubelet answers again")
            self._metrics.kubelet_reconnects.inc()
        self._connected = True
        self._metrics.kubelet_connected.set(1)
        if self._plugins is not None:
            self._plugins.observe(view)
        # Also on a dynamic node: another plugin's devices are no slices of ours, and are left out.
        told = in_our_ids(view, self._board.snapshot().readings.values())
        with self._completing:
            self._board.put_kubelet(self._completed(told), self._asked_at)

    def _completed(self, told: KubeletView) -> KubeletView:
        self._view = with_known_holders(told, self._view, self._pods())
        missing = left_out(self._view, told)
        if missing and missing != self._left_out:
            names = ", ".join(f"{device} ({holder.namespace}/{holder.pod})" for device, holder in missing)
            _log.warning("the kubelet lists no holder of %s: who had it lives, and has it still", names)
        self._left_out = missing
        return self._view

    def _due_at(self) -> float:
        now = self._board.snapshot()
        if self._failures:
            return self._asked_at + AWAY_S
        if now.kubelet is None or not self._outstanding(now, now.kubelet):
            if self._outstanding_since is not None:
                self._metrics.phase_seconds.labels("kubelet").observe(self._clock() - self._outstanding_since)
            self._outstanding_since = None
            return self._asked_at + SLOW_S
        if self._outstanding_since is None:
            self._outstanding_since = self._clock()
        if self._clock() - self._outstanding_since >= IMPATIENT_FOR_S:
            return self._asked_at + PATIENT_S
        return max(max(self._asked_at, self._told_at) + SOON_S, self._paced_at - AHEAD * FAST_S)

    def _outstanding(self, now: Snapshot, kubelet: KubeletReading) -> bool:
        """Whether the kubelet has yet to believe something, or to say who got a slice, or somebody waits for it to."""
        for slice_id, mark in now.marks.items():
            if _its_word_is_missing(slice_id, mark, kubelet):
                return True
            if mark.just_handed_out(self._clock()) and not kubelet.view.holders_of(slice_id):
                return True
        if self._served is None:
            return False
        healthy = {device.id for devices in self._served.values() for device in devices if device.healthy}
        return healthy != {each for each in kubelet.view.allocatable if profile_of(each) is not None}


def _its_word_is_missing(slice_id: SliceId, mark: Mark, kubelet: KubeletReading) -> bool:
    """Of a slice that is taken back: to let it go, and who holds it after kubelet and Node were seen to have."""
    since, lowered_at = mark.withdrawn_since, mark.lowered_at
    if since is None:
        return False
    if lowered_at is not None:
        return kubelet.asked_at <= lowered_at
    return kubelet.asked_at <= since or device_id(slice_id) in kubelet.view.allocatable
