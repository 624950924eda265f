"""Decides on which nodes a pod can run, so that no slice is made where its pod would never be scheduled.

Asks what the scheduler asks: node selector, required affinity, taints, cordons, readiness, and what is free of CPU,
memory and pods. Called by `world`; of taints and selectors alone by the scheduler stand-in of `dev`. The subtle thing
is the shape: pods of one function differ in their names alone, so what is found for one of them holds for all, and only
nodes that changed are looked at again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from knative_mig.core.cluster.objects import (
    Effect,
    NodeFacts,
    Operator,
    PodFacts,
    Requirement,
    Resources,
    Taint,
    Term,
    Toleration,
)
from knative_mig.core.inventory import NodeName

# What a cordon is to the scheduler: the one taint that a node's `unschedulable` stands for.
CORDON: Final = Taint(key="node.kubernetes.io/unschedulable", effect=Effect.NO_SCHEDULE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """All of a pod that decides where it can run, beside its slice."""

    selector: tuple[tuple[str, str], ...]
    terms: tuple[Term, ...] | None
    tolerations: tuple[Toleration, ...]
    asks: Resources

    @classmethod
    def of(cls, pod: PodFacts) -> "Shape":
        return cls(
            selector=tuple(sorted(pod.node_selector.items())),
            terms=pod.node_terms,
            tolerations=pod.tolerations,
            asks=pod.asks,
        )


def free_on(node: NodeFacts, pods: Iterable[PodFacts]) -> Resources:
    """What is left beside the pods bound to it; one that is over takes nothing, one being deleted still does."""
    there = [pod for pod in pods if not pod.over]
    return Resources(
        cpu_milli=node.allocatable.cpu_milli - sum(pod.asks.cpu_milli for pod in there),
        memory_bytes=node.allocatable.memory_bytes - sum(pod.asks.memory_bytes for pod in there),
        pods=node.allocatable.pods - len(there),
    )


def why_not(shape: Shape, node: NodeFacts, free: Resources) -> str | None:
    """None: the pod can run there."""
    if not node.ready:
        return "not ready"
    taint = untolerated(shape.tolerations, node)
    if taint:
        return "cordoned" if taint is CORDON else f"tainted {taint.key}"
    if not selected(shape, node):
        return "not selected by the pod"
    return too_little(shape.asks, free)


def too_little(asks: Resources, free: Resources) -> str | None:
    if free.pods < 1:
        return "no more pods allowed"
    if asks.cpu_milli > free.cpu_milli:
        return f"CPU: {asks.cpu_milli}m asked, {max(0, free.cpu_milli)}m free"
    if asks.memory_bytes > free.memory_bytes:
        return f"memory: {asks.memory_bytes >> 20} MiB asked, {max(0, free.memory_bytes) >> 20} MiB free"
    return None


def untolerated(tolerations: tuple[Toleration, ...], node: NodeFacts) -> Taint | None:
    taints = (*node.taints, CORDON) if node.unschedulable else node.taints
    for taint in taints:
        if taint.effect is not Effect.PREFER_NO_SCHEDULE and not any(tolerates(each, taint) for each in tolerations):
            return CORDON if taint.key == CORDON.key else taint
    return None


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    if toleration.effect not in (None, taint.effect):
        return False
    if toleration.key != taint.key:
        return not toleration.key and toleration.exists
    return toleration.exists or toleration.value == taint.value


def selected(shape: Shape, node: NodeFacts) -> bool:
    if any(node.labels.get(key) != value for key, value in shape.selector):
        return False
    return shape.terms is None or any(_holds(term, node) for term in shape.terms)


def _holds(term: Term, node: NodeFacts) -> bool:
    """An empty term selects nothing, as Kubernetes has it."""
    fields = {"metadata.name": str(node.name)}
    return bool(term.labels or term.fields) and (
        all(_meets(each, node.labels) for each in term.labels) and all(_meets(each, fields) for each in term.fields)
    )


def _meets(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case Operator.IN:
            return value is not None and value in requirement.values
        case Operator.NOT_IN:
            return value is None or value not in requirement.values
        case Operator.EXISTS:
            return value is not None
        case Operator.DOES_NOT_EXIST:
            return value is None
        case Operator.GT | Operator.LT:
            return _compares(requirement, value)


def _compares(requirement: Requirement, value: str | None) -> bool:
    try:
        here, limit = int(value or ""), int(requirement.values[0])
    except (ValueError, IndexError):
        return False
    return here > limit if requirement.operator is Operator.GT else here < limit


class Eligible:
    """Kept between rounds: for each shape that waits, the nodes it can run on."""

    def __init__(self) -> None:
        self._nodes: dict[NodeName, tuple[NodeFacts, Resources]] = {}
        self._of_shape: dict[Shape, set[NodeName]] = {}
        self._answers: dict[Shape, frozenset[NodeName]] = {}

    def put(self, node: NodeFacts, free: Resources) -> None:
        self._nodes[node.name] = (node, free)
        for shape, names in self._of_shape.items():
            can = why_not(shape, node, free) is None
            if can != (node.name in names):
                (names.add if can else names.discard)(node.name)
                self._answers.pop(shape, None)

    def remove(self, name: NodeName) -> None:
        if self._nodes.pop(name, None):
            for shape, names in self._of_shape.items():
                if name in names:
                    names.discard(name)
                    self._answers.pop(shape, None)

    def free(self, name: NodeName) -> Resources:
        known = self._nodes.get(name)
        return known[1] if known else Resources()

    def nodes(self, shape: Shape) -> frozenset[NodeName]:
        """The same object while the answer is the same."""
        if shape not in self._of_shape:
            self._of_shape[shape] = {
                name for name, (node, free) in self._nodes.items() if why_not(shape, node, free) is None
            }
        if shape not in self._answers:
            self._answers[shape] = frozenset(self._of_shape[shape])
        return self._answers[shape]

    def why_nowhere(self, shape: Shape) -> Mapping[str, int]:
        """How many nodes each reason rules out."""
        found: dict[str, int] = {}
        for node, free in self._nodes.values():
            why = why_not(shape, node, free)
            if why:
                kind = why.split(":", 1)[0]
                found[kind] = found.get(kind, 0) + 1
        return found

    def keep_only(self, shapes: Iterable[Shape]) -> None:
        """Forgets what nobody asks for any more."""
        kept = set(shapes)
        for shape in [each for each in self._of_shape if each not in kept]:
            del self._of_shape[shape]
            self._answers.pop(shape, None)
