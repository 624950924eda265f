"""What the planner keeps from round to round, made from nothing: for tests that look at one moment."""

from collections.abc import Iterable

from knative_mig.core.cluster.eligibility import Shape, free_on, why_not
from knative_mig.core.cluster.idle_worth import Reuse
from knative_mig.core.cluster.objects import NodeFacts, PodFacts
from knative_mig.core.cluster.world import Facts, World, WorldKeeper
from knative_mig.core.inventory import NodeName


def build(facts: Facts, now: float, reuse: Reuse | None = None) -> World:
    keeper = WorldKeeper(reuse or Reuse())
    keeper.see(facts, now)
    return keeper.world()


def nodes_for(pod: PodFacts, nodes: Iterable[NodeFacts], pods: Iterable[PodFacts]) -> frozenset[NodeName]:
    there: dict[NodeName, list[PodFacts]] = {}
    for each in pods:
        if each.node is not None:
            there.setdefault(each.node, []).append(each)
    shape = Shape.of(pod)
    return frozenset(
        node.name for node in nodes if why_not(shape, node, free_on(node, there.get(node.name, ()))) is None
    )
