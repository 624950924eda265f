"""Who else would serve or change this node's MIG slices.

Called by the agent's pod loop. NVIDIA's device plugin serves the same resources, with ids of its own, and the kubelet
keeps whoever registered last; NVIDIA's mig-manager clears whole GPUs. The subtle thing is that they are told by their
pods' names: an operator, a chart and a cloud each label them differently, and all keep the program's name in the pod's.
"""

from collections.abc import Iterable
from typing import Final

from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.inventory import NodeName

OTHER_PROGRAMS: Final = ("nvidia-device-plugin", "nvidia-gpu-device-plugin", "nvidia-mig-manager")


def other_owners(pods: Iterable[PodFacts], node: NodeName) -> tuple[str, ...]:
    return tuple(
        sorted(
            f"{pod.namespace}/{pod.name}"
            for pod in pods
            if pod.node == node and not pod.over and any(program in pod.name for program in OTHER_PROGRAMS)
        )
    )
