"""The kubelet's side of device plugins: takes plugins, hands devices to containers, tells who holds what.

Run by the kubelet stand-in of `knative-mig dev`, and by that of the tests. It does what the kubelet of Kubernetes 1.36
does (pkg/kubelet/cm/devicemanager), oddities included, for the agent at the other end is made for them:

- Whoever registers a resource last is asked to `Allocate`; the one before is told nothing, and what either of them
  says of the devices counts. When any of their streams ends, whoever is registered by then is dropped.
- A plugin that is gone leaves its devices unhealthy: capacity stays, allocatable is zero, and after five minutes
  the resource is gone from the node.
- A start removes all sockets in the folder, and forgets devices and options: until a plugin has registered again its
  containers restart without `PreStartContainer`, with the answer that was written down when they were admitted.
- A device is picked at random among the healthy ones that nobody holds.
"""

import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import Final

import grpc

from knative_mig.adapters.kubelet import methods
from knative_mig.adapters.kubelet.allocations import Allocations, Checkpoint, Forgets, Given, Held
from knative_mig.adapters.kubelet.channel import channel_to
from knative_mig.adapters.kubelet.stubs import deviceplugin_pb2 as pb
from knative_mig.adapters.kubelet.stubs import podresources_pb2 as resources_pb
from knative_mig.core.errors import KnativeMigError
from knative_mig.ports.kube import Key

GRACE_S: Final = 300.0  # endpointStopGracePeriod
DIAL_S: Final = 10.0
PRE_START_S: Final = 30.0
_CALLS_AT_ONCE: Final = 32


class AdmissionFailed(KnativeMigError):
    """The pod is Failed, with this reason and message in its status."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ContainerNotStarted(KnativeMigError):
    """The container waits with CreateContainerConfigError, with this message; its pod keeps its devices."""

    reason = "CreateContainerConfigError"


class What(Enum):
    REGISTERED = auto()
    PUSHED = auto()
    GONE = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """With a resource's plugin."""

    what: What
    resource: str
    devices: tuple[pb.Device, ...] = ()  # as pushed


def _nothing_happens(_happened: Happened) -> None:
    """Nobody wants to know."""


def _lets_in(_method: str, _context: grpc.ServicerContext) -> None:
    """Every call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Of a resource, as the node's status has it."""

    capacity: int
    allocatable: int


@dataclass(slots=True)
class _Endpoint:
    channel: grpc.Channel | None = None
    options: pb.DevicePluginOptions | None = None
    stopped_at: float | None = None


@dataclass(slots=True)
class _Believed:
    """Of one resource."""

    endpoint: _Endpoint
    healthy: set[str] = field(default_factory=set)
    unhealthy: set[str] = field(default_factory=set)


