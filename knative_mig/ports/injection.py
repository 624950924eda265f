"""How a container gets the device of its slice: told here when a slice has come and when it has gone.

Called by the agent's GPU loops; answered by the adapter that writes CDI files, and by one that does nothing where the
device comes by environment. A slice is offered to the kubelet only once `publish` has returned.
"""

from collections.abc import Collection
from typing import Protocol

from knative_mig.core.errors import KnativeMigError
from knative_mig.core.geometry import Place
from knative_mig.core.gpu_node import SliceId
from knative_mig.core.inventory import GpuUuid


class InjectionFailed(KnativeMigError):
    """It could not be written: the slice is not offered until it can."""

    reason = "InjectionFailed"


class SliceInjection(Protocol):
    """Each may raise InjectionFailed. Safe for several GPU loops at once; each of them tells of its own GPU alone."""

    def publish(self, slice_id: SliceId, place: Place, mig_uuid: str, gi_id: int, ci_id: int) -> None:
        """The slice as it is now; in one step where one of that id was published before."""

    def withdraw(self, slice_id: SliceId) -> None:
        """It has been destroyed. Nothing happens where it was not published."""

    def sweep(self, gpu: GpuUuid, live: Collection[SliceId]) -> None:
        """Withdraw what an earlier run published of that GPU and is not live."""
