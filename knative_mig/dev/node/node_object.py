"""Keeps the Node's object and its heartbeat: what the node has, what of it is allocatable, that it is ready.

Made by `kubelet`, which runs `run` on a thread and wakes it when plugins say something new, or when the Node was
deleted. The subtle thing is the node agent, which writes the counts of slices into the same status as soon as the
kubelet believes them: both write what the device manager believes, so neither undoes the other's.
"""

import logging
import platform
import threading
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any, Final

from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.fields import time_text
from knative_mig.adapters.kube.kinds import NODE
from knative_mig.adapters.kube.leases import KubeLeases
from knative_mig.adapters.kubelet.device_manager import Count
from knative_mig.core.cluster.objects import HOSTNAME
from knative_mig.dev.node.ports import NODE_IP, NodeSettings
from knative_mig.ports.kube import AlreadyExists, ClusterError, Key, LeaseRecord, ObjectNotFound

_log = logging.getLogger(__name__)
LEASE_NAMESPACE: Final = "kube-node-lease"
LEASE_S: Final = 40.0
RENEW_EACH_S: Final = 10.0
STATUS_EACH_S: Final = 300.0
_TOGETHER_S: Final = 0.01  # plugins of a node register one after the other
_TRY_AGAIN_S: Final = 1.0


class NodeObject:
    def __init__(
        self, settings: NodeSettings, client: KubeClient, counts: Callable[[], Mapping[str, Count]], network: str
    ) -> None:
        self._settings, self._client, self._counts, self._network = settings, client, counts, network
        self._key = Key("", str(settings.name))
        self._wake = threading.Event()
        self._gone = threading.Event()
        self._ready_since = time.time()
        self._runtime = f"process://{version('knative-mig')}"  # read once: there may be no file left to read it from
        self._written: dict[str, Any] = {}
        self._leases = KubeLeases(client)
        self._lease: LeaseRecord | None = None

    def wake(self) -> None:
        self._wake.set()

    def gone(self) -> None:
        """A real kubelet would make it anew at its next start, which nobody could bring about here."""
        self._gone.set()
        self.wake()

    def run(self, stop: threading.Event) -> None:
        next_lease = next_status = 0.0
        while not stop.is_set():
            now = time.monotonic()
            if self._gone.is_set():
                self._gone.clear()
                _log.info("node %s is made anew: it was deleted", self._key.name)
                next_status = 0.0
            try:
                if now >= next_status or self._status() != self._written:
                    self.write()
                    next_status = now + STATUS_EACH_S
                if now >= next_lease:
                    self._renew()
                    next_lease = now + RENEW_EACH_S
            except ClusterError as error:
                _log.warning("node %s is not told of: %s", self._key.name, error)
                stop.wait(_TRY_AGAIN_S)
                continue
            self._wake.wait(max(0.0, next_lease - time.monotonic()))
            if self._wake.is_set():
                stop.wait(_TOGETHER_S)
                self._wake.clear()

    def write(self) -> None:
        """Makes it where it is not there. ClusterError."""
        self._ensure()
        status = self._status()
        gone = {name: None for name in self._written.get("capacity", {}) if name not in status["capacity"]}
        sent = {
            **status,
            "capacity": {**status["capacity"], **gone},
            "allocatable": {**status["allocatable"], **gone},
            "conditions": self._conditions(),
        }
        self._client.merge_strategically(NODE, self._key, {"status": sent}, subresource="status")
        self._written = status

    def _ensure(self) -> None:
        labels = {
            HOSTNAME: self._key.name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
            **self._settings.labels,
        }
        about = {"name": self._key.name, "labels": labels}
        spec = {"podCIDR": self._network, "podCIDRs": [self._network]}
        try:
            found = self._client.get(NODE, self._key)
        except ObjectNotFound:
            try:
                self._client.create(NODE, "", {"apiVersion": "v1", "kind": "Node", "metadata": about, "spec": spec})
            except AlreadyExists:
                return
        else:
            if not labels.items() <= (found["metadata"].get("labels") or {}).items():
                self._client.merge(NODE, self._key, {"metadata": {"labels": labels}})

    def _status(self) -> dict[str, Any]:
        own, counts = self._settings.room, self._counts()
        return {
            "capacity": {**own, **{name: str(each.capacity) for name, each in counts.items()}},
            "allocatable": {**own, **{name: str(each.allocatable) for name, each in counts.items()}},
            "addresses": [
                {"type": "InternalIP", "address": NODE_IP},
                {"type": "Hostname", "address": self._key.name},
            ],
            "nodeInfo": {
                "architecture": platform.machine(),
                "containerRuntimeVersion": self._runtime,
                "kernelVersion": platform.release(),
                "kubeletVersion": "v1.36.3",  # whose words and times these are
                "kubeProxyVersion": "",
                "operatingSystem": "linux",
                "osImage": "knative-mig dev",
                "bootID": "",
                "machineID": "",
                "systemUUID": "",
            },
        }

    def _conditions(self) -> list[dict[str, Any]]:
        now, since = time_text(int(time.time())), time_text(int(self._ready_since))
        times = {"lastHeartbeatTime": now, "lastTransitionTime": since}
        good = (
            ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        )
        return [
            *({"type": kind, "status": "False", "reason": why, "message": text, **times} for kind, why, text in good),
            {
                "type": "Ready",
                "status": "True",
                "reason": "KubeletReady",
                "message": "kubelet is posting ready status",
                **times,
            },
        ]

    def _renew(self) -> None:
        key, now = Key(LEASE_NAMESPACE, self._key.name), time.time()
        found = self._lease or self._leases.read(key)
        version_ = found.resource_version if found else ""
        record = LeaseRecord(
            holder=self._key.name,
            duration_s=LEASE_S,
            acquired=found.acquired if found else now,
            renewed=now,
            transitions=0,
            resource_version=version_,
        )
        self._lease = None  # read again where somebody wrote in between
        self._lease = self._leases.write(key, record)
