"""What the kubelet stand-in asks of the gateway, and where it keeps things: given by whoever composes `dev`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from knative_mig.core.inventory import NodeName
from knative_mig.ports.kube import Key


class Traffic(Protocol):
    """What a queue-proxy would know of its pod; the gateway knows it here."""

    def last_came(self, pod: Key) -> float | None:
        """When the last request came to it, by time.monotonic; None: none ever did. From any thread, and at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    name: NodeName
    number: int  # which of 127.64.N.0/24 its pods have
    folder: Path  # its own; what is in it is removed at a start, but for the checkpoint
    sockets: (
        Path  # the kubelet's folder, which the agent is told of: a short path, for a socket's has 107 bytes at most
    )
    logs: Path
    cpu: str = "32"
    memory: str = "128Gi"
    storage: str = "100Gi"  # ephemeral
    pods: int = 110
    labels: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)  # that each container is given
    quiet_s: float = 30.0  # for which a function's pod that is deleted waits without a request, as queue-proxy does

    @property
    def room(self) -> dict[str, str]:
        """For pods, beside what device plugins have."""
        return {"cpu": self.cpu, "memory": self.memory, "ephemeral-storage": self.storage, "pods": str(self.pods)}


NODE_IP: Final = "127.0.0.1"
EVENT_PAUSE_S: Final = 0.02  # an API server of one machine takes more of them than one that many write to
