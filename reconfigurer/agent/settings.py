"""What a node agent is told when it starts: by arguments, or by the environment that its DaemonSet sets.

Parsed by `__main__`. The subtle thing is `--gpus`: with `simulated:…` all else is the same code, so whatever is true
of the agent there is true of it on hardware, but for the driver. What it says is looked at here, before anything else
is begun.
"""

import os
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from knative_mig.adapters.kube import IN_CLUSTER
from knative_mig.adapters.sim_gpu.state import parse_spec
from knative_mig.core.errors import BadInput
from knative_mig.core.events import shown
from knative_mig.core.gpu_node import MOST_GPUS_A_NODE
from knative_mig.core.inventory import NodeName

_NODE: Final = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")  # as Kubernetes names a Node
_LONGEST_KUBELET_DIR: Final = 80  # with /pod-resources/kubelet.sock it is 107, the most that a socket's path may have
SIMULATED: Final = "simulated:"
LEGAL_GPUS: Final = f"nvml, or {SIMULATED}2xA100-40GB with at most {MOST_GPUS_A_NODE} GPUs"


class Inject(StrEnum):
    CDI = "cdi"  # the container runtime reads a file of ours
    ENV = "env"  # NVIDIA's runtime reads NVIDIA_VISIBLE_DEVICES


class PodsBy(StrEnum):
    """How it shows of which pod a process is."""

    CGROUP = "cgroup"  # as a kubelet has it
    ENVIRONMENT = "environment"  # where there are no containers: anybody can say so of himself, so simulated GPUs alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    node: NodeName
    gpus: str  # nvml, or simulated:2xA100-40GB
    gpu_state: Path | None = None  # of simulated GPUs; None: in the state folder
    simulated_latency_s: float = 0.0  # of each call that makes or destroys something
    inject: Inject = Inject.CDI
    pods_by: PodsBy = PodsBy.CGROUP
    state_dir: Path = Path("/var/lib/knative-mig")
    sockets_dir: Path = Path("/var/run/knative-mig/slices")
    cdi_dir: Path = Path("/var/run/cdi")
    kubelet_dir: Path = Path("/var/lib/kubelet")
    namespace: str = "knative-mig-agent"  # of the heartbeat
    holder: str = ""  # who the heartbeat says it is: the pod's name
    ops_host: str = "0.0.0.0"  # noqa: S104  the kubelet's probes and Prometheus come from outside the pod
    ops_port: int = 9090
    kubeconfig: str = IN_CLUSTER

    def __post_init__(self) -> None:
        if self.gpus != "nvml" and not self.gpus.startswith(SIMULATED):
            raise BadInput(f"--gpus {self.gpus}: legal are {LEGAL_GPUS}")
        if self.simulated is not None:
            _check_simulated(self.gpus, self.simulated)
        if self.pods_by is PodsBy.ENVIRONMENT and self.simulated is None:
            raise BadInput(f"--pods-by {self.pods_by} is for simulated GPUs alone: legal here is {PodsBy.CGROUP}")
        if not self.node:
            raise BadInput("--node is empty: it is the name of the Node that this agent runs on")
        if not _NODE.fullmatch(self.node):
            raise BadInput(f"--node {shown(self.node)} names no Node: legal are lower-case letters, digits, - and .")
        if len(os.fsencode(self.kubelet_dir)) > _LONGEST_KUBELET_DIR:
            raise BadInput(
                f"--kubelet-dir has {len(os.fsencode(self.kubelet_dir))} bytes: legal are {_LONGEST_KUBELET_DIR}"
            )

    @property
    def simulated(self) -> str | None:
        """Which GPUs to simulate; None: those of the machine."""
        return self.gpus.removeprefix(SIMULATED) if self.gpus.startswith(SIMULATED) else None

    @property
    def gpu_state_file(self) -> Path:
        return self.gpu_state or self.state_dir / "simulated-gpus"


def _check_simulated(gpus: str, spec: str) -> None:
    try:
        count = len(parse_spec(spec))
    except BadInput as error:
        raise BadInput(f"--gpus {gpus}: {error}; legal are {LEGAL_GPUS}") from None
    if count > MOST_GPUS_A_NODE:
        raise BadInput(f"--gpus {gpus} asks for {count} GPUs: legal are {LEGAL_GPUS}")
