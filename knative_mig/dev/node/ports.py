"""What the kubelet stand-in asks of the gateway, and where it keeps things: given by whoever composes `dev`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from knative_mig.core.inventory import NodeName
from knative_mig.ports.kube import Key


class Traffic(Protocol):
    """What queue-proxy would know of a function's pod."""

    def is_quiet(self, pod: Key, uid: str) -> bool:
        """Asked again and again once the pod is to end, until it is so or the grace is over: no request is in it, and
        none came for the quiet period. From any thread; it must return at once.
        """


class NoTraffic:
    """For pods that nobody's requests go to."""

    def is_quiet(self, pod: Key, uid: str) -> bool:  # noqa: ARG002
        return True


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
    pods: int = 110
    labels: Mapping[str, str] = field(default_factory=dict)


NODE_IP: Final = "127.0.0.1"
EVENT_PAUSE_S: Final = 0.02  # an API server of one machine takes more of them than one that many write to
