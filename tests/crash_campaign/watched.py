"""The ports of agent and planner, each call announced before and after: whoever is told may kill it right there.

Made in their own processes by `agents` and `planners`, and by `bench.one_node`, which takes the time of each call. The
subtle thing is the announcement: its thread goes on only when the answer has come, so a kill strikes exactly there,
while the other threads run on as they do in life. Not announced are waiting for events, which goes on all the time, and
reads of the API server: neither changes anything.
"""

import json
import socket
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from knative_mig.adapters.kube.client import ANSWER_S, KubeClient, Object, Page
from knative_mig.adapters.kube.kinds import Kind
from knative_mig.adapters.kube.stream import Stream
from knative_mig.core.geometry import Place
from knative_mig.core.gpu_node import SliceId, SliceKey
from knative_mig.core.profile import ProfileName
from knative_mig.ports.gpu import (
    Activation,
    Gpu,
    GpuDriver,
    GpuInstance,
    GpuUuid,
    HealthEvent,
    Inventory,
    Occupancy,
    SliceProcess,
)
from knative_mig.ports.injection import SliceInjection
from knative_mig.ports.journal import Intent, Journal, Operation
from knative_mig.ports.kube import Key
from tests.crash_campaign.points import When

T = TypeVar("T")


class Around(Protocol):
    def around(self, call: str, do: Callable[[], T]) -> T:
        """What `do` answers or raises, with whatever else is done before and after it."""


class Announcer:
    """An `Around` with one connection: announcements come one after another, each answered before the next."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._answers = self._socket.makefile("rb")

    def around(self, call: str, do: Callable[[], T]) -> T:
        self._announce(When.BEFORE, call)
        try:
            return do()
        finally:
            self._announce(When.AFTER, call)

    def _announce(self, when: When, call: str) -> None:
        with self._lock:
            self._socket.sendall(json.dumps([when, call]).encode() + b"\n")
            self._answers.readline()


@dataclass(frozen=True, slots=True)
class WatchedGpus:
    """A `ports.gpu.GpuDriver`."""

    driver: GpuDriver
    to: Around

    def inventory(self) -> Inventory:
        return self.to.around("gpu inventory", self.driver.inventory)

    def gpu(self, uuid: GpuUuid) -> Gpu:
        return self.to.around("gpu read", lambda: self.driver.gpu(uuid))

    def set_mig_mode(self, uuid: GpuUuid, *, enabled: bool) -> Activation:
        return self.to.around("gpu set_mig_mode", lambda: self.driver.set_mig_mode(uuid, enabled=enabled))

    def remaining_capacity(self, uuid: GpuUuid, profile: ProfileName) -> int:
        return self.to.around("gpu remaining_capacity", lambda: self.driver.remaining_capacity(uuid, profile))

    def create_gpu_instance(self, uuid: GpuUuid, profile: ProfileName, start: int | None = None) -> GpuInstance:
        call = f"gpu create_gpu_instance {profile}@{start}"
        return self.to.around(call, lambda: self.driver.create_gpu_instance(uuid, profile, start))

    def create_compute_instance(self, instance: GpuInstance) -> GpuInstance:
        call = f"gpu create_compute_instance {instance.place}"
        return self.to.around(call, lambda: self.driver.create_compute_instance(instance))

    def destroy_compute_instance(self, instance: GpuInstance) -> GpuInstance:
        call = f"gpu destroy_compute_instance {instance.place}"
        return self.to.around(call, lambda: self.driver.destroy_compute_instance(instance))

    def destroy_gpu_instance(self, instance: GpuInstance) -> None:
        self.to.around(f"gpu destroy_gpu_instance {instance.place}", lambda: self.driver.destroy_gpu_instance(instance))

    def processes(self, instance: GpuInstance) -> tuple[SliceProcess, ...]:
        return self.to.around(f"gpu processes {instance.place}", lambda: self.driver.processes(instance))

    def occupancy(self, uuid: GpuUuid) -> Occupancy:
        return self.to.around("gpu read", lambda: self.driver.occupancy(uuid))

    def wait_for_event(self, timeout_s: float) -> HealthEvent | None:
        return self.driver.wait_for_event(timeout_s)

    def close(self) -> None:
        self.driver.close()


@dataclass(frozen=True, slots=True)
class WatchedJournal:
    """A `ports.journal.Journal`. `writable` writes only when it had been unwritable, so it is not announced."""

    journal: Journal
    to: Around

    def intend(self, operation: Operation, gpu: GpuUuid, key: SliceKey, *, mig_uuid: str | None = None) -> Intent:
        call = f"journal intend {operation} {key}"
        return self.to.around(call, lambda: self.journal.intend(operation, gpu, key, mig_uuid=mig_uuid))

    def done(self, intent: Intent) -> None:
        self.to.around(f"journal done {intent.operation} {intent.slice}", lambda: self.journal.done(intent))

    def open_intents(self) -> int:
        return self.journal.open_intents()

    def writable(self) -> bool:
        return self.journal.writable()

    def close(self) -> None:
        self.journal.close()


@dataclass(frozen=True, slots=True)
class WatchedInjection:
    """A `ports.injection.SliceInjection`."""

    injection: SliceInjection
    to: Around

    def publish(self, slice_id: SliceId, place: Place, mig_uuid: str, gi_id: int, ci_id: int) -> None:
        call = f"cdi publish {place}"
        self.to.around(call, lambda: self.injection.publish(slice_id, place, mig_uuid, gi_id, ci_id))

    def withdraw(self, slice_id: SliceId) -> None:
        call = f"cdi withdraw {slice_id.profile}@{slice_id.start}"
        self.to.around(call, lambda: self.injection.withdraw(slice_id))

    def sweep(self, gpu: GpuUuid, live: Collection[SliceId]) -> None:
        self.to.around("cdi sweep", lambda: self.injection.sweep(gpu, live))


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One of the API server, as it is about to be sent. `below`: the subresource."""

    verb: str
    kind: Kind
    key: Key
    body: object
    below: str = ""


