"""Puts the processes of pods onto the simulated slices that they hold, as CUDA would on hardware.

Composed in the node agent with `--gpus simulated:…`; a thread of its own runs it each `EACH_S` and after each change.
A pod that holds a simulated slice is its process, so a slice in use is refused by the driver, not by bookkeeping. The
subtle thing is the relay of a pod that releases its slice early: it lives on and is not on the slice, which on hardware
the driver would know and here it says itself (`leaves`).
"""

import logging
from collections.abc import Mapping
from typing import Final

from knative_mig.adapters.sim_gpu.controls import SimulationControls
from knative_mig.core.errors import BadInput, SliceNotFound
from knative_mig.ports.gpu import MigUuid
from knative_mig.ports.processes import PodProcesses

_log = logging.getLogger(__name__)
EACH_S: Final = 0.5


class SimulatedProcesses:
    def __init__(self, controls: SimulationControls, processes: PodProcesses) -> None:
        self._controls = controls
        self._processes = processes
        self._on: dict[MigUuid, frozenset[int]] = {}
        self._left: dict[MigUuid, frozenset[int]] = {}

    def leaves(self, mig_uuid: MigUuid, pid: int) -> None:
        """This process of a holder is not on its slice, and will not be."""
        self._left[mig_uuid] = self._left.get(mig_uuid, frozenset()) | {pid}
        self._detach(mig_uuid, pid)

    def step(self, holders: Mapping[MigUuid, frozenset[str]]) -> None:
        """`holders`: the UIDs of the pods that hold each slice that there is now."""
        found = self._processes.of_pods({uid for uids in holders.values() for uid in uids})
        for mig_uuid, uids in holders.items():
            here = frozenset().union(*(found[uid] for uid in uids)) - self._left.get(mig_uuid, frozenset())
            before = self._on.get(mig_uuid, frozenset())
            kept = {pid for pid in here if pid in before or self._attach(mig_uuid, pid)}
            for pid in before - here:
                self._detach(mig_uuid, pid)
            self._on[mig_uuid] = frozenset(kept)
        for mig_uuid in self._on.keys() - holders.keys():
            for pid in self._on.pop(mig_uuid):
                self._detach(mig_uuid, pid)
            self._left.pop(mig_uuid, None)

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
