"""Keeps a socket for each slice that somebody may have mounted, and for no other.

A thread of its own runs `run`. The subtle thing is what must not be taken away: a slice that a container still has
mounted, though its GPU cannot be read or its place is another slice's by now. So nothing is closed before the kubelet
has said who holds what and every GPU has been read.
"""

import logging
import threading
from collections.abc import Callable, Collection
from typing import Final

from knative_mig.core.gpu_node import SliceId
from reconfigurer.agent.board import Board, Snapshot, slices_or_kubelet

_log = logging.getLogger(__name__)
NOTICE_STOP_WITHIN_S: Final = 0.5
TOGETHER_S: Final = 0.2  # a slice that is handed out before has its socket made by that


def slices_with_a_door(now: Snapshot) -> frozenset[SliceId]:
    there = {reading.slice_id(seen) for reading in now.readings.values() for seen in reading.slices}
    held = {SliceId.parse(device) for device in now.kubelet.view.holders} if now.kubelet else set[SliceId]()
    released = {slice_id for slice_id, mark in now.marks.items() if mark.release is not None}
    return frozenset(there | held | released)


class SliceDoors:
    def __init__(self, board: Board, keep: Callable[[Collection[SliceId]], None]) -> None:
        self._board = board
        self._keep = keep
        self._kept: frozenset[SliceId] | None = None

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            known = self._board.snapshot()
            self.step()
            self._board.wait(known, NOTICE_STOP_WITHIN_S, slices_or_kubelet)
            stop.wait(TOGETHER_S)

    def step(self) -> None:
        now = self._board.snapshot()
        if now.kubelet is None or not now.all_read:
            return
        wanted = slices_with_a_door(now)
        if wanted == self._kept:
            return
        try:
            self._keep(wanted)
        except OSError as error:
            _log.warning("a slice's socket cannot be made: %s; its slice cannot be released early", error)
            return
        self._kept = wanted
