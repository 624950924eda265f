"""The kubelet stand-in of one node: its device plugins, its Node, and a worker for each pod that is bound to it.

Made by whoever composes `dev`, one a simulated node, in the main process; the node's agent beside it is a process of
its own and sees what it would see of a real kubelet. The subtle thing is a pod's name, which may come back while the
pod that had it is still ending: the next one waits for that end, for its devices are known by the name.
"""

import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.events import KubeEvents
from knative_mig.adapters.kube.kinds import NODE, POD
from knative_mig.adapters.kube.reflector import KubeMirror
from knative_mig.adapters.kubelet.allocations import Checkpoint
from knative_mig.adapters.kubelet.device_manager import DeviceManager
from knative_mig.adapters.threads import Threads
from knative_mig.dev.node import pod_spec
from knative_mig.dev.node.addresses import Addresses
from knative_mig.dev.node.images import Image, installed
from knative_mig.dev.node.logs import PodLogs
from knative_mig.dev.node.node_object import NodeObject
from knative_mig.dev.node.pod_worker import PodWorker
from knative_mig.dev.node.ports import EVENT_PAUSE_S, NodeSettings, Traffic
from knative_mig.dev.node.tools import Tools
from knative_mig.ports.kube import Key

# What programs of this machine are given of this process's environment; all else is the user's own.
HOST_VARIABLES: Final = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
HALT_GRACE_S: Final = 5.0
_NOTICE_STOP_WITHIN_S: Final = 0.5


class Kubelet:
    def __init__(
        self,
        settings: NodeSettings,
        client: KubeClient,
        *,
        traffic: Traffic | None = None,
        images: Mapping[str, Image] | None = None,
        checkpoint: Checkpoint | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self._stop = threading.Event()
        self._threads = Threads(self._stop)
        self._client = client
        self.devices = DeviceManager(
            settings.sockets,
            checkpoint=checkpoint,
            happened=lambda _: self._node.wake(),
            listed=lambda pod: self._pods.get(pod) is not None,
            clock=clock,
        )
        addresses = Addresses(settings.number)
        self._node = NodeObject(settings, client, self.devices.counts, addresses.network)
        self._events = KubeEvents(client, component="kubelet", instance=str(settings.name), pause_s=EVENT_PAUSE_S)
        self._pods = KubeMirror(client, POD, pod_spec.seen, field_selector=f"spec.nodeName={settings.name}")
        self._own = KubeMirror(client, NODE, _uid, field_selector=f"metadata.name={settings.name}")
        self._own.on_change(self._look_at_own)
        self._tools = Tools(
            settings=settings,
            client=client,
            devices=self.devices,
            addresses=addresses,
            images=installed() if images is None else images,
            logs=PodLogs(settings.logs),
            events=self._events,
            traffic=traffic,
            host=_host_variables(os.environ),
        )
        self.logs = self._tools.logs
        self._workers: dict[Key, PodWorker] = {}
        self._ended: dict[Key, str] = {}  # whose objects are removed, as the mirror will show: their uids
        self._changed: queue.SimpleQueue[Key | None] = queue.SimpleQueue()
        self._pods.on_change(self._changed.put)

    def start(self) -> None:
        """OSError: its sockets cannot be made. ClusterError: its Node cannot."""
        self.settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _forget_pods(self.settings.folder)
        self.devices.start()
        self._node.write()
        self._threads.run("node", self._node.run)
        self._threads.run("events", self._events.run)
        self._threads.run("mirror", self._pods.run)
        self._threads.run("own-node", self._own.run)
        self._threads.run("pods", self._run_pods)

    @property
    def failed(self) -> str:
        """Which thread did; empty: none."""
        return self._threads.failed

    def is_running(self, uid: str, container: str, life: int) -> bool:
        """That life of a container of a pod of this node."""
        return any(each.pod.uid == uid and each.is_running(container, life) for each in tuple(self._workers.values()))

    def may_be_killed(self) -> Mapping[str, int]:
        """Of its replicas: the first process of each container that is back at once, by NAMESPACE/POD/CONTAINER."""
        return {
            f"{worker.pod.key.namespace}/{worker.pod.key.name}/{name}": pid
            for worker in tuple(self._workers.values())
            for name, pid in worker.may_be_killed().items()
        }

    def end(self, grace_s: float = HALT_GRACE_S) -> None:
        """Back when all that it started has ended. The pods' objects stay: the next start runs them anew."""
        self._stop.set()
        self._node.wake()
        self._changed.put(None)
        self._threads.join("pods", time.monotonic() + _NOTICE_STOP_WITHIN_S)
        workers = tuple(self._workers.values())
        for worker in workers:
            worker.halt(grace_s)
        deadline = time.monotonic() + grace_s + HALT_GRACE_S
        for worker in workers:
            worker.join(max(0.0, deadline - time.monotonic()))
        self._threads.end((self._pods.interrupt, self._own.interrupt), time.monotonic() + _NOTICE_STOP_WITHIN_S)
        self.devices.stop()

    def hurry(self) -> None:
        """While `end` waits: its pods get no more time."""
        for worker in tuple(self._workers.values()):
            worker.halt(0.0)

    def _run_pods(self, stop: threading.Event) -> None:
        synced = False
        while not stop.is_set():
            if not synced and self._pods.synced:
                synced = True
                self.devices.keep_only(frozenset(self._pods.snapshot()))
            try:
                key = self._changed.get(timeout=_NOTICE_STOP_WITHIN_S)
            except queue.Empty:
                continue
            if key is not None and not stop.is_set():
                self._look_at(key)

    def _look_at(self, key: Key) -> None:
        pod, worker = self._pods.get(key), self._workers.get(key)
        if pod is None or pod.uid != self._ended.get(key):
            self._ended.pop(key, None)
        if worker is None:
            if pod is not None and key not in self._ended and (pod.deleted or not pod.over):
                self._workers[key] = worker = PodWorker(pod, self._tools, over=self._worker_over)
                worker.start()
        elif pod is None or pod.uid != worker.pod.uid:
            worker.gone()
        else:
            worker.update(pod)

    def _look_at_own(self, key: Key) -> None:
        if self._own.get(key) is None:
            self._node.gone()

    def _worker_over(self, worker: PodWorker) -> None:
        """On its thread."""
        key = worker.pod.key
        self._ended[key] = worker.pod.uid
        if self._workers.get(key) is worker:
            del self._workers[key]
        self._changed.put(key)


def _uid(body: Mapping[str, Any]) -> str:
    return str(body["metadata"]["uid"])


def _host_variables(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: environment[name] for name in HOST_VARIABLES if name in environment}


def _forget_pods(folder: Path) -> None:
    """Of a process that was killed: its containers ended with it, their folders did not."""
    shutil.rmtree(folder / "pods", ignore_errors=True)
