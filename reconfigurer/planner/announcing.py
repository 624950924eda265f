"""Tells what became of wishes for slices: as Events on the Revision, and as CloudEvents where there is a sink.

Called by the loop at the end of each of the leader's rounds; which outcomes are due is `core.outcomes`. Nothing here
waits: both are put down for threads of their own. A replica that does not lead tells nothing.
"""

import logging
from collections.abc import Callable, Iterable, Mapping

from knative_mig.adapters.kube.fields import time_text
from knative_mig.core.changes import Changes
from knative_mig.core.cluster.decide import Decision
from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.events import MIGRATED, Event
from knative_mig.core.floor.values import Revision
from knative_mig.core.gpu_node import GpuNode
from knative_mig.core.inventory import Function, NodeName
from knative_mig.core.mover.values import Move
from knative_mig.core.outcomes.nameless import Sign
from knative_mig.core.outcomes.outcome import Outcome, event_of
from knative_mig.core.outcomes.refusals import AskedBy, CauseOf, denied
from knative_mig.core.outcomes.watch import Watch
from knative_mig.ports.kube import EventRecorder, EventType, Key, Mirror
from reconfigurer.planner.clocks import Now
from reconfigurer.planner.floor import subject_of
from reconfigurer.planner.metrics import PlannerMetrics

_log = logging.getLogger(__name__)


class Announcer:
    def __init__(
        self,
        *,
        revisions: Mirror[Revision],
        events: EventRecorder,
        metrics: PlannerMetrics,
        send: Callable[[Event], None] | None = None,
    ) -> None:
        """`send`: at once, whatever becomes of it; None where no sink is named."""
        self._revisions = revisions
        self._events = events
        self._metrics = metrics
        self._send = send
        self._watch = Watch()
        self._forget_what_came()

    def begin(self) -> None:
        """Called when this replica begins to lead, and when it leads no more."""
        self._watch.begin()

    def due_in_s(self, now: Now) -> float | None:
        """Until there may be something to tell though nothing changes; None: nothing."""
        return self._watch.due_in_s(now.monotonic)

    def tell(  # noqa: PLR0917 - what a round has seen and decided
        self,
        nodes: Mapping[NodeName, GpuNode],
        pods: Mapping[Key, PodFacts],
        decision: Decision,
        moved: Iterable[Move],
        cause_of: CauseOf,
        asked_by: AskedBy,
        now: Now,
    ) -> None:
        revisions = self._revisions.snapshot()

        def pod_of(namespace: str, name: str) -> PodFacts | None:
            return pods.get(Key(namespace, name))

        def uid_of(function: Function) -> str:
            revision = revisions.get(Key(function.namespace, function.name))
            return revision.uid if revision else ""

        found = self._watch.take(
            decision, uid_of, cause_of, now.monotonic, denied(revisions.values(), pods.values(), asked_by)
        )
        found += self._watch.see(nodes, self._come(pods, revisions), pod_of, uid_of)
        for move in moved:
            found += self._watch.migrated(move)
        for outcome in found:
            self._tell(outcome, revisions, now.wall)

    def _come(self, pods: Mapping[Key, PodFacts], revisions: Mapping[Key, Revision]) -> list[Sign]:
        """While nobody waits for any, none is looked at; whoever waits next is tried once with all that there are."""
        if not self._watch.awaits_names:
            self._forget_what_came()
            return []
        return [
            *((pod.namespace, pod.name) for pod in self._came_pods.take(pods).come),
            *(revision.function for revision in self._came_revisions.take(revisions).come),
        ]

    def _forget_what_came(self) -> None:
        self._came_pods, self._came_revisions = Changes[PodFacts](), Changes[Revision]()

    def _tell(self, outcome: Outcome, revisions: Mapping[Key, Revision], now: float) -> None:
        self._metrics.outcomes.labels(outcome.type.split(".")[-2]).inc()
        _log.info("%s: %s: %s", outcome.function, outcome.reason, outcome.text)
        revision = revisions.get(Key(outcome.function.namespace, outcome.function.name))
        # That a function was moved is told by who has moved it.
        if revision is not None and outcome.type != MIGRATED:
            kind = EventType.WARNING if outcome.is_bad else EventType.NORMAL
            self._events.record(subject_of(revision), kind, outcome.reason, outcome.text)
        if self._send is not None:
            self._send(event_of(outcome, time_text(now)))
