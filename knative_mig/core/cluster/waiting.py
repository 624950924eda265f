"""Which pods wait for a slice, and as what the planner sees them: groups alike in all that it looks at.

Called by `world` each round. A pod waits when it asks for a slice, has no node, and nothing but our own gate holds it
back. It need not be marked unschedulable: until the scheduler has looked at it, it waits for a slice all the same.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from knative_mig.core.cluster.objects import Phase, PodFacts
from knative_mig.core.gpu_node import GATE
from knative_mig.core.inventory import Function, NodeName, Pending, Succession
from knative_mig.core.planner.decisions import Because, Reason
from knative_mig.core.profile import ProfileName


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Pods of one function in the order in which they are served: by age."""

    pending: Pending
    pods: tuple[PodFacts, ...]
    nodes: frozenset[NodeName]  # what Pending.nodes stands for, None being all of them

    def away_from(self, node: NodeName) -> "Group":
        nodes = self.nodes - {node}
        return replace(self, pending=replace(self.pending, nodes=nodes), nodes=nodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unplanned:
    """A pod that no plan is made for."""

    pod: PodFacts
    reason: Reason
    helps: tuple[str, ...] = ()


def is_waiting(pod: PodFacts) -> bool:
    return (
        bool(pod.wants)
        and pod.node is None
        and pod.phase is Phase.PENDING
        and pod.ends_at is None
        and all(gate == GATE for gate in pod.gates)
    )


def is_gated(pod: PodFacts) -> bool:
    return GATE in pod.gates


def why_unplanned(pod: PodFacts) -> Unplanned | None:
    """One slice a pod: several would have to be on one node together, and be kept together until it starts."""
    if sum(pod.wants.values()) == 1:
        return None
    asked = ", ".join(f"{count} x {name}" for name, count in sorted(pod.wants.items()))
    text = f"the pod asks for {asked}: one slice a pod is planned"
    return Unplanned(
        pod=pod,
        reason=Reason(Because.NO_SUCH_PROFILE, text),
        helps=("ask for one slice of a bigger profile", "more replicas with one slice each"),
    )


def wanted_profile(pod: PodFacts) -> ProfileName:
    return next(name for name, count in pod.wants.items() if count)


def groups_of(
    pods: Iterable[PodFacts],
    nodes_of: Callable[[PodFacts], frozenset[NodeName]],
    everywhere: frozenset[NodeName],
    successions: Mapping[Function, Succession] = MappingProxyType({}),
    superseded: Mapping[Function, Function] = MappingProxyType({}),
) -> list[Group]:
    """`everywhere`: all nodes with GPUs that can be planned on; who can run on all of them is not bound to any."""
    found: dict[tuple[object, ...], list[PodFacts]] = {}
    eligible: dict[tuple[object, ...], frozenset[NodeName]] = {}
    reduced: dict[int, frozenset[NodeName]] = {}
    for pod in pods:
        nodes = nodes_of(pod)
        if id(nodes) not in reduced:
            here = nodes & everywhere
            reduced[id(nodes)] = everywhere if len(here) == len(everywhere) else here
        here = reduced[id(nodes)]
        key = (pod.function, wanted_profile(pod), pod.priority, here)
        found.setdefault(key, []).append(pod)
        eligible[key] = here
    groups = []
    for kind, members in found.items():
        group = _group(members, eligible[kind], everywhere)
        of = group.pending.function
        pending = replace(group.pending, succeeds=successions.get(of), after=superseded.get(of))
        groups.append(replace(group, pending=pending))
    return groups


def _group(members: list[PodFacts], nodes: frozenset[NodeName], everywhere: frozenset[NodeName]) -> Group:
    pods = tuple(sorted(members, key=lambda pod: (pod.created, pod.name)))
    first = pods[0]
    pending = Pending(
        function=first.function,
        profile=wanted_profile(first),
        count=len(pods),
        priority=first.priority,
        since=first.created,
        nodes=None if nodes is everywhere else nodes,
    )
    return Group(pending=pending, pods=pods, nodes=nodes)


def quota_left(
    hard_and_used: Iterable[tuple[str, Mapping[ProfileName, int], Mapping[ProfileName, int]]], pods: Iterable[PodFacts]
) -> dict[str, dict[ProfileName, int]]:
    """What waiting pods may have. They are counted as used already, each when it was admitted: that is taken back."""
    left: dict[str, dict[ProfileName, int]] = {}
    for namespace, hard, used in hard_and_used:
        mine = left.setdefault(namespace, {})
        for name, most in hard.items():
            here = most - used.get(name, 0)
            mine[name] = min(mine.get(name, here), here)
    for pod in pods:
        limited = left.get(pod.namespace)
        if limited:
            for name, count in pod.wants.items():
                if name in limited:
                    limited[name] += count
    return left