class DeviceManager:
    def __init__(
        self,
        folder: Path,
        *,
        checkpoint: Checkpoint | None = None,
        happened: Callable[[Happened], None] = _nothing_happens,
        listed: Callable[[Key], bool] = lambda _: True,
        before_call: Callable[[str, grpc.ServicerContext], None] = _lets_in,
        clock: Callable[[], float] = time.monotonic,
        pick: random.Random | None = None,
    ) -> None:
        """`folder`: the kubelet's own, which the agent is told of. `listed`: whether a pod has been heard of; one that
        starts hears of them by the API server. `before_call`: of each call from outside, which it may refuse.
        """
        self.plugins_folder = folder / "device-plugins"
        self.pod_resources_socket = folder / "pod-resources" / "kubelet.sock"
        self._tell, self._listed, self._before_call, self._clock = happened, listed, before_call, clock
        self._pick = pick or random.Random()  # noqa: S311 - no secret depends on it
        self._lock = threading.RLock()
        self._allocations = Allocations(checkpoint or Forgets())
        self._believed: dict[str, _Believed] = {}
        self.listed_at = float("-inf")  # when somebody last asked who holds what, by the clock
        self._lives = 0  # that have ended: who began to register in one of them is nobody's plugin in the next
        self._clients: dict[str, grpc.Channel] = {}
        self._open: set[grpc.Channel] = set()  # a plugin that registers again has two for a while
        self._being_allocated: frozenset[str] = frozenset()
        self._servers: list[grpc.Server] = []
        self._listeners: list[threading.Thread] = []

    def start(self) -> None:
        """OSError: its sockets cannot be made."""
        self.plugins_folder.mkdir(parents=True, exist_ok=True)
        self.pod_resources_socket.parent.mkdir(parents=True, exist_ok=True)
        for path in self.plugins_folder.iterdir():
            if path.is_socket():
                path.unlink()
        self.pod_resources_socket.unlink(missing_ok=True)
        with self._lock:
            self._believed = {
                resource: _Believed(_Endpoint(stopped_at=self._clock())) for resource in self._allocations.resources
            }
        self._servers = [
            _served(
                self.pod_resources_socket,
                methods.LIST.served_by(self._list),
                methods.GET.served_by(self._get),
                methods.GET_ALLOCATABLE.served_by(self._get_allocatable),
            ),
            _served(
                self.plugins_folder / "kubelet.sock", methods.REGISTER.served_by(partial(self._register, self._lives))
            ),
        ]

    def stop(self) -> None:
        with self._lock:
            self._lives += 1
            channels, self._open, self._clients = self._open, set(), {}
        for server in self._servers:
            server.stop(grace=None).wait()
        for channel in channels:
            channel.close()
        for listener in self._listeners:
            listener.join()
        self._servers, self._listeners = [], []
        for path in (self.plugins_folder / "kubelet.sock", self.pod_resources_socket):
            path.unlink(missing_ok=True)

    def counts(self) -> Mapping[str, Count]:
        """Of all resources that plugins serve; one whose plugin is gone has none, and after a while is no more."""
        now = self._clock()
        with self._lock:
            for resource, believed in list(self._believed.items()):
                stopped_at = believed.endpoint.stopped_at
                if stopped_at is not None and now - stopped_at > GRACE_S:
                    del self._believed[resource]
            return {
                resource: Count(
                    capacity=len(believed.healthy) + len(believed.unhealthy), allocatable=len(believed.healthy)
                )
                for resource, believed in self._believed.items()
            }

    def healthy(self, resource: str) -> frozenset[str]:
        with self._lock:
            believed = self._believed.get(resource)
            return frozenset() if believed is None else frozenset(believed.healthy)

    @property
    def plugins(self) -> int:
        """That it is connected to."""
        return len(self._clients)

    # Pods.

    def admit(self, pod: Key, container: str, resource: str, count: int) -> None:
        """Devices of one resource for one container of a pod; the same ones where it has them already.
        AdmissionFailed.
        """
        with self._lock:
            if self._allocations.has(pod, container, resource):
                return
            believed = self._believed.get(resource)
            if believed is None:
                # To the real one it is no device then, and the node has too little of it.
                raise AdmissionFailed(
                    f"OutOf{resource}",
                    f"Node didn't have enough resource: {resource}, requested: {count}, used: 0, capacity: 0",
                )
            if not believed.healthy:
                raise _unexpected(f"no healthy devices present; cannot allocate unhealthy devices {resource}")
            available = believed.healthy - self._allocations.in_use(resource) - self._being_allocated
            if len(available) < count:
                raise _unexpected(
                    f"requested number of devices unavailable for {resource}. Requested: {count},"
                    f" Available: {len(available)}"
                )
            picked = frozenset(self._pick.sample(sorted(available), count))
            self._being_allocated |= picked
            endpoint = believed.endpoint
        try:
            answer = _allocated(resource, endpoint, picked)
            self._allocations.put(pod, container, Held(resource=resource, devices=picked, answer=answer))
        finally:
            with self._lock:
                self._being_allocated -= picked

    def before_start(self, pod: Key, container: str) -> Given:
        """What the container is started with: as was written down when it was admitted. ContainerNotStarted."""
        for held in self._allocations.of(pod, container):
            with self._lock:
                believed = self._believed.get(held.resource)
            if believed is not None:
                _pre_start(believed.endpoint, held)
        return self._allocations.given(pod, container)

    def release(self, pod: Key) -> bool:
        """It has ended, or was refused. Whether it had any."""
        return self._allocations.drop(pod)

    def keep_only(self, pods: frozenset[Key]) -> None:
        """Those that a checkpoint knows of and nobody else does any more are gone."""
        self._allocations.keep_only(pods)

    # Plugins.

    def _register(self, lives: int, request: pb.RegisterRequest, context: grpc.ServicerContext) -> pb.Empty:
        """`lives`: had ended when its socket was made. A call may come while that one is being closed."""
        self._before_call(methods.REGISTER.name, context)
        if request.version != methods.API_VERSION:
            context.abort(grpc.StatusCode.UNKNOWN, f"requested API version {request.version!r} is not supported")
        resource = request.resource_name
        channel = channel_to(self.plugins_folder / request.endpoint)
        if not self._take(lives, resource, channel):
            _refuse_late(channel, context)
        try:
            options = methods.GET_OPTIONS.on(channel)(pb.Empty(), timeout=DIAL_S, wait_for_ready=True)
        except grpc.RpcError as error:
            channel.close()
            with self._lock:
                self._clients.pop(resource, None)
                self._open.discard(channel)
            context.abort(grpc.StatusCode.UNKNOWN, f"failed to dial device plugin: {_go_error(error)}")
        if not self._believe(lives, resource, _Endpoint(channel=channel, options=options)):
            _refuse_late(channel, context)
        self._allocations.know(resource)
        self._tell(Happened(what=What.REGISTERED, resource=resource))
        return pb.Empty()

    def _take(self, lives: int, resource: str, channel: grpc.Channel) -> bool:
        """False: the life in which it began to register has ended."""
        with self._lock:
            if lives == self._lives:
                self._clients[resource] = channel
                self._open.add(channel)
            return lives == self._lives

    def _believe(self, lives: int, resource: str, endpoint: _Endpoint) -> bool:
        with self._lock:
            if lives == self._lives:
                listener = threading.Thread(
                    target=self._listen, args=(resource, endpoint.channel), name=f"listen-{resource}", daemon=True
                )
                self._believed.setdefault(resource, _Believed(endpoint)).endpoint = endpoint
                self._listeners = [each for each in self._listeners if each.is_alive()] + [listener]
                listener.start()
            return lives == self._lives

    def _listen(self, resource: str, channel: grpc.Channel) -> None:
        try:
            for news in methods.LIST_AND_WATCH.on(channel)(pb.Empty()):
                self._pushed(resource, news)
        except (grpc.RpcError, ValueError):  # the stream's end; ValueError: the channel was closed before it began
            pass
        with self._lock:
            self._open.discard(channel)
            registered = self._clients.pop(resource, None)
            if registered is not None:
                believed = self._believed[resource]
                believed.unhealthy |= believed.healthy
                believed.healthy = set()
                believed.endpoint.stopped_at = self._clock()
        channel.close()
        if registered is not None:
            registered.close()
            self._tell(Happened(what=What.GONE, resource=resource))

    def _pushed(self, resource: str, news: pb.ListAndWatchResponse) -> None:
        healthy = {device.ID for device in news.devices if device.health == methods.HEALTHY}
        with self._lock:
            believed = self._believed[resource]
            believed.healthy = healthy
            believed.unhealthy = {device.ID for device in news.devices} - healthy
        self._tell(Happened(what=What.PUSHED, resource=resource, devices=tuple(news.devices)))

    # PodResources.

    def _list(
        self, _request: resources_pb.ListPodResourcesRequest, context: grpc.ServicerContext
    ) -> resources_pb.ListPodResourcesResponse:
        self._before_call(methods.LIST.name, context)
        self.listed_at = self._clock()
        return resources_pb.ListPodResourcesResponse(
            pod_resources=[
                _pod_resources(pod, held) for pod, held in self._allocations.all().items() if self._listed(pod)
            ]
        )

    def _get(
        self, request: resources_pb.GetPodResourcesRequest, context: grpc.ServicerContext
    ) -> resources_pb.GetPodResourcesResponse:
        self._before_call(methods.GET.name, context)
        pod = Key(request.pod_namespace, request.pod_name)
        held = self._allocations.all().get(pod)
        if held is None:
            context.abort(grpc.StatusCode.UNKNOWN, f"pod {pod.name} in namespace {pod.namespace} not found")
        return resources_pb.GetPodResourcesResponse(pod_resources=_pod_resources(pod, held))

    def _get_allocatable(
        self, _request: resources_pb.AllocatableResourcesRequest, context: grpc.ServicerContext
    ) -> resources_pb.AllocatableResourcesResponse:
        self._before_call(methods.GET_ALLOCATABLE.name, context)
        with self._lock:
            healthy = {resource: sorted(believed.healthy) for resource, believed in self._believed.items()}
        return resources_pb.AllocatableResourcesResponse(
            devices=[_one(resource, device) for resource, devices in healthy.items() for device in devices]
        )


