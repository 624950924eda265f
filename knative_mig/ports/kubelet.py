"""What the node agent asks of its kubelet and tells it: which devices there are, who holds which.

Called by `reconfigurer.agent`; answered by `adapters.kubelet` over the kubelet's unix sockets. A device's id is its
slice's identity, `<gpu uuid>/<profile>/<start>`: it stays the same when a slice is made anew at its place.

The subtle thing is time: the kubelet believes a change of devices some milliseconds after it was told, and its node's
status says so up to ten seconds later. Whoever destroys a slice, or tells the scheduler of one, waits for
`allocatable`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from knative_mig.core.agent import readings
from knative_mig.core.errors import KnativeMigError
from knative_mig.core.profile import ProfileName
from knative_mig.ports.gpu import SliceId

DeviceId = readings.DeviceId
Device = readings.Device
KubeletView = readings.KubeletView


class KubeletUnreachable(KnativeMigError):
    """Its socket is gone or does not answer: it restarts, or was never there."""

    reason = "KubeletUnreachable"


class AllocationRefused(KnativeMigError):
    """What a slice's `hand_out` or `before_start` raises: the kubelet then fails the pod, with this message."""

    reason = "AllocationRefused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    host_path: str
    container_path: str
    read_only: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Handout:
    """What a container gets for its slices: the kubelet keeps it, and gives it again when the container restarts."""

    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    cdi_devices: tuple[str, ...] = ()


class SliceDesk(Protocol):
    """The agent's side of the device plugin: asked by the kubelet, on threads of the plugin's server."""

    def hand_out(self, devices: tuple[DeviceId, ...]) -> Handout:
        """For one container of a pod that is being admitted. AllocationRefused fails the pod."""

    def before_start(self, devices: tuple[DeviceId, ...]) -> None:
        """Before each start of a container, restarts too. AllocationRefused: the slice is not the one handed out."""


class DevicePlugins(Protocol):
    """One plugin server a profile, registered with the kubelet; registers anew when the kubelet restarts."""

    def serve(self, devices: Mapping[ProfileName, tuple[Device, ...]]) -> None:
        """What there is now, all profiles at once; pushed at once where it differs. A profile served once stays
        registered, with no devices where it is no longer named.
        """

    def observe(self, view: KubeletView) -> None:
        """Each reading of PodResources: what the kubelet believes shows another plugin, and a registration lost."""

    def run(self) -> None:
        """Registers, and keeps registered, until `stop`: on a thread of its own, which also makes the callbacks."""

    def stop(self) -> None:
        """Within a second, whatever the kubelet does."""


class PodResources(Protocol):
    def view(self) -> KubeletView:
        """KubeletUnreachable: try again."""

    def let_it_end(self) -> None:
        """Back when what of a `view` was under way at the call is over. Asked before a device is given; why is told in
        `adapters.kubelet.pod_resources`.
        """


ConnectionChanged = Callable[[bool], None]  # to the kubelet: every profile that is served is registered and listened to
OwnersChanged = Callable[[Mapping[ProfileName, str]], None]  # profiles that another plugin serves too, and how it shows


def plain_name(slice_id: SliceId) -> str:
    """A slice's identity where neither `/` nor `+` is legal: in the name of a file or of a CDI device."""
    return f"{slice_id.gpu}-{slice_id.profile}-{slice_id.start}".replace("+", ".")
