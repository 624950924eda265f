"""One profile's plugin server: what the kubelet calls for the devices of one resource.

Made by `registration`, which also tells the kubelet of it. The kubelet listens to one stream for as long as it lives,
and calls the agent's `SliceDesk` once for each container that it admits and before each start. The subtle thing is the
stream: it waits on a thread that costs nothing until there is news, and is woken when its listener has gone, so that a
kubelet's restarts leave no thread behind.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc

from knative_mig.adapters.kubelet import methods
from knative_mig.adapters.kubelet.stubs import deviceplugin_pb2 as pb
from knative_mig.core.errors import KnativeMigError
from knative_mig.ports.kubelet import Device, DeviceId, Handout, SliceDesk

_log = logging.getLogger(__name__)

OPTIONS = pb.DevicePluginOptions(pre_start_required=True, get_preferred_allocation_available=False)


class Feed:
    """A profile's devices as they are now. It outlives the profile's servers, each of which tells them anew."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._devices: tuple[Device, ...] = ()
        self._version = 1
        self._ever: set[DeviceId] = set()

    @property
    def devices(self) -> tuple[Device, ...]:
        return self._devices

    def knows(self, device: DeviceId) -> bool:
        """Whether it was ever told of."""
        return device in self._ever

    def put(self, devices: tuple[Device, ...]) -> bool:
        """Whether that is news."""
        with self._changed:
            if devices == self._devices:
                return False
            self._devices = devices
            self._ever.update(device.id for device in devices)
            self._version += 1
            self._changed.notify_all()
            return True

    def after(self, version: int, over: threading.Event) -> tuple[int, tuple[Device, ...]] | None:
        """Waits for news since `version`; None when it is over first."""
        with self._changed:
            self._changed.wait_for(lambda: self._version > version or over.is_set())
            return None if over.is_set() else (self._version, self._devices)

    def end(self, over: threading.Event) -> None:
        with self._changed:
            over.set()
            self._changed.notify_all()


class PluginServer:
    """Serves as soon as it is made, on a socket of its own. OSError: the socket cannot be made."""

    def __init__(
        self,
        socket: Path,
        feed: Feed,
        desk: SliceDesk,
        *,
        threads: ThreadPoolExecutor,
        listeners_changed: Callable[[], None],
    ) -> None:
        self.socket = socket
        self._feed = feed
        self._desk = desk
        self._listeners_changed = listeners_changed
        self._lock = threading.Lock()
        self._listeners = 0
        self._ended = 0
        self._server = grpc.server(
            threads,
            handlers=[
                methods.GET_OPTIONS.served_by(lambda _request, _context: OPTIONS),
                methods.LIST_AND_WATCH.served_by(self._list_and_watch),
                methods.GET_PREFERRED.served_by(lambda _request, _context: pb.PreferredAllocationResponse()),
                methods.ALLOCATE.served_by(self._allocate),
                methods.PRE_START.served_by(self._pre_start),
            ],
        )
        try:
            self._server.add_insecure_port(f"unix://{socket}")
            self._server.start()
            self._inode = socket.stat().st_ino
        except (RuntimeError, OSError) as error:
            self._server.stop(grace=None)
            raise OSError(f"{socket} cannot be served: {error}") from error

    @property
    def listeners(self) -> int:
        return self._listeners

    @property
    def ended(self) -> int:
        """How many listeners have gone."""
        return self._ended

    def is_reachable(self) -> bool:
        """A kubelet that starts removes every socket in its folder, and leaves the server behind it deaf."""
        try:
            return self.socket.stat().st_ino == self._inode
        except OSError:
            return False

    def close(self) -> threading.Event:
        """Ends every call at once; the event says when all have ended."""
        ended = self._server.stop(grace=None)
        self.socket.unlink(missing_ok=True)
        return ended

    def _list_and_watch(self, _request: pb.Empty, context: grpc.ServicerContext) -> Iterator[pb.ListAndWatchResponse]:
        over = threading.Event()
        with self._lock:
            self._listeners += 1
        if not context.add_callback(lambda: self._listener_gone(over)):
            self._listener_gone(over)
        self._listeners_changed()
        version = 0
        while (news := self._feed.after(version, over)) is not None:
            version, devices = news
            yield pb.ListAndWatchResponse(devices=[_message(device) for device in devices])

    def _listener_gone(self, over: threading.Event) -> None:
        with self._lock:
            self._listeners -= 1
            self._ended += 1
        self._feed.end(over)
        self._listeners_changed()

    def _allocate(self, request: pb.AllocateRequest, context: grpc.ServicerContext) -> pb.AllocateResponse:
        asked = [_devices(container.devices_ids) for container in request.container_requests]
        with _refusals(context, f"hand out {asked}"):
            return pb.AllocateResponse(container_responses=[_answer(self._desk.hand_out(each)) for each in asked])

    def _pre_start(
        self, request: pb.PreStartContainerRequest, context: grpc.ServicerContext
    ) -> pb.PreStartContainerResponse:
        devices = _devices(request.devices_ids)
        with _refusals(context, f"let a container start on {devices}"):
            self._desk.before_start(devices)
        return pb.PreStartContainerResponse()


@contextmanager
def _refusals(context: grpc.ServicerContext, what: str) -> Iterator[None]:
    """As the kubelet's event at the pod will quote them. Any other exception is logged by gRPC, and answered too."""
    try:
        yield
    except KnativeMigError as refused:
        _log.warning("refused to %s: %s", what, refused)
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"{refused.reason}: {refused}")


def _devices(ids: Iterable[str]) -> tuple[DeviceId, ...]:
    """In an order of their own: the kubelet's is that of a set, another one at each call."""
    return tuple(sorted(DeviceId(each) for each in ids))


def _message(device: Device) -> pb.Device:
    return pb.Device(
        ID=device.id,
        health=methods.HEALTHY if device.healthy else methods.UNHEALTHY,
        topology=None if device.numa_node is None else pb.TopologyInfo(nodes=[pb.NUMANode(ID=device.numa_node)]),
    )


def _answer(handout: Handout) -> pb.ContainerAllocateResponse:
    return pb.ContainerAllocateResponse(
        envs=handout.environment,
        mounts=[
            pb.Mount(container_path=mount.container_path, host_path=mount.host_path, read_only=mount.read_only)
            for mount in handout.mounts
        ],
        cdi_devices=[pb.CDIDevice(name=name) for name in handout.cdi_devices],
    )