def _allocated(resource: str, endpoint: _Endpoint, picked: frozenset[str]) -> bytes:
    if endpoint.stopped_at is not None or endpoint.channel is None:
        raise _unexpected(f"endpoint {resource} has been stopped")
    try:
        answer = methods.ALLOCATE.on(endpoint.channel)(
            pb.AllocateRequest(container_requests=[pb.ContainerAllocateRequest(devices_ids=picked)])
        )
    except grpc.RpcError as error:
        raise _unexpected(_go_error(error)) from error
    return answer.container_responses[0].SerializeToString()


def _pre_start(endpoint: _Endpoint, held: Held) -> None:
    if endpoint.options is None or not endpoint.options.pre_start_required:
        return
    if endpoint.stopped_at is not None or endpoint.channel is None:
        raise ContainerNotStarted(f"endpoint {held.resource} has been stopped")
    try:
        methods.PRE_START.on(endpoint.channel)(
            pb.PreStartContainerRequest(devices_ids=held.devices), timeout=PRE_START_S
        )
    except grpc.RpcError as error:
        raise ContainerNotStarted(f"device plugin PreStartContainer rpc failed with err: {_go_error(error)}") from error


def _refuse_late(channel: grpc.Channel, context: grpc.ServicerContext) -> None:
    channel.close()
    context.abort(grpc.StatusCode.UNAVAILABLE, "this kubelet has ended")


