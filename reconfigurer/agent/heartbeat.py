"""A Lease that says that this agent lives; the planner leaves a node out whose Lease is not renewed.

A thread of its own runs `run`, so that nothing else that the agent waits for looks like its death. The subtle thing is
that nobody compares its times with a clock of their own: a reader counts from when it saw the Lease change.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from knative_mig.ports.kube import AlreadyExists, ClusterError, Conflict, Key, LeaseRecord, Leases
from reconfigurer.agent.metrics import AgentMetrics

_log = logging.getLogger(__name__)
EACH_S: Final = 5.0
DURATION_S: Final = 20.0
SOON_S: Final = 1.0


class Heartbeat:
    def __init__(
        self, key: Key, holder: str, leases: Leases, metrics: AgentMetrics, *, wall: Callable[[], float]
    ) -> None:
        self._key = key
        self._holder = holder
        self._leases = leases
        self._metrics = metrics
        self._wall = wall
        self._last: LeaseRecord | None = None
        self._silent = False

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(self.beat()):
            pass

    def beat(self) -> float:
        """Renews it; seconds until the next time."""
        try:
            self._last = self._leases.write(self._key, self._next(self._last or self._leases.read(self._key)))
        except ClusterError as error:
            self._last = None
            if isinstance(error, Conflict | AlreadyExists):
                return 0.1  # somebody wrote in between: read it anew
            self._metrics.status_write_errors.labels("lease", error.reason).inc()
            if not self._silent:
                _log.warning("the Lease %s/%s cannot be renewed: %s", self._key.namespace, self._key.name, error)
            self._silent = True
            return SOON_S
        self._silent = False
        return EACH_S

    def _next(self, last: LeaseRecord | None) -> LeaseRecord:
        now = self._wall()
        if last is None:
            return LeaseRecord(holder=self._holder, duration_s=DURATION_S, acquired=now, renewed=now, transitions=0)
        if last.holder == self._holder:
            return replace(last, renewed=now, duration_s=DURATION_S)
        return replace(
            last,
            holder=self._holder,
            duration_s=DURATION_S,
            acquired=now,
            renewed=now,
            transitions=last.transitions + 1,
        )
