"""The kubelet's side of the device plugins' sockets, as the tests break it: what it does is `device_manager`'s.

Its node's status changes at once, where the real one's takes up to ten seconds.
"""

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import grpc

from knative_mig.adapters.kubelet import methods
from knative_mig.adapters.kubelet.device_manager import (
    AdmissionFailed,
    ContainerNotStarted,
    DeviceManager,
    Happened,
    What,
    _Believed,
    _Endpoint,
)
from knative_mig.core.profile import ProfileName
from knative_mig.ports.kube import Key
from knative_mig.ports.kubelet import Device

__all__ = ["AdmissionFailed", "ContainerNotStarted", "FakeKubelet", "Started"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What a container was started with."""

    devices: tuple[str, ...]
    environment: Mapping[str, str]
    mounts: Mapping[str, str]  # container path -> host path
    cdi_devices: tuple[str, ...]


class FakeKubelet:
    """`with FakeKubelet(folder) as kubelet`: runs until the end of the block."""

    def __init__(self, folder: Path, *, seed: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.manager = DeviceManager(
            folder,
            happened=self._happened,
            listed=lambda _: self.has_heard_of_its_pods,
            before_call=self._before_call,
            clock=clock,
            pick=random.Random(seed),
        )
        self.plugins_folder = self.manager.plugins_folder
        self.pod_resources_socket = self.manager.pod_resources_socket
        self.registrations: list[str] = []  # the resources, in the order in which they were accepted
        self.refusal = ""  # while not empty, each registration fails with it
        self.hanging_calls = 0
        self.calls_left: int | None = None  # of PodResources, before it answers that the limit is passed
        self.has_heard_of_its_pods = True  # one that starts hears of them by the API server, and lists none before
        self._changed = threading.Condition()
        self._hanging = False
        self._pods: set[Key] = set()  # that it knows of, from before their admission until they have gone
        self._lists_slowly = False
        self._hears_late = False
        self.slow_lists = 0
        self._pushes: dict[str, tuple[int, float]] = {}
        self._numa_nodes: dict[str, dict[str, tuple[int, ...]]] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # The process.

    def start(self) -> None:
        self.manager.start()

    def stop(self, *, killed: bool = False) -> None:
        """Killed, it leaves its sockets behind, and nobody listens there."""
        with self._changed:
            self._hanging = self._hears_late = False
            self._changed.notify_all()
        self.manager.stop()
        if killed:
            for path in (self.plugins_folder / "kubelet.sock", self.pod_resources_socket):
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left_behind:
                    left_behind.bind(str(path))

    def restart(self) -> None:
        self.stop()
        self.start()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Takes calls and answers none."""
        with self._changed:
            self._hanging = True
        try:
            yield
        finally:
            with self._changed:
                self._hanging = False
                self._changed.notify_all()

    @contextmanager
    def listing_slowly(self) -> Iterator[None]:
        """A list that begins ends after this: a busy machine holds it up where it knows its pods, and not yet who holds
        what.
        """
        with self._changed:
            self._lists_slowly = True
        try:
            yield
        finally:
            with self._changed:
                self._lists_slowly = False
                self._changed.notify_all()

    @contextmanager
    def hearing_late(self) -> Iterator[None]:
        """A stream that pushes devices is heard again after this, its end too: a busy machine holds its listener up."""
        with self._changed:
            self._hears_late = True
        try:
            yield
        finally:
            with self._changed:
                self._hears_late = False
                self._changed.notify_all()

    # The node, as its status says.

    def capacity(self, profile: ProfileName) -> int | None:
        count = self.manager.counts().get(profile.resource)
        return None if count is None else count.capacity

    def allocatable(self, profile: ProfileName) -> int | None:
        """None: the node has no such resource."""
        count = self.manager.counts().get(profile.resource)
        return None if count is None else count.allocatable

    def healthy(self, profile: ProfileName) -> frozenset[str]:
        return self.manager.healthy(profile.resource)

    @property
    def plugins(self) -> int:
        """That it is connected to."""
        return self.manager.plugins

    def numa_nodes(self, profile: ProfileName) -> Mapping[str, tuple[int, ...]]:
        return self._numa_nodes.get(profile.resource, {})

    def pushes(self, profile: ProfileName) -> tuple[int, float]:
        """How many lists of devices came, and the monotonic time of the last."""
        return self._pushes.get(profile.resource, (0, 0.0))

    def put_others(self, resource: str, *devices: str) -> None:
        """Healthy devices of a resource that no test serves."""
        self.manager._believed[resource] = _Believed(_Endpoint(), healthy=set(devices))

    def believe(self, profile: ProfileName, *devices: Device) -> None:
        """In these and no others, until some are pushed again; it goes on listening."""
        self.manager._believed[profile.resource].healthy = {each.id for each in devices}

    def wait_for(self, what: Callable[[], bool], *, within_s: float = 60.0) -> None:
        """Until that is so; `what` may ask this kubelet. Its changes are looked at as they come, and now and then: of a
        plugin that left before it was connected to nobody tells.
        """
        deadline = time.monotonic() + within_s
        with self._changed:
            while not what():
                assert time.monotonic() < deadline, f"not so within {within_s} s: {self.manager.counts()}"
                self._changed.wait(0.2)

    # Pods.

    def admit(self, namespace: str, pod: str, container: str, profile: ProfileName, count: int = 1) -> Started:
        """A pod, or one more container of it: admitted and started. AdmissionFailed, ContainerNotStarted."""
        with self._changed:
            self._pods.add(Key(namespace, pod))
        self.manager.admit(Key(namespace, pod), container, profile.resource, count)
        self._notify()
        return self.restart_container(namespace, pod, container)

    def restart_container(self, namespace: str, pod: str, container: str) -> Started:
        """From the answers that were written down: nobody is asked to `Allocate` again."""
        given = self.manager.before_start(Key(namespace, pod), container)
        held = self.manager._allocations.of(Key(namespace, pod), container)
        return Started(
            devices=tuple(sorted(device for each in held for device in each.devices)),
            environment=given.environment,
            mounts=given.mounts,
            cdi_devices=given.cdi_devices,
        )

    def delete(self, namespace: str, pod: str) -> None:
        with self._changed:
            self._pods.discard(Key(namespace, pod))
        self.manager.release(Key(namespace, pod))
        self._notify()

    # What the manager tells and asks, on its threads.

    def _happened(self, happened: Happened) -> None:
        with self._changed:
            match happened.what:
                case What.REGISTERED:
                    self.registrations.append(happened.resource)
                case What.PUSHED:
                    count, _ = self._pushes.get(happened.resource, (0, 0.0))
                    self._pushes[happened.resource] = (count + 1, time.monotonic())
                    self._numa_nodes[happened.resource] = {
                        device.ID: tuple(node.ID for node in device.topology.nodes) for device in happened.devices
                    }
                case What.GONE:
                    pass
            self._changed.notify_all()
            if happened.what is What.PUSHED:
                self._changed.wait_for(lambda: not self._hears_late)

    def _before_call(self, method: str, context: grpc.ServicerContext) -> None:
        context.add_callback(self._notify)
        with self._changed:
            self.hanging_calls += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._hanging or not context.is_active())
            self.hanging_calls -= 1
        if not context.is_active():
            context.abort(grpc.StatusCode.CANCELLED, "who asked has given it up")
        if method == methods.REGISTER.name:
            if self.refusal:
                context.abort(grpc.StatusCode.UNKNOWN, self.refusal)
            return
        with self._changed:
            if self.calls_left == 0:
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "rejected by rate limit")
            if self.calls_left is not None:
                self.calls_left -= 1
            if method != methods.LIST.name:
                return
            known = frozenset(self._pods)
            self.slow_lists += self._lists_slowly
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._lists_slowly)
        self.manager.keep_only(known)  # as the real one frees what ended pods have held

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()
