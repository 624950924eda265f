"""Runs the scheduler stand-in, and beside it who sends pods away and who taints what is cordoned: their mirrors, their
events and a thread of each.

Made by whoever composes `dev`.
"""

import threading
import time
from typing import Final

from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.events import KubeEvents
from knative_mig.adapters.kube.kinds import NODE, POD
from knative_mig.adapters.kube.reflector import KubeMirror
from knative_mig.adapters.threads import Threads
from knative_mig.dev.node import evictor
from knative_mig.dev.node.cordons import Cordons
from knative_mig.dev.node.evictor import Evictor
from knative_mig.dev.node.ports import EVENT_PAUSE_S
from knative_mig.dev.node.scheduler import NAME, Scheduler, host, seeker

_ENDS_WITHIN_S: Final = 1.0


class Scheduling:
    def __init__(self, client: KubeClient) -> None:
        self._stop = threading.Event()
        self._threads = Threads(self._stop)
        self._events = KubeEvents(client, component=NAME, pause_s=EVENT_PAUSE_S)
        self._evictions = KubeEvents(client, component=evictor.NAME, pause_s=EVENT_PAUSE_S)
        self._pods = KubeMirror(client, POD, seeker)
        self._nodes = KubeMirror(client, NODE, host)
        self._scheduler = Scheduler(client, self._pods, self._nodes, self._events)
        self.evictor = Evictor(client, self._pods, self._nodes, self._evictions)
        self._cordons = Cordons(client, self._nodes)

    @property
    def failed(self) -> str:
        """Which thread did; empty: none."""
        return self._threads.failed

    def start(self) -> None:
        self._threads.run("scheduler-events", self._events.run)
        self._threads.run("scheduler-pods", self._pods.run)
        self._threads.run("scheduler-nodes", self._nodes.run)
        self._threads.run("scheduler", self._scheduler.run)
        self._threads.run("evictor-events", self._evictions.run)
        self._threads.run("evictor", self.evictor.run)
        self._threads.run("cordons", self._cordons.run)

    def end(self) -> None:
        self._stop.set()
        wakes = (self._scheduler.stop, self.evictor.stop, self._cordons.stop)
        self._threads.end((*wakes, self._pods.interrupt, self._nodes.interrupt), time.monotonic() + _ENDS_WITHIN_S)
