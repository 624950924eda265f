"""A kubelet's device manager on unix sockets: takes plugins, admits pods, tells who holds what.

It does what the kubelet of Kubernetes 1.36 does (pkg/kubelet/cm/devicemanager), oddities included:

- Whoever registers a resource last is asked to `Allocate`; the one before is told nothing, and what either of them
  says of the devices counts. When any of their streams ends, whoever is registered by then is dropped.
- A plugin that is gone leaves its devices unhealthy: capacity stays, allocatable is zero, and after five minutes
  the resource is gone from the node.
- A start removes all sockets in the folder, and forgets devices and options: until a plugin has registered again its
  containers restart without `PreStartContainer`, with the answer that was written down when they were admitted.
- A device is picked at random among the healthy ones that nobody holds.

Its node's status changes at once, where the real one's takes up to ten seconds.
"""

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import grpc

from knative_mig.adapters.kubelet import methods
from knative_mig.adapters.kubelet.channel import channel_to
from knative_mig.adapters.kubelet.stubs import deviceplugin_pb2 as pb
from knative_mig.adapters.kubelet.stubs import podresources_pb2 as resources_pb
from knative_mig.core.profile import ProfileName

GRACE_S: Final = 300.0  # endpointStopGracePeriod
DIAL_S: Final = 10.0


