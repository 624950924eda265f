"""What the mover sees in a round: pods and Revisions, found by what it asks of them.

Kept by the planner's leader and told of each round's snapshots. A round costs what changed: pods and Revisions are
tens of thousands, and most of them are the objects of the round before.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Self

from knative_mig.core.changes import Changes
from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.cluster.waiting import is_waiting
from knative_mig.core.floor.values import Record, Revision
from knative_mig.core.gpu_node import GpuNode
from knative_mig.core.inventory import Function, NodeName

_NO_PODS: Final[Mapping[int, PodFacts]] = {}
_NO_FUNCTIONS: Final[Mapping[Function, int]] = {}
_NO_REVISIONS: Final[Mapping[Function, Revision]] = {}


class Service(NamedTuple):
    namespace: str
    name: str


class SeenPods:
    def __init__(self) -> None:
        self._changes = Changes[PodFacts]()
        self._of: dict[Function, dict[int, PodFacts]] = {}
        self._waiting: dict[Function, dict[int, PodFacts]] = {}
        self._movable = Counter[Function]()
        self._holding: dict[Service, Counter[Function]] = {}

    @classmethod
    def all_of(cls, pods: Iterable[PodFacts]) -> Self:
        made = cls()
        made.see(dict(enumerate(pods)))
        return made

    def see(self, pods: Mapping[Any, PodFacts]) -> None:
        change = self._changes.take(pods)
        for pod in change.gone:
            self._drop(pod)
        for pod in change.come:
            self._put(pod)

    def of(self, function: Function) -> Collection[PodFacts]:
        return self._of.get(function, _NO_PODS).values()

    @property
    def movable(self) -> Collection[Function]:
        """Those of which a pod says that it may be moved."""
        return self._movable.keys()

    @property
    def waiting(self) -> Mapping[Function, Collection[PodFacts]]:
        """Pods of Services that have no slice yet."""
        return {function: pods.values() for function, pods in self._waiting.items()}

    def holding(self, service: Service) -> Collection[Function]:
        """Of its functions those with a pod that has a slice and is to keep it."""
        return self._holding.get(service, _NO_FUNCTIONS).keys()

    def _put(self, pod: PodFacts) -> None:
        self._of.setdefault(pod.function, {})[id(pod)] = pod
        if pod.movable:
            self._movable[pod.function] += 1
        if pod.service and is_waiting(pod):
            self._waiting.setdefault(pod.function, {})[id(pod)] = pod
        if _holds(pod):
            self._holding.setdefault(_service(pod), Counter())[pod.function] += 1

    def _drop(self, pod: PodFacts) -> None:
        _take_out(self._of, pod)
        if pod.movable:
            _count_down(self._movable, pod.function)
        if pod.service and is_waiting(pod):
            _take_out(self._waiting, pod)
        if _holds(pod):
            held = self._holding[_service(pod)]
            _count_down(held, pod.function)
            if not held:
                del self._holding[_service(pod)]


class SeenRevisions:
    def __init__(self) -> None:
        self._changes = Changes[Revision]()
        self._by_function: dict[Function, Revision] = {}
        self._of: dict[Service, dict[Function, Revision]] = {}

    @classmethod
    def all_of(cls, revisions: Iterable[Revision]) -> Self:
        made = cls()
        made.see(dict(enumerate(revisions)))
        return made

    def see(self, revisions: Mapping[Any, Revision]) -> None:
        change = self._changes.take(revisions)
        for each in change.gone:
            service = service_of(each)
            del self._by_function[each.function], self._of[service][each.function]
            if not self._of[service]:
                del self._of[service]
        for each in change.come:
            self._by_function[each.function] = each
            self._of.setdefault(service_of(each), {})[each.function] = each

    def get(self, function: Function) -> Revision | None:
        return self._by_function.get(function)

    def newest(self, service: Service) -> Revision | None:
        return max(self._of.get(service, _NO_REVISIONS).values(), key=lambda each: each.generation, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """`records` are the floor's, by the Revision's UID."""

    gpu_nodes: Mapping[NodeName, GpuNode] = field(default_factory=dict)
    pods: SeenPods = field(default_factory=SeenPods)
    revisions: SeenRevisions = field(default_factory=SeenRevisions)
    records: Mapping[str, Record] = field(default_factory=dict)


def service_of(revision: Revision) -> Service:
    return Service(revision.namespace, revision.service)


def _service(pod: PodFacts) -> Service:
    return Service(pod.namespace, pod.service or "")


def _holds(pod: PodFacts) -> bool:
    return bool(pod.service and pod.wants and pod.node) and pod.ends_at is None and not pod.over


def _take_out(by_function: dict[Function, dict[int, PodFacts]], pod: PodFacts) -> None:
    function = pod.function
    del by_function[function][id(pod)]
    if not by_function[function]:
        del by_function[function]


def _count_down(counted: Counter[Function], function: Function) -> None:
    counted[function] -= 1
    if not counted[function]:
        del counted[function]
