"""A device plugin as small as the kubelet takes one (v1beta1): devices whose health a test turns, injected as env.

The real one is the node agent's; this one shows what the kubelet makes of it.
"""

import queue
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc

from tests.cluster.protobuf import decode, encode, entry

_API: Final = "v1beta1"
_HEALTHY, _UNHEALTHY = "Healthy", "Unhealthy"
DEVICE_VARIABLE: Final = "TEST_DEVICES"


@dataclass(slots=True)
class DevicePlugin:
    """A resource's devices and how they are."""

    resource: str
    health: dict[str, str]
    cdi_names: tuple[str, ...] = ()  # given to a container beside the variable
    _changes: "queue.Queue[None]" = field(default_factory=queue.Queue)

    def turn(self, device: str, *, healthy: bool) -> None:
        self.health[device] = _HEALTHY if healthy else _UNHEALTHY
        self._changes.put(None)

    # The service's methods: each takes and gives raw bytes.

    def options(self, _request: bytes, _context: grpc.ServicerContext) -> bytes:
        return b""  # every option at its default

    def list_and_watch(self, _request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        while context.is_active():
            devices = [encode({1: [name], 2: [health]}) for name, health in self.health.items()]
            yield encode({1: devices})
            while context.is_active():
                try:
                    self._changes.get(timeout=0.2)
                    break
                except queue.Empty:
                    continue

    def allocate(self, request: bytes, _context: grpc.ServicerContext) -> bytes:
        answers = []
        for container in decode(request).get(1, []):
            devices = [name.decode() for name in decode(container).get(1, [])]
            cdi = [encode({1: [name]}) for name in self.cdi_names]
            answers.append(encode({1: [entry(DEVICE_VARIABLE, ",".join(devices))], 5: cdi}))
        return encode({1: answers})


@contextmanager
def running(
    folder: Path, resource: str, devices: int | Sequence[str], *, cdi_names: tuple[str, ...] = ()
) -> Iterator[DevicePlugin]:
    """Serves in the kubelet's device-plugin folder, as the host sees it, and registers: so many devices, or these."""
    name = resource.rpartition("/")[2]
    ids = [f"{name}-{number}" for number in range(devices)] if isinstance(devices, int) else devices
    plugin = DevicePlugin(resource, dict.fromkeys(ids, _HEALTHY), cdi_names)
    endpoint = f"{name}.sock"
    server = grpc.server(ThreadPoolExecutor(max_workers=4))
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "GetDevicePluginOptions": grpc.unary_unary_rpc_method_handler(plugin.options),
        "ListAndWatch": grpc.unary_stream_rpc_method_handler(plugin.list_and_watch),
        "Allocate": grpc.unary_unary_rpc_method_handler(plugin.allocate),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(f"{_API}.DevicePlugin", handlers),))
    (folder / endpoint).unlink(missing_ok=True)
    server.add_insecure_port(f"unix://{folder / endpoint}")
    server.start()
    try:
        with grpc.insecure_channel(f"unix://{folder / 'kubelet.sock'}") as kubelet:
            register: grpc.UnaryUnaryMultiCallable[bytes, bytes] = kubelet.unary_unary(f"/{_API}.Registration/Register")
            register(encode({1: [_API], 2: [endpoint], 3: [resource]}), timeout=10)
        yield plugin
    finally:
        server.stop(grace=1).wait()
