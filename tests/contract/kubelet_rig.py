"""The plugins and a fake kubelet on unix sockets, with an agent's desk that the tests steer."""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from knative_mig.adapters.kubelet.pod_resources import KubeletPodResources
from knative_mig.adapters.kubelet.registration import KubeletDevicePlugins
from knative_mig.core.profile import ProfileName
from knative_mig.ports.kubelet import AllocationRefused, Device, DeviceId, Handout, Mount
from tests.contract.fake_kubelet import FakeKubelet

SMALL: Final = ProfileName.parse("1g.5gb")
MEDIA: Final = ProfileName.parse("1g.5gb+me")
BIG: Final = ProfileName.parse("3g.20gb")
GPU: Final = "GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77"


def device(profile: ProfileName, start: int, *, healthy: bool = True) -> Device:
    return Device(id=DeviceId(f"{GPU}/{profile}/{start}"), healthy=healthy)


class Desk:
    """Hands out what it is asked for, until `refusal` says why not."""

    def __init__(self) -> None:
        self.refusal = ""
        self.handed_out: list[tuple[DeviceId, ...]] = []
        self.starts: list[tuple[DeviceId, ...]] = []

    def hand_out(self, devices: tuple[DeviceId, ...]) -> Handout:
        if self.refusal:
            raise AllocationRefused(self.refusal)
        self.handed_out.append(devices)
        return Handout(
            environment={"KNATIVE_MIG_SLICE": devices[0]},
            mounts=(Mount(host_path="/run/slices/one", container_path="/var/run/knative-mig/slice"),),
            cdi_devices=tuple(f"knative-mig.dev/slice={each.replace('/', '-').replace('+', '.')}" for each in devices),
        )

    def before_start(self, devices: tuple[DeviceId, ...]) -> None:
        if self.refusal:
            raise AllocationRefused(self.refusal)
        self.starts.append(devices)


class Rig:
    """An agent's plugins with what they reported; the kubelet that they talk to; its PodResources."""

    def __init__(self, kubelet: FakeKubelet, clock: Callable[[], float] = time.monotonic) -> None:
        self.kubelet = kubelet
        self.desk = Desk()
        self.connected: list[bool] = []
        self.owners: Mapping[ProfileName, str] = {}
        self._reported = threading.Condition()
        self.plugins = KubeletDevicePlugins(
            self.desk,
            on_connection=self._connection,
            on_owners=self._owners,
            folder=kubelet.plugins_folder,
            clock=clock,
        )
        self.resources = KubeletPodResources(kubelet.pod_resources_socket)
        self._thread = threading.Thread(target=self.plugins.run, name="plugins")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.plugins.stop()
        self._thread.join(60)
        assert not self._thread.is_alive()
        self.resources.close()

    def serve(self, *devices: Device, none_of: tuple[ProfileName, ...] = ()) -> None:
        by_profile: dict[ProfileName, tuple[Device, ...]] = dict.fromkeys(none_of, ())
        for each in devices:
            profile = ProfileName.parse(each.id.split("/")[1])
            by_profile[profile] = (*by_profile.get(profile, ()), each)
        self.plugins.serve(by_profile)

    def until(self, what: Callable[[], bool]) -> None:
        """Until what was reported is so."""
        with self._reported:
            assert self._reported.wait_for(what, 60), f"connected {self.connected}, owners {self.owners}"

    def observe(self) -> None:
        """One round of the agent's node loop."""
        self.plugins.observe(self.resources.view())

    def _connection(self, connected: bool) -> None:  # noqa: FBT001 - as the port has it
        with self._reported:
            self.connected.append(connected)
            self._reported.notify_all()

    def _owners(self, owners: Mapping[ProfileName, str]) -> None:
        with self._reported:
            self.owners = owners
            self._reported.notify_all()


@contextmanager
def short_folder() -> Iterator[Path]:
    """A socket's path has 107 characters at most, and pytest's folders may have as many."""
    with tempfile.TemporaryDirectory(prefix="km-") as folder:
        yield Path(folder)


@contextmanager
def another_agent(kubelet: FakeKubelet) -> Iterator[Rig]:
    rig = Rig(kubelet)
    rig.start()
    try:
        yield rig
    finally:
        rig.stop()
