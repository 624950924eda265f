"""Whether this agent is alone with its slices, and so which spec its GPU loops may see.

Told by the pod loop (who else runs on the node), by the plugins (who else serves a profile, whether the kubelet
listens) and by the mirror of the node's own GpuNode. The subtle thing is what another owner means: two that cut the
same GPUs destroy each other's work, so the GPU loops are shown no spec, and a GPU of which nothing is wanted stays as
it is. Nobody wants to find the agent crash-looping instead: it goes on, and its conditions say why.
"""

import logging
import threading
from collections.abc import Mapping

from knative_mig.core.gpu_node import GpuNode
from knative_mig.core.profile import ProfileName
from reconfigurer.agent.board import Board

_log = logging.getLogger(__name__)


class Surroundings:
    """`static`: an administrator's plugin serves this node, which is as it should be."""

    def __init__(self, board: Board, *, static: bool = False) -> None:
        self._board = board
        self._static = static
        self._lock = threading.Lock()
        self._spec: GpuNode | None = None
        self._pods: tuple[str, ...] | None = None
        self._plugins: tuple[str, ...] = ()
        self._registered: bool | None = None

    @property
    def registered(self) -> bool | None:
        return self._registered

    @property
    def other_owners(self) -> tuple[str, ...] | None:
        """None: the pods of the node have not been seen yet, and nothing else has shown itself."""
        if self._pods is None:
            return self._plugins or None
        return self._pods + self._plugins

    @property
    def alone(self) -> bool:
        """Pods that have not been seen yet are no reason to wait: a cluster without its API server keeps its slices."""
        return self._static or not self.other_owners

    def spec_seen(self, node: GpuNode | None) -> None:
        with self._lock:
            self._spec = node
            self._show()

    def pods_seen(self, others: tuple[str, ...]) -> None:
        with self._lock:
            if others != self._pods:
                if others and not self._static:
                    _log.error("%s would serve or change the same slices: nothing is changed here", ", ".join(others))
                self._pods = others
                self._show()

    def owners_seen(self, owners: Mapping[ProfileName, str]) -> None:
        with self._lock:
            self._plugins = tuple(owners[profile] for profile in sorted(owners))
            self._show()

    def connection_seen(self, registered: bool) -> None:  # noqa: FBT001  as the port calls it
        self._registered = registered

    def _show(self) -> None:
        self._board.put_spec(self._spec if self.alone else None)