def _served(path: Path, *handlers: grpc.GenericRpcHandler) -> grpc.Server:
    server = grpc.server(ThreadPoolExecutor(_CALLS_AT_ONCE, thread_name_prefix="kubelet"), handlers=list(handlers))
    try:
        server.add_insecure_port(f"unix://{path}")
    except RuntimeError as error:
        raise OSError(f"{path} cannot be served: {error}") from error
    server.start()
    return server


def _pod_resources(pod: Key, held: Mapping[str, tuple[Held, ...]]) -> resources_pb.PodResources:
    return resources_pb.PodResources(
        namespace=pod.namespace,
        name=pod.name,
        containers=[
            resources_pb.ContainerResources(
                name=container,
                devices=[_one(each.resource, device) for each in many for device in sorted(each.devices)],
            )
            for container, many in held.items()
        ],
    )


def _one(resource: str, device: str) -> resources_pb.ContainerDevices:
    return resources_pb.ContainerDevices(resource_name=resource, device_ids=[device])


def _unexpected(why: str) -> AdmissionFailed:
    return AdmissionFailed("UnexpectedAdmissionError", f"Allocate failed due to {why}, which is unexpected")


def _go_error(error: object) -> str:
    assert isinstance(error, grpc.Call)
    code = "".join(word.capitalize() for word in error.code().name.split("_"))
    return f"rpc error: code = {code} desc = {error.details()}"
