"""What a node agent is told when it starts: by arguments, or by the environment that its DaemonSet sets.

Parsed by `__main__`. The subtle thing is `--gpus`: with `simulated:…` all else is the same code, so whatever is true
of the agent there is true of it on hardware, but for the driver.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from knative_mig.core.errors import BadInput
from knative_mig.core.inventory import NodeName

SIMULATED: Final = "simulated:"
IN_CLUSTER: Final = "in-cluster"


class Inject(StrEnum):
    CDI = "cdi"  # the container runtime reads a file of ours
    ENV = "env"  # NVIDIA's runtime reads NVIDIA_VISIBLE_DEVICES


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    node: NodeName
    gpus: str  # nvml, or simulated:2xA100-40GB
    gpu_state: Path | None = None  # of simulated GPUs; None: in the state folder
    simulated_latency_s: float = 0.0  # of each call that makes or destroys something
    inject: Inject = Inject.CDI
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
            raise BadInput(f"--gpus {self.gpus}: legal are nvml and {SIMULATED}2xA100-40GB")
        if not self.node:
            raise BadInput("--node is empty: it is the name of the Node that this agent runs on")

    @property
    def simulated(self) -> str | None:
        """Which GPUs to simulate; None: those of the machine."""
        return self.gpus.removeprefix(SIMULATED) if self.gpus.startswith(SIMULATED) else None

    @property
    def gpu_state_file(self) -> Path:
        return self.gpu_state or self.state_dir / "simulated-gpus"
