"""All that is known of revisions, PodAutoscalers and pods, kept so that one change costs one revision's judgement.

Called by `activator_hooks.source.desk` as its mirrors change. It holds what the mirrors hold and nothing of the past,
so its size is the cluster's; an object that goes takes its entry with it.
"""

from collections.abc import Iterator
from typing import TypeVar

from knative_mig.core.inventory import Function
from knative_mig.core.pending.demand import Demand, Replica, RevisionFacts, Scale, demand_of

T = TypeVar("T")

PodName = tuple[str, str]  # namespace and name


class Known:
    def __init__(self) -> None:
        self._revisions: dict[Function, RevisionFacts] = {}
        self._scales: dict[Function, Scale] = {}
        self._pods: dict[Function, dict[PodName, Replica]] = {}
        self._function_of: dict[PodName, Function] = {}

    def put_revision(self, function: Function, facts: RevisionFacts | None) -> None:
        _put(self._revisions, function, facts)

    def put_scale(self, function: Function, scale: Scale | None) -> None:
        _put(self._scales, function, scale)

    def put_pod(self, name: PodName, pod: Replica | None) -> tuple[Function, ...]:
        """Whose demand that may change."""
        before = self._function_of.get(name)
        if before is not None and (pod is None or pod.function != before):
            del self._function_of[name]
            pods = self._pods[before]
            del pods[name]
            if not pods:
                del self._pods[before]
        if pod is None:
            return () if before is None else (before,)
        self._function_of[name] = pod.function
        self._pods.setdefault(pod.function, {})[name] = pod
        return (pod.function,) if before in (None, pod.function) else (before, pod.function)

    def demand(self, function: Function) -> Demand | None:
        return demand_of(
            function,
            self._revisions.get(function),
            self._scales.get(function),
            self._pods.get(function, {}).values(),
        )

    def __iter__(self) -> Iterator[Function]:
        """Every revision that is there."""
        return iter(self._revisions)

    def __len__(self) -> int:
        """How many objects it holds something of."""
        return len(self._revisions) + len(self._scales) + len(self._function_of)


def _put(into: dict[Function, T], function: Function, value: T | None) -> None:
    if value is None:
        into.pop(function, None)
    else:
        into[function] = value