class AdmissionFailed(Exception):
    """The pod is Failed, with this reason and message in its status."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ContainerNotStarted(Exception):
    """The container waits with CreateContainerConfigError, with this message; its pod keeps its devices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What a container was started with."""

    devices: tuple[str, ...]
    environment: Mapping[str, str]
    mounts: Mapping[str, str]  # container path -> host path
    cdi_devices: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    resource: str
    devices: frozenset[str]
    answer: bytes  # as it was written down


@dataclass(slots=True)
class _Endpoint:
    channel: grpc.Channel | None = None
    options: pb.DevicePluginOptions | None = None
    stopped_at: float | None = None


@dataclass(slots=True)
class _Believed:
    """Of one resource."""

    endpoint: _Endpoint
    numa_nodes: dict[str, tuple[int, ...]] = field(default_factory=dict)  # by device
    healthy: set[str] = field(default_factory=set)
    unhealthy: set[str] = field(default_factory=set)
    pushes: int = 0
    pushed_at: float = 0.0


class FakeKubelet:
    """`with FakeKubelet(folder) as kubelet`: runs until the end of the block."""

    def __init__(self, folder: Path, *, seed: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.plugins_folder = folder / "device-plugins"
        self.pod_resources_socket = folder / "pod-resources" / "kubelet.sock"
        self.registrations: list[str] = []  # the resources, in the order in which they were accepted
        self.refusal = ""  # while not empty, each registration fails with it
        self.hanging_calls = 0
        self.others: dict[str, tuple[str, ...]] = {}  # healthy devices of resources that no test serves
        self.calls_left: int | None = None  # of PodResources, before it answers that the limit is passed
        self.has_heard_of_its_pods = True  # one that starts hears of them by the API server, and lists none before
        self._clock = clock
        self._random = random.Random(seed)
        self._changed = threading.Condition()
        self._hanging = False
        self._running = False
        self._lives = 0  # that have ended: who began to register in one of them is nobody's plugin in the next
        self._believed: dict[str, _Believed] = {}
        self._clients: dict[str, grpc.Channel] = {}
        self._held: dict[tuple[str, str], dict[str, list[_Held]]] = {}
        self._pods: set[tuple[str, str]] = set()  # that it knows of, from before their admission until they have gone
        self._lists_slowly = False
        self.slow_lists = 0
        self._being_allocated: frozenset[str] = frozenset()
        self._servers: list[grpc.Server] = []
        self._listeners: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # The process.

    def start(self) -> None:
        self.plugins_folder.mkdir(parents=True, exist_ok=True)
        self.pod_resources_socket.parent.mkdir(parents=True, exist_ok=True)
        for path in self.plugins_folder.iterdir():
            if path.is_socket():
                path.unlink()
        self.pod_resources_socket.unlink(missing_ok=True)
        with self._changed:
            self._running = True
        self._servers = [
            _served(self.plugins_folder / "kubelet.sock", methods.REGISTER.served_by(self._register)),
            _served(
                self.pod_resources_socket,
                methods.LIST.served_by(self._list),
                methods.GET_ALLOCATABLE.served_by(self._get_allocatable),
            ),
        ]

    def stop(self, *, killed: bool = False) -> None:
        """Killed, it leaves its sockets behind, and nobody listens there."""
        with self._changed:
            self._running = False
            self._lives += 1
            self._hanging = False
            clients = tuple(self._clients.values())
            self._clients.clear()
            self._changed.notify_all()
        for server in self._servers:
            server.stop(grace=None).wait()
        for channel in clients:
            channel.close()
        for listener in self._listeners:
            listener.join()
        self._servers, self._listeners = [], []
        sockets = (self.plugins_folder / "kubelet.sock", self.pod_resources_socket)
        for path in sockets:
            path.unlink(missing_ok=True)
            if killed:
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left_behind:
                    left_behind.bind(str(path))
        with self._changed:  # what a kubelet that starts reads from its checkpoint
            self._believed = {
                resource: _Believed(endpoint=_Endpoint(stopped_at=self._clock())) for resource in self._believed
            }

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

    # The node, as its status says.

    def capacity(self, profile: ProfileName) -> int | None:
        with self._changed:
            believed = self._alive(profile.resource)
            return None if believed is None else len(believed.healthy) + len(believed.unhealthy)

    def allocatable(self, profile: ProfileName) -> int | None:
        """None: the node has no such resource."""
        with self._changed:
            believed = self._alive(profile.resource)
            return None if believed is None else len(believed.healthy)

    def healthy(self, profile: ProfileName) -> frozenset[str]:
        with self._changed:
            believed = self._believed.get(profile.resource)
            return frozenset() if believed is None else frozenset(believed.healthy)

    @property
    def plugins(self) -> int:
        """That it is connected to."""
        with self._changed:
            return len(self._clients)

    def numa_nodes(self, profile: ProfileName) -> Mapping[str, tuple[int, ...]]:
        with self._changed:
            believed = self._believed.get(profile.resource)
            return {} if believed is None else dict(believed.numa_nodes)

    def pushes(self, profile: ProfileName) -> tuple[int, float]:
        """How many lists of devices came, and the monotonic time of the last."""
        with self._changed:
            believed = self._believed.get(profile.resource)
            return (0, 0.0) if believed is None else (believed.pushes, believed.pushed_at)

    def wait_for(self, what: Callable[[], bool], *, within_s: float = 60.0) -> None:
        """Until that is so; `what` may ask this kubelet, whose every change is looked at."""
        with self._changed:
            assert self._changed.wait_for(what, within_s), f"not so within {within_s} s; believed: {self._believed}"

    # Pods.

    def admit(self, namespace: str, pod: str, container: str, profile: ProfileName, count: int = 1) -> Started:
        """A pod, or one more container of it: admitted and started. AdmissionFailed, ContainerNotStarted."""
        resource = profile.resource
        with self._changed:
            self._pods.add((namespace, pod))
            believed = self._believed.get(resource)
            if believed is None:
                raise AdmissionFailed(f"OutOf{resource}", f"Node didn't have enough resource: {resource}")
            if not believed.healthy:
                raise _unexpected(f"no healthy devices present; cannot allocate unhealthy devices {resource}")
            available = believed.healthy - self._in_use(resource) - self._being_allocated
            if len(available) < count:
                raise _unexpected(
                    f"requested number of devices unavailable for {resource}. Requested: {count},"
                    f" Available: {len(available)}"
                )
            picked = frozenset(self._random.sample(sorted(available), count))
            endpoint = believed.endpoint
            self._being_allocated |= picked
        try:
            answer = self._allocate(resource, endpoint, picked)
        finally:
            with self._changed:
                self._being_allocated -= picked
        with self._changed:
            held = _Held(resource=resource, devices=picked, answer=answer.SerializeToString())
            self._held.setdefault((namespace, pod), {}).setdefault(container, []).append(held)
            self._changed.notify_all()
        return self.restart_container(namespace, pod, container)

    def restart_container(self, namespace: str, pod: str, container: str) -> Started:
        """From the answers that were written down: nobody is asked to `Allocate` again."""
        with self._changed:
            held = tuple(self._held[namespace, pod][container])
            endpoints = {each.resource: self._believed[each.resource].endpoint for each in held}
        for each in held:
            self._pre_start(endpoints[each.resource], each)
        answers = [pb.ContainerAllocateResponse.FromString(each.answer) for each in held]
        return Started(
            devices=tuple(sorted(device for each in held for device in each.devices)),
            environment={name: value for answer in answers for name, value in answer.envs.items()},
            mounts={mount.container_path: mount.host_path for answer in answers for mount in answer.mounts},
            cdi_devices=tuple(sorted({device.name for answer in answers for device in answer.cdi_devices})),
        )

    def delete(self, namespace: str, pod: str) -> None:
        with self._changed:
            del self._held[namespace, pod]
            self._pods.discard((namespace, pod))
            self._changed.notify_all()

    def _allocate(self, resource: str, endpoint: _Endpoint, picked: frozenset[str]) -> pb.ContainerAllocateResponse:
        if endpoint.stopped_at is not None or endpoint.channel is None:
            raise _unexpected(f"endpoint {resource} has been stopped")
        try:
            answer = methods.ALLOCATE.on(endpoint.channel)(
                pb.AllocateRequest(container_requests=[pb.ContainerAllocateRequest(devices_ids=picked)])
            )
        except grpc.RpcError as error:
            raise _unexpected(_go_error(error)) from error
        return answer.container_responses[0]

    def _pre_start(self, endpoint: _Endpoint, held: _Held) -> None:
        if endpoint.options is None or not endpoint.options.pre_start_required:
            return
        if endpoint.stopped_at is not None or endpoint.channel is None:
            raise ContainerNotStarted(f"endpoint {held.resource} has been stopped")
        try:
            methods.PRE_START.on(endpoint.channel)(pb.PreStartContainerRequest(devices_ids=held.devices), timeout=30)
        except grpc.RpcError as error:
            raise ContainerNotStarted(
                f"device plugin PreStartContainer rpc failed with err: {_go_error(error)}"
            ) from error

    # Plugins.

    def _register(self, request: pb.RegisterRequest, context: grpc.ServicerContext) -> pb.Empty:
        lives = self._lives
        self._hang(context)
        if self.refusal:
            context.abort(grpc.StatusCode.UNKNOWN, self.refusal)
        if request.version != methods.API_VERSION:
            context.abort(grpc.StatusCode.UNKNOWN, f"requested API version {request.version!r} is not supported")
        resource = request.resource_name
        channel = channel_to(self.plugins_folder / request.endpoint)
        with self._changed:
            ended = lives != self._lives
            if not ended:
                self._clients[resource] = channel
        if ended:
            self._refuse_late(channel, context)
        try:
            options = methods.GET_OPTIONS.on(channel)(pb.Empty(), timeout=DIAL_S, wait_for_ready=True)
        except grpc.RpcError as error:
            channel.close()
            with self._changed:
                self._clients.pop(resource, None)
            context.abort(grpc.StatusCode.UNKNOWN, f"failed to dial device plugin: {_go_error(error)}")
        with self._changed:
            ended = lives != self._lives
            if not ended:
                endpoint = _Endpoint(channel=channel, options=options)
                self._believed.setdefault(resource, _Believed(endpoint=endpoint)).endpoint = endpoint
                self.registrations.append(resource)
                listener = threading.Thread(target=self._listen, args=(resource, channel), name=f"listen-{resource}")
                self._listeners.append(listener)
                listener.start()
                self._changed.notify_all()
        if ended:
            self._refuse_late(channel, context)
        return pb.Empty()

    def _refuse_late(self, channel: grpc.Channel, context: grpc.ServicerContext) -> None:
        channel.close()
        context.abort(grpc.StatusCode.UNAVAILABLE, "this kubelet has ended")

    def _listen(self, resource: str, channel: grpc.Channel) -> None:
        try:
            for news in methods.LIST_AND_WATCH.on(channel)(pb.Empty()):
                self._pushed(resource, news)
        except (grpc.RpcError, ValueError):  # the stream's end; ValueError: the channel was closed before it began
            pass
        with self._changed:
            registered = self._clients.pop(resource, None)
            if registered is not None:
                believed = self._believed[resource]
                believed.unhealthy |= believed.healthy
                believed.healthy = set()
                believed.endpoint.stopped_at = self._clock()
                self._changed.notify_all()
        if registered is not None:
            registered.close()

    def _pushed(self, resource: str, news: pb.ListAndWatchResponse) -> None:
        with self._changed:
            believed = self._believed[resource]
            believed.numa_nodes = {
                device.ID: tuple(node.ID for node in device.topology.nodes) for device in news.devices
            }
            believed.healthy = {device.ID for device in news.devices if device.health == methods.HEALTHY}
            believed.unhealthy = believed.numa_nodes.keys() - believed.healthy
            believed.pushes += 1
            believed.pushed_at = time.monotonic()
            self._changed.notify_all()

    def _alive(self, resource: str) -> _Believed | None:
        believed = self._believed.get(resource)
        stopped_at = None if believed is None else believed.endpoint.stopped_at
        if stopped_at is not None and self._clock() - stopped_at > GRACE_S:
            del self._believed[resource]
            return None
        return believed

    def _in_use(self, resource: str) -> set[str]:
        return {
            device
            for containers in self._held.values()
            for held in containers.values()
            for each in held
            if each.resource == resource
            for device in each.devices
        }

    # PodResources.

    def _list(
        self, _request: resources_pb.ListPodResourcesRequest, context: grpc.ServicerContext
    ) -> resources_pb.ListPodResourcesResponse:
        self._hang(context)
        self._limit(context)
        with self._changed:
            known = set(self._pods)
            self.slow_lists += self._lists_slowly
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._lists_slowly)
            for pod in self._held.keys() - known:  # as the real one frees what ended pods have held
                del self._held[pod]
            return resources_pb.ListPodResourcesResponse(
                pod_resources=[
                    resources_pb.PodResources(
                        namespace=namespace,
                        name=pod,
                        containers=[
                            resources_pb.ContainerResources(
                                name=container,
                                devices=[_one(each.resource, id_) for each in held for id_ in each.devices],
                            )
                            for container, held in containers.items()
                        ],
                    )
                    for (namespace, pod), containers in self._held.items()
                    if self.has_heard_of_its_pods
                ]
            )

    def _get_allocatable(
        self, _request: resources_pb.AllocatableResourcesRequest, context: grpc.ServicerContext
    ) -> resources_pb.AllocatableResourcesResponse:
        self._hang(context)
        self._limit(context)
        with self._changed:
            return resources_pb.AllocatableResourcesResponse(
                devices=[
                    _one(resource, id_) for resource, believed in self._believed.items() for id_ in believed.healthy
                ]
                + [_one(resource, id_) for resource, ids in self.others.items() for id_ in ids]
            )

    def _hang(self, context: grpc.ServicerContext) -> None:
        context.add_callback(self._notify)
        with self._changed:
            self.hanging_calls += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._hanging or not context.is_active())
            self.hanging_calls -= 1

    def _limit(self, context: grpc.ServicerContext) -> None:
        with self._changed:
            if self.calls_left == 0:
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "rejected by rate limit")
            if self.calls_left is not None:
                self.calls_left -= 1

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()


def _served(path: Path, *handlers: grpc.GenericRpcHandler) -> grpc.Server:
    server = grpc.server(ThreadPoolExecutor(max_workers=32), handlers=list(handlers))
    server.add_insecure_port(f"unix://{path}")
    server.start()
    return server


def _one(resource: str, device: str) -> resources_pb.ContainerDevices:
    return resources_pb.ContainerDevices(resource_name=resource, device_ids=[device])


def _unexpected(why: str) -> AdmissionFailed:
    return AdmissionFailed("UnexpectedAdmissionError", f"Allocate failed due to {why}, which is unexpected")


def _go_error(error: object) -> str:
    assert isinstance(error, grpc.Call)
    code = "".join(word.capitalize() for word in error.code().name.split("_"))
    return f"rpc error: code = {code} desc = {error.details()}"
