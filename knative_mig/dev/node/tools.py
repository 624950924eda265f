"""What the workers of a node's pods share."""

from collections.abc import Mapping
from dataclasses import dataclass

from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kubelet.device_manager import DeviceManager
from knative_mig.dev.node.addresses import Addresses
from knative_mig.dev.node.images import Image
from knative_mig.dev.node.logs import PodLogs
from knative_mig.dev.node.ports import NodeSettings, Traffic
from knative_mig.ports.kube import EventRecorder


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    settings: NodeSettings
    client: KubeClient
    devices: DeviceManager
    addresses: Addresses
    images: Mapping[str, Image]
    logs: PodLogs
    events: EventRecorder
    traffic: Traffic | None  # None: there is nobody whose requests are to be waited for
    host: Mapping[str, str]  # of this machine's environment, what every program is given
