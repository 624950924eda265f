"""Whether this agent is alone with its slices, and so which spec its GPU loops may see.

Told by the pod loop (who else runs on the node), by the plugins (who else serves a profile, whether the kubelet
listens) and by the mirror of the node's own GpuNode. The subtle thing is what another owner means: two that cut the
same GPUs destroy each other's work, so the GPU loops are shown no spec, and a GPU of which nothing is wanted stays as
it is. Nobody wants to find the agent crash-looping instead: it goes on, and its conditions say why.

Likewise a node whose layout an administrator chose until a moment ago: its spec is of before, so the loops see one that
names no GPU, until the planner has written such a one. That it is so stands in the reported status and nowhere else, so
it holds over restarts; what was reported last has to be seen before anything is reported anew.
"""

import logging
import threading
from collections.abc import Mapping
from dataclasses import replace

from knative_mig.core.gpu_node import GpuNode, GpuNodeStatus
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
        self._adopts: bool | None = None  # None: what was reported last has not been seen

    @property
    def registered(self) -> bool | None:
        return self._board.snapshot().registered

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

    @property
    def adopts_layout(self) -> bool:
        """An administrator's layout is there, and the spec is older than it."""
        return self._adopts is True

    def reported(self, last: GpuNodeStatus | None) -> None:
        """What stood in the GpuNode when this agent first read it; the first to say so is believed."""
        with self._lock:
            self._note_reported(last)

    def spec_seen(self, node: GpuNode | None) -> None:
        with self._lock:
            if node is not None:
                self._note_reported(node.status)
                if self._adopts and not node.spec.gpus:
                    _log.info("the layout that was found is adopted: from here on specs are applied")
                    self._adopts = False
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
        self._board.put_registered(registered=registered)

    def _note_reported(self, last: GpuNodeStatus | None) -> None:
        if self._adopts is None:
            self._adopts = not self._static and last is not None and last.spec_set_aside
            if self._adopts:
                _log.info("the layout was an administrator's: a spec of before is not applied")

    def _show(self) -> None:
        self._board.put_other_owners(self.other_owners)
        shown = self._spec
        if shown is not None and self._adopts:
            shown = replace(shown, spec=replace(shown.spec, gpus=()))
        self._board.put_spec(shown if self.alone else None)
