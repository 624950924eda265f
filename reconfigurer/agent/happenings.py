"""What happened to a GPU, as metrics and as Events on its GpuNode.

Called by the GPU loops, on their threads; an Event is written by a thread of its own. The subtle thing is who reads
them: what goes right is a metric alone, what an operator should look at is an Event too.
"""

from typing import Final

from knative_mig.core.inventory import NodeName
from knative_mig.ports.kube import EventRecorder, EventType, Subject
from reconfigurer.agent.gpu_loop import Happened, Kind
from reconfigurer.agent.metrics import AgentMetrics

_PHASES: Final = {
    Kind.CREATED: "create",
    Kind.FINISHED: "finish",
    Kind.DESTROYED: "destroy",
    Kind.REMOVED: "remove",
}
_WARNINGS: Final = frozenset({Kind.IN_USE, Kind.HANDLE_HELD, Kind.FAILED, Kind.TIMED_OUT, Kind.XID, Kind.QUARANTINED})
_NOTES: Final = frozenset({Kind.RECOVERED, Kind.HEALED})


class Happenings:
    def __init__(self, node: NodeName, events: EventRecorder, metrics: AgentMetrics) -> None:
        self._subject = Subject(api_version="knative-mig.dev/v1alpha1", kind="GpuNode", namespace="", name=node)
        self._events = events
        self._metrics = metrics

    def happened(self, what: Happened) -> None:
        if what.kind in _PHASES:
            self._metrics.phase_seconds.labels(_PHASES[what.kind]).observe(what.seconds)
        if what.kind in {Kind.IN_USE, Kind.HANDLE_HELD}:
            self._metrics.in_use_aborts.inc()
        if what.kind in _WARNINGS or what.kind in _NOTES:
            kind = EventType.WARNING if what.kind in _WARNINGS else EventType.NORMAL
            where = f"{what.gpu}: {what.key}" if what.key else what.gpu
            self._events.record(self._subject, kind, f"Slice{what.kind}", f"{where}: {what.why}")
