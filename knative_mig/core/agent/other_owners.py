"""Who else would serve or change this node's MIG slices.

Called by the agent's pod loop. NVIDIA's device plugin serves the same resources, with ids of its own, and the kubelet
keeps whoever registered last; NVIDIA's mig-manager clears whole GPUs, and its DRA driver gives slices away by claims
and may cut some. The subtle thing is that they are told by their pods' names: an operator, a chart and a cloud each
label them differently, and all keep the program's name in the pod's. So does a function that somebody named after one:
hence the second question, whether the pod is its node's, as all of these are.
"""

from collections.abc import Iterable
from typing import Final

from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.inventory import NodeName

OTHER_PROGRAMS: Final = (
    "nvidia-device-plugin",
    "nvidia-gpu-device-plugin",
    "nvidia-mig-manager",
    # NVIDIA's DRA driver: as its own chart of before and of now names its pods, and as the GPU operator does.
    "nvidia-dra-driver-gpu-kubelet-plugin",
    "dra-driver-nvidia-gpu-kubelet-plugin",
    "nvidia-dra-driver-kubelet-plugin",
)
_OF_A_NODE: Final = ("DaemonSet", "Node")  # Node: a static pod


def other_owners(pods: Iterable[PodFacts], node: NodeName) -> tuple[str, ...]:
    return tuple(
        sorted(
            f"{pod.namespace}/{pod.name}"
            for pod in pods
            if pod.node == node
            and not pod.over
            and pod.owner in _OF_A_NODE
            and any(program in pod.name for program in OTHER_PROGRAMS)
        )
    )
