"""What a Node's status should say of its slices, and whether it has to be written now.

Called by the agent's node loop after each reading of the kubelet. The kubelet pushes its node's status by itself, but
up to ten seconds late, so the agent writes it first. The subtle thing is whose word counts: only what the kubelet
believes already is written. A device raised before that is handed to a pod that the kubelet then refuses
(UnexpectedAdmissionError); one lowered before that is written back by the kubelet's own push.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from knative_mig.core.agent.readings import Device, DeviceId, KubeletView
from knative_mig.core.errors import BadInput
from knative_mig.core.gpu_node import SliceId
from knative_mig.core.profile import ProfileName


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceCounts:
    """A profile that is not named is not in the Node's status at all, which is not the same as 0 to who reads it."""

    capacity: Mapping[ProfileName, int] = field(default_factory=dict)
    allocatable: Mapping[ProfileName, int] = field(default_factory=dict)


Served = Mapping[ProfileName, tuple[Device, ...]]


@lru_cache(maxsize=4096)
def profile_of(device: DeviceId) -> ProfileName | None:
    """None: not one of ours. Asked of the same few hundred devices many times a second while slices are remade."""
    try:
        return SliceId.parse(device).profile
    except BadInput:
        return None


def believed_counts(served: Served, view: KubeletView) -> SliceCounts:
    """As the kubelet would count: allocatable are its healthy devices, capacity the unhealthy ones too. A device that
    was served healthy and that the kubelet does not show yet counts for nothing; one that it has still counts.
    """
    unhealthy = {
        device.id
        for devices in served.values()
        for device in devices
        if not device.healthy and device.id not in view.allocatable
    }
    allocatable = Counter(profile for each in view.allocatable if (profile := profile_of(each)))
    capacity = allocatable + Counter(profile for each in unhealthy if (profile := profile_of(each)))
    profiles = sorted({*served, *allocatable})
    return SliceCounts(
        capacity={profile: capacity[profile] for profile in profiles},
        allocatable={profile: allocatable[profile] for profile in profiles},
    )


def next_write(right: SliceCounts, node_says: SliceCounts) -> SliceCounts | None:
    """The profiles whose counts are to be written, or None where the Node says all of it already."""
    wrong = [
        profile
        for profile in right.allocatable
        if node_says.allocatable.get(profile) != right.allocatable[profile]
        or node_says.capacity.get(profile) != right.capacity[profile]
    ]
    if not wrong:
        return None
    return SliceCounts(
        capacity={profile: right.capacity[profile] for profile in wrong},
        allocatable={profile: right.allocatable[profile] for profile in wrong},
    )


def changes_the_offer(write: SliceCounts, node_says: SliceCounts) -> bool:
    """Whether anybody waits for it: a scheduler reads what is allocatable, and of a slice that is being remade the
    capacity goes down and up again.
    """
    return any(node_says.allocatable.get(profile) != count for profile, count in write.allocatable.items())
