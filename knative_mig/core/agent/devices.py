"""Which devices the kubelet is offered, per profile, and which of them are healthy.

Called by `reconfigurer.agent` whenever a reading or a mark changes. A device is a slice's id. Every profile of every
model that was ever seen is named, without devices where there is no slice: a resource that disappears from a node makes
the scheduler forget it.

The subtle thing is a released slice. Its pod still counts against its profile, so its id stays healthy until the
kubelet drops the pod, also when the hardware at that place is another profile by now: without it the scheduler would
count one slice too few. Nobody can be given it meanwhile, as `Board.hand_out` refuses.
"""

from collections.abc import Iterable, Mapping

from knative_mig.core.agent.readings import (
    UNMARKED,
    Device,
    GpuReading,
    KubeletReading,
    Mark,
    SeenSlice,
    device_id,
)
from knative_mig.core.geometry import GpuModel
from knative_mig.core.gpu_node import GpuHealth, SliceId
from knative_mig.core.profile import ProfileName


def devices_to_serve(
    readings: Iterable[GpuReading], marks: Mapping[SliceId, Mark], models: Iterable[GpuModel]
) -> Mapping[ProfileName, tuple[Device, ...]]:
    served: dict[SliceId, Device] = {}
    for reading in readings:
        for seen in reading.slices:
            slice_id = reading.slice_id(seen)
            healthy = healthy_device(reading, seen, marks.get(slice_id, UNMARKED))
            served[slice_id] = Device(id=device_id(slice_id), healthy=healthy)
    for slice_id, mark in marks.items():
        if mark.release is not None:
            served[slice_id] = Device(id=device_id(slice_id), healthy=True)
    found: dict[ProfileName, list[Device]] = {profile.name: [] for model in models for profile in model.profiles}
    for slice_id, device in sorted(served.items()):
        found.setdefault(slice_id.profile, []).append(device)
    return {name: tuple(devices) for name, devices in found.items()}


def healthy_device(reading: GpuReading, seen: SeenSlice, mark: Mark) -> bool:
    """A released one is; whoever asks for it is refused when it is handed out."""
    if mark.release is not None:
        return True
    if reading.health is not GpuHealth.HEALTHY or seen.half_made or seen.not_injectable:
        return False
    return mark.withdrawn_since is None and not mark.broken and not mark.of_no_pod


def of_no_pod(
    reading: GpuReading, kubelet: KubeletReading | None, marks: Mapping[SliceId, Mark], now: float
) -> frozenset[SliceId]:
    """The slices with a process that no pod answers for: somebody's by hand, or what the hardware leaves behind of a
    pod that was killed. `kubelet`: asked before the GPU was read, as the processes of a pod that ends go before it.
    """
    if kubelet is None:
        return frozenset()
    busy = (reading.slice_id(seen) for seen in reading.slices if seen.pids)
    return frozenset(
        each
        for each in busy
        if not kubelet.view.holders_of(each)
        and not marks.get(each, UNMARKED).just_handed_out(now)
        and marks.get(each, UNMARKED).release is None
    )
