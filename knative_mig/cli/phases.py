"""Watches a function's cold start and says each phase as it comes, on the standard error.

Made by `invoke` around its request. The mirrors' threads tell; one lock keeps their lines whole. What cannot be watched
(a cluster without GpuNodes, an account that may not list pods) is not told, and the request goes on all the same.
"""

import threading
import time
from collections.abc import Callable
from typing import Final, Self

from knative_mig.adapters.kube import gpu_node_codec
from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.kinds import GPU_NODE, POD
from knative_mig.adapters.kube.parse import SERVICE_LABEL
from knative_mig.adapters.kube.reflector import KubeMirror
from knative_mig.cli.cold_start import ColdStart, Line, Phase, Seen, replica
from knative_mig.ports.kube import Key

_LOOKS_EACH_S: Final = 1.0  # for what is news because nothing has changed
_SEEN_WITHIN_S: Final = 2.0  # what was there before; a request is not held up for longer


class Phases:
    def __init__(self, client: KubeClient, function: Key, say: Callable[[str], None]) -> None:
        self._say = say
        self._pods = KubeMirror(
            client, POD, replica, namespace=function.namespace, label_selector=f"{SERVICE_LABEL}={function.name}"
        )
        self._nodes = KubeMirror(client, GPU_NODE, gpu_node_codec.read)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._cold_start: ColdStart | None = None
        self._sent = 0.0
        self._last = Line(Phase.HELD)

    def __enter__(self) -> Self:
        mirrors = (self._pods, self._nodes)
        for mirror in mirrors:
            threading.Thread(target=mirror.run, args=(self._stop,), name=mirror.kind.plural, daemon=True).start()
        deadline = time.monotonic() + _SEEN_WITHIN_S
        for mirror in mirrors:
            mirror.wait_synced(max(0.0, deadline - time.monotonic()))
        self._cold_start = ColdStart(self._seen())
        self._sent = time.monotonic()
        for mirror in mirrors:
            mirror.on_change(lambda _: self._look())
        if not self._cold_start.is_warm:
            self._tell(Line(Phase.HELD, "no replica is ready"))
        self._look()  # at what has come since it was seen
        threading.Thread(target=self._look_on, name="silence", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> float:
        """No phase is told after this; gives how many seconds have gone by."""
        with self._lock:
            self._stop.set()
        for mirror in (self._pods, self._nodes):
            mirror.interrupt()
        return time.monotonic() - self._sent

    @property
    def last(self) -> str:
        """What was told last, for who gives up."""
        with self._lock:
            return ": ".join(filter(None, (self._last.phase, self._last.detail)))

    def _look_on(self) -> None:
        while not self._stop.wait(_LOOKS_EACH_S):
            self._look()

    def _look(self) -> None:
        with self._lock:
            if self._cold_start is not None and not self._stop.is_set():
                for line in self._cold_start.look(self._seen(), time.monotonic()):
                    self._tell(line)

    def _seen(self) -> Seen:
        return Seen(
            replicas=tuple(self._pods.snapshot().values()),
            nodes=tuple(self._nodes.snapshot().values()),
        )

    def _tell(self, line: Line) -> None:
        self._last = line
        self._say(f"{line.phase:<12}{time.monotonic() - self._sent:7.2f} s  {line.detail}".rstrip())
