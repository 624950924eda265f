"""A node whose layout an administrator chose: its slices under the ids that we give them.

Called by the agent's node loop. There another device plugin serves the slices and names each by its MIG UUID, so the
kubelet's words are translated once, and all behind it reads as on any other node. The subtle thing is a UUID that no
reading shows: the slice was made a moment ago, or is of a GPU that cannot be read; it is left out until it is read.
"""

from collections.abc import Iterable

from knative_mig.core.agent.readings import DeviceId, GpuReading, KubeletView, device_id
from knative_mig.core.errors import BadInput
from knative_mig.core.gpu_node import Holder, SliceId


def in_our_ids(view: KubeletView, readings: Iterable[GpuReading]) -> KubeletView:
    """The same view with each device under its slice's id; what is no slice of ours is not in it."""
    by_uuid = {
        DeviceId(seen.mig_uuid): device_id(reading.slice_id(seen))
        for reading in readings
        for seen in reading.slices
        if seen.mig_uuid is not None
    }
    holders: dict[DeviceId, tuple[Holder, ...]] = {}
    for device, held_by in view.holders.items():
        if ours := by_uuid.get(device, _ours(device)):
            holders[ours] = holders.get(ours, ()) + held_by
    allocatable = {by_uuid.get(device, _ours(device)) for device in view.allocatable}
    return KubeletView(holders=holders, allocatable=frozenset(each for each in allocatable if each))


def _ours(device: DeviceId) -> DeviceId | None:
    try:
        SliceId.parse(device)
    except BadInput:
        return None
    return device
