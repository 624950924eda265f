"""Asks relays of pods that end to hand their generations over, on threads of its own: a relay takes up to two minutes.

Told by the mover, in the planner's rounds, and asked by it in later rounds what has come of it. Nothing of this is
kept: a new leader asks again, and a relay that is asked twice answers for what is left. The threads are made in
`process`, each with `run`.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Final

from knative_mig.ports.relays import HandedOver, NotHandedOver, PodAt, Relays

_log = logging.getLogger(__name__)
_NOTICE_STOP_WITHIN_S: Final = 0.5
Outcome = HandedOver | NotHandedOver


class HandOvers:
    def __init__(self, relays: Relays, *, wake: Callable[[], None]) -> None:
        """`wake`: when one is over."""
        self._relays = relays
        self._wake = wake
        self._lock = threading.Condition()
        self._asked: dict[str, Outcome | None] = {}  # by the UID of the pod that ends; None: it has not answered
        self._queue: deque[tuple[PodAt, PodAt]] = deque()

    def begin(self, leaving: PodAt, to: PodAt) -> None:
        """Once, however often it is told."""
        with self._lock:
            if leaving.uid not in self._asked:
                self._asked[leaving.uid] = None
                self._queue.append((leaving, to))
                self._lock.notify()

    def over(self) -> Mapping[str, Outcome]:
        """By the UID of the pod that ends."""
        with self._lock:
            return MappingProxyType({uid: outcome for uid, outcome in self._asked.items() if outcome is not None})

    def forget_but(self, uids: Collection[str]) -> None:
        with self._lock:
            self._asked = {uid: outcome for uid, outcome in self._asked.items() if uid in uids}

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self.ask_next(_NOTICE_STOP_WITHIN_S)

    def ask_next(self, within_s: float = 0.0) -> bool:
        """Whether there was one."""
        with self._lock:
            if not self._lock.wait_for(lambda: self._queue, within_s):
                return False
            leaving, to = self._queue.popleft()
            if leaving.uid not in self._asked:  # its move is over, or another one leads
                return True
        # One that never answers, in a pod that is gone, would keep this thread from other functions' pods.
        outcome = self._relays.hand_over(leaving, to, is_wanted=lambda: leaving.uid in self._asked)
        _log.info("pod %s hands over to %s: %s", leaving.key.name, to.key.name, outcome)
        with self._lock:
            if leaving.uid in self._asked:
                self._asked[leaving.uid] = outcome
        self._wake()
        return True
