"""Tells simulated GPUs which pods hold which slice, so that the pods' processes are on it.

A thread of its own runs `run`, with simulated GPUs alone. A process may come at any time while its pod holds a slice,
so it looks again and again.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Final

from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.gpu_node import SliceId
from knative_mig.ports.gpu import MigUuid
from knative_mig.ports.kube import Key, Mirror
from reconfigurer.agent.board import Board, Snapshot

EACH_S: Final = 0.25
WITHOUT_HOLDERS_S: Final = 0.5


def pods_on_slices(now: Snapshot, pods: Mapping[Key, PodFacts]) -> Mapping[MigUuid, frozenset[str]]:
    """A pod that holds an id whose slice is another one by now, after a release, is not on it."""
    found: dict[MigUuid, frozenset[str]] = {}
    for device, holders in now.kubelet.view.holders.items() if now.kubelet else ():
        slice_id = SliceId.parse(device)
        reading, release = now.readings.get(slice_id.gpu), now.mark(slice_id).release
        seen = reading.find(slice_id) if reading else None
        if seen is None or seen.mig_uuid is None or (release is not None and release.mig_uuid != seen.mig_uuid):
            continue
        keys = (Key(holder.namespace, holder.pod) for holder in holders)
        if uids := frozenset(pods[key].uid for key in keys if key in pods):
            found[MigUuid(seen.mig_uuid)] = uids
    return found


class SimulatedHolders:
    def __init__(
        self,
        board: Board,
        pods: Mirror[PodFacts],
        attach: Callable[[Mapping[MigUuid, frozenset[str]]], None],
    ) -> None:
        self._board = board
        self._pods = pods
        self._attach = attach

    def run(self, stop: threading.Event) -> None:
        wait_s = 0.0
        while not stop.wait(wait_s):
            wait_s = self.step()

    def step(self) -> float:
        """While the kubelet is away nobody is taken off a slice."""
        now = self._board.snapshot()
        if now.kubelet is None:
            return WITHOUT_HOLDERS_S
        holders = pods_on_slices(now, self._pods.snapshot())
        self._attach(holders)
        return EACH_S if holders else WITHOUT_HOLDERS_S