def by_kind(write: Write) -> str:
    """An agent writes its own node's objects alone."""
    named = "/" if write.verb == "patch" or write.below else ""
    return f"api {write.verb} {write.kind.plural}{named}{write.below}"


@dataclass(frozen=True, slots=True)
class WatchedClient:
    """What of a KubeClient the adapters of agent and planner call. What `named` names nothing is not announced."""

    client: KubeClient
    to: Around
    named: Callable[[Write], str] = by_kind

    def get(self, kind: Kind, key: Key) -> Object:
        return self.client.get(kind, key)

    def page(self, kind: Kind, namespace: str, query: Mapping[str, str]) -> Page:
        return self.client.page(kind, namespace, query)

    def watch(self, kind: Kind, namespace: str, query: Mapping[str, str], *, seconds: float) -> Stream:
        return self.client.watch(kind, namespace, query, seconds=seconds)

    def create(self, kind: Kind, namespace: str, body: Object) -> Object:
        write = Write(verb="create", kind=kind, key=Key(namespace, body["metadata"].get("name", "")), body=body)
        return self._announced(write, lambda: self.client.create(kind, namespace, body))

    def create_below(
        self, kind: Kind, key: Key, subresource: str, body: Object, *, answer_s: float = ANSWER_S
    ) -> Object:
        write = Write(verb="create", kind=kind, key=key, body=body, below=subresource)
        return self._announced(write, lambda: self.client.create_below(kind, key, subresource, body, answer_s=answer_s))

    def replace(self, kind: Kind, key: Key, body: Object) -> Object:
        write = Write(verb="replace", kind=kind, key=key, body=body)
        return self._announced(write, lambda: self.client.replace(kind, key, body))

    def merge(self, kind: Kind, key: Key, patch: Object, *, subresource: str = "", manager: str = "") -> Object:
        write = Write(verb="patch", kind=kind, key=key, body=patch, below=subresource)
        return self._announced(
            write, lambda: self.client.merge(kind, key, patch, subresource=subresource, manager=manager)
        )

    def merge_strategically(self, kind: Kind, key: Key, patch: Object, *, subresource: str = "") -> Object:
        write = Write(verb="patch", kind=kind, key=key, body=patch, below=subresource)
        return self._announced(
            write, lambda: self.client.merge_strategically(kind, key, patch, subresource=subresource)
        )

    def patch(self, kind: Kind, key: Key, operations: list[Object], *, subresource: str = "") -> Object:
        write = Write(verb="patch", kind=kind, key=key, body=operations, below=subresource)
        return self._announced(write, lambda: self.client.patch(kind, key, operations, subresource=subresource))

    def delete(self, kind: Kind, key: Key, options: Object | None = None) -> None:
        write = Write(verb="delete", kind=kind, key=key, body=options)
        self._announced(write, lambda: self.client.delete(kind, key, options))

    def _announced(self, write: Write, do: Callable[[], T]) -> T:
        call = self.named(write)
        return self.to.around(call, do) if call else do()
