"""Reads from the kubelet which MIG devices it holds for healthy, and which containers hold which.

Called by the agent's node loop, on one thread. The kubelet answers at most a hundred calls a second, and a view is two:
a call too many is KubeletUnreachable like any other failure. The subtle thing is the order: holders are read last, so a
device that is no longer allocatable and has no holder here had none when it was taken back, unless the kubelet's
`Allocate` call for it was under way; only the plugin's own `hand_out` knows of that. Unhealthy devices are not
allocatable, nor is anything until the plugin has registered again; a container's devices stay its own until the kubelet
has seen its pod end. Devices that only an init container holds are not listed at all.

Listing is no mere question. The kubelet first frees the devices of pods that it knows no more, and it notes which pods
it knows before it looks who holds a device: a pod that comes and is given one in between loses it again, while it runs,
and the next pod is given the same. So no list that began before a device was asked for may end after it was given.
"""

import threading
from collections import defaultdict
from pathlib import Path
from typing import Final

import grpc

from knative_mig.adapters.kubelet import methods
from knative_mig.adapters.kubelet.channel import channel_to
from knative_mig.adapters.kubelet.stubs import podresources_pb2 as pb
from knative_mig.core.errors import BadInput
from knative_mig.core.gpu_node import Holder
from knative_mig.core.profile import ProfileName
from knative_mig.ports.kubelet import DeviceId, KubeletUnreachable, KubeletView

SOCKET: Final = Path("/var/lib/kubelet/pod-resources/kubelet.sock")
ANSWER_WITHIN_S: Final = 2.0


class KubeletPodResources:
    """`ports.kubelet.PodResources`."""

    def __init__(self, socket: Path = SOCKET, *, answer_within_s: float = ANSWER_WITHIN_S) -> None:
        self._socket = socket
        self._answer_within_s = answer_within_s
        self._channel: grpc.Channel | None = None
        self._listing = threading.Lock()

    def view(self) -> KubeletView:
        channel = self._channel or channel_to(self._socket)
        self._channel = channel
        try:
            healthy = methods.GET_ALLOCATABLE.on(channel)(
                pb.AllocatableResourcesRequest(), timeout=self._answer_within_s
            )
            with self._listing:
                held = methods.LIST.on(channel)(pb.ListPodResourcesRequest(), timeout=self._answer_within_s)
        except grpc.RpcError as error:
            self.close()  # a kubelet that comes back has another socket at the same path
            answer: object = error
            why = answer.details() if isinstance(answer, grpc.Call) else answer
            raise KubeletUnreachable(f"{self._socket}: {why}") from error
        allocatable_of = _allocatable(healthy)
        return KubeletView(
            holders=_holders(held),
            allocatable=frozenset().union(*allocatable_of.values()),
            allocatable_of=allocatable_of,
        )

    def let_it_end(self) -> None:
        if self._listing.acquire(timeout=self._answer_within_s):
            self._listing.release()

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None


def _holders(answer: pb.ListPodResourcesResponse) -> dict[DeviceId, tuple[Holder, ...]]:
    holders: defaultdict[DeviceId, list[Holder]] = defaultdict(list)
    for pod in answer.pod_resources:
        for container in pod.containers:
            holder = Holder(namespace=pod.namespace, pod=pod.name, container=container.name)
            for devices in container.devices:
                if _profile(devices) is None:
                    continue
                for device in devices.device_ids:
                    # A device with two NUMA nodes is listed twice.
                    if holder not in holders[DeviceId(device)]:
                        holders[DeviceId(device)].append(holder)
    return {device: tuple(sorted(each)) for device, each in holders.items()}


def _allocatable(answer: pb.AllocatableResourcesResponse) -> dict[ProfileName, frozenset[DeviceId]]:
    found: defaultdict[ProfileName, set[DeviceId]] = defaultdict(set)
    for devices in answer.devices:
        if (profile := _profile(devices)) is not None:
            found[profile].update(DeviceId(device) for device in devices.device_ids)
    return {profile: frozenset(ids) for profile, ids in found.items()}


def _profile(devices: pb.ContainerDevices) -> ProfileName | None:
    """None: another vendor's resource, or one that only looks like a MIG profile's."""
    try:
        return ProfileName.from_resource(devices.resource_name)
    except BadInput:
        return None
