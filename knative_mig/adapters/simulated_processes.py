"""Puts the processes of pods onto the simulated slices that they hold, as CUDA would on hardware.

Composed in the node agent with `--gpus simulated:…`; a thread of its own runs it each `EACH_S` and after each change.
A pod that holds a simulated slice is its process, so a slice in use is refused by the driver, not by bookkeeping. The
subtle thing is a relay that releases its pod's slice early: it lives on, beside the pod's other containers, and none of
them is on the slice. On hardware the driver knows; here the relay says it itself (`leaves`), and what is left are the
processes that it started. After a restart of the agent nobody says it again: whoever is in the pod of a released slice
by then is not on it.
"""

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from knative_mig.adapters.sim_gpu.controls import SimulationControls
from knative_mig.core.errors import BadInput, SliceNotFound
from knative_mig.ports.gpu import MigUuid
from knative_mig.ports.processes import PodProcesses

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Left:
    """By whom a slice was released, of which holders: theirs are now only descendants of those, an engine if there is
    one.
    """

    pids: frozenset[int]
    holders: frozenset[str]


class SimulatedProcesses:
    def __init__(
        self, controls: SimulationControls, processes: PodProcesses, *, released: frozenset[MigUuid] = frozenset()
    ) -> None:
        """`released`: before this process began."""
        self._controls = controls
        self._processes = processes
        self._lock = threading.Lock()
        self._holders: Mapping[MigUuid, frozenset[str]] = {}
        self._on: dict[MigUuid, frozenset[int]] = {}
        self._left: dict[MigUuid, _Left] = {}
        self._released = set(released)

    def leaves(self, mig_uuid: MigUuid, pid: int) -> None:
        """A process of a holder says that it is not on its slice: only what it started may be."""
        with self._lock:
            self._left[mig_uuid] = _Left(frozenset({pid}), self._holders.get(mig_uuid, frozenset()))
            self._put(mig_uuid, self._on.get(mig_uuid, frozenset()))

    def step(self, holders: Mapping[MigUuid, frozenset[str]]) -> None:
        """`holders`: the UIDs of the pods that hold each slice that there is now."""
        found = self._processes.of_pods({uid for uids in holders.values() for uid in uids})
        with self._lock:
            self._holders = holders
            for mig_uuid in self._released & holders.keys():
                there = frozenset().union(*(found[uid] for uid in holders[mig_uuid]))
                self._left[mig_uuid] = _Left(there, holders[mig_uuid])
            self._released -= holders.keys()
            for mig_uuid, left in tuple(self._left.items()):
                if holders.get(mig_uuid) != left.holders:
                    del self._left[mig_uuid]
            for mig_uuid in self._on.keys() | holders.keys():
                uids = holders.get(mig_uuid, frozenset())
                self._put(mig_uuid, frozenset().union(*(found[uid] for uid in uids)))

    def _put(self, mig_uuid: MigUuid, pids: frozenset[int]) -> None:
        left = self._left.get(mig_uuid)
        here = pids if left is None else self._descendants(pids, left.pids)
        before = self._on.pop(mig_uuid, frozenset())
        for pid in before - here:
            self._detach(mig_uuid, pid)
        if kept := frozenset(pid for pid in here if pid in before or self._attach(mig_uuid, pid)):
            self._on[mig_uuid] = kept

    def _descendants(self, pids: frozenset[int], left: frozenset[int]) -> frozenset[int]:
        descends = self._processes.descends
        return frozenset(pid for pid in pids - left if any(descends(pid, each) for each in left))

    def _attach(self, mig_uuid: MigUuid, pid: int) -> bool:
        """Also false where the process, or the slice, went in the meantime."""
        try:
            self._controls.attach(mig_uuid, pid=pid)
        except (BadInput, SliceNotFound):
            return False
        _log.info("process %d is on simulated slice %s", pid, mig_uuid)
        return True

    def _detach(self, mig_uuid: MigUuid, pid: int) -> None:
        try:
            self._controls.detach(mig_uuid, pid=pid)
        except SliceNotFound:
            _log.debug("simulated slice %s is gone, and process %d with it", mig_uuid, pid)
