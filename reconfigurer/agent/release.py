"""Lets the holder of a slice give it back before its pod ends: the engine has gone, the relay goes on.

Asked through the slice's own socket, so the slice is known by the door that was knocked at; what is checked is who
knocks. The caller's process must be in the pod that holds the slice, and no process may be left on it, as read after
the request: then the place is free for another slice. The device id stays the pod's until the kubelet drops it.
"""

import logging
from collections.abc import Callable

from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.errors import GpuError, KnativeMigError
from knative_mig.core.gpu_node import Holder, SliceId
from knative_mig.ports.gpu import MigUuid
from knative_mig.ports.kube import Key, Mirror
from knative_mig.ports.processes import PodProcesses
from reconfigurer.agent.board import Board

_log = logging.getLogger(__name__)
ListProcesses = Callable[[SliceId, MigUuid], tuple[int, ...]]


class ReleaseRefused(KnativeMigError):
    """The slice stays its holder's; `reason` says what to do about it."""

    reason = "ReleaseRefused"


class NotTheHolder(ReleaseRefused):
    reason = "NotTheHolder"


class StillInUse(ReleaseRefused):
    """Try again when the engine has ended."""

    reason = "StillInUse"


class ReleaseUnknown(ReleaseRefused):
    """The kubelet, the API server or the GPU did not tell enough: try again."""

    reason = "Unknown"


class ReleaseDesk:
    def __init__(
        self,
        board: Board,
        pods: Mirror[PodFacts],
        processes: PodProcesses,
        list_processes: ListProcesses,
        *,
        clock: Callable[[], float],
        leaves: Callable[[MigUuid, int], None] = lambda _mig_uuid, _pid: None,
    ) -> None:
        """`list_processes` asks the GPU now, or raises a GpuError. `leaves` tells simulated GPUs, which do not see by
        themselves that the caller is not on its slice.
        """
        self._board = board
        self._pods = pods
        self._processes = processes
        self._list_processes = list_processes
        self._clock = clock
        self._leaves = leaves

    def release(self, slice_id: SliceId, pid: int) -> None:
        """Returns when it is released, also where it was before. ReleaseRefused: it is not."""
        now = self._board.snapshot()
        if now.kubelet is None:
            raise ReleaseUnknown("the kubelet does not say who holds the slice")
        holders = now.kubelet.view.holders_of(slice_id)
        if not any(self._is_in(pid, holder) for holder in holders):
            raise NotTheHolder(f"process {pid} is in no pod that holds {slice_id}")
        reading = now.readings.get(slice_id.gpu)
        seen = reading.find(slice_id) if reading else None
        if now.mark(slice_id).release is not None:
            return
        if seen is None or seen.mig_uuid is None:
            raise ReleaseUnknown(f"{slice_id} is not there")
        self._leaves(MigUuid(seen.mig_uuid), pid)
        try:
            pids = self._list_processes(slice_id, MigUuid(seen.mig_uuid))
        except GpuError as error:
            raise ReleaseUnknown(f"the processes on {slice_id} cannot be listed: {error}") from error
        if pids:
            raise StillInUse(f"{slice_id} is held by pid {', '.join(map(str, pids))}")
        try:
            released = self._board.release(slice_id, seen.mig_uuid, self._clock())
        except OSError as error:
            raise ReleaseUnknown(f"the release of {slice_id} cannot be written down: {error}") from error
        if not released:
            raise ReleaseUnknown(f"{slice_id} has been made anew")
        _log.info("slice %s is released by process %d of its holder", slice_id, pid)

    def _is_in(self, pid: int, holder: Holder) -> bool:
        pod = self._pods.snapshot().get(Key(holder.namespace, holder.pod))
        return pod is not None and self._processes.belongs(pid, pod.uid)
