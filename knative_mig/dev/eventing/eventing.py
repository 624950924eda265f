"""Eventing as one part of `dev`: its port, its controllers and its deliveries, started and stopped together.

Made by `dev`'s process, and by tests. The port is bound as soon as it is made, so that one that is taken fails the
start; before `start` nobody is answered.
"""

import threading
import time
from collections.abc import Sequence
from typing import Final

from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.reflector import WATCH_S
from knative_mig.adapters.threads import Threads
from knative_mig.dev.eventing.controllers import Controllers
from knative_mig.dev.eventing.courses import Course
from knative_mig.dev.eventing.ingress import Ingress
from knative_mig.dev.eventing.ports import Addresses
from knative_mig.dev.eventing.post import Post
from knative_mig.dev.eventing.queues import Queues
from knative_mig.dev.eventing.sending import Sender
from knative_mig.ports.kube import Key

_JOINED_S: Final = 5.0


class Eventing:
    def __init__(
        self,
        client: KubeClient,
        addresses: Addresses,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        queues: Queues | None = None,
        watch_s: float = WATCH_S,
    ) -> None:
        """OSError: the port is taken."""
        self._host = host
        self.post = Post(Sender(addresses), self.address, queues=queues)
        self._ingress = Ingress(host, port, self.post)
        self._controllers = Controllers(client, self.post, self.address, watch_s=watch_s)
        self._threads = Threads(threading.Event())
        self._serves = False

    @property
    def port(self) -> int:
        return self._ingress.port

    def address(self, broker: Key) -> str:
        """Where it takes events: what its status says, and a K_SINK."""
        return f"http://{self._host}:{self.port}/{broker.namespace}/{broker.name}"

    def start(self) -> None:
        for name, body in (*self._controllers.bodies().items(), ("event deliveries", self.post.run)):
            self._threads.run(name, body)
        self._threads.run("broker ingress", lambda _: self._ingress.serve())
        self._serves = True

    def wait_synced(self, timeout_s: float) -> bool:
        """Until the Brokers and Triggers that there are are known."""
        return self._controllers.wait_synced(timeout_s)

    @property
    def failed(self) -> str:
        """Which thread did; empty: none."""
        return self._threads.failed

    def stop(self, within_s: float = 5.0) -> Sequence[Course]:
        """What is under way has so long; what was accepted and is not delivered by then is the answer."""
        if self._serves:
            self._serves = False
            self._ingress.stop()
        else:
            self._ingress.server_close()
        left = self.post.end(within_s)
        self._threads.stop.set()
        self._threads.end((self._controllers.interrupt,), time.monotonic() + _JOINED_S)
        return left
