"""What a spec names that nothing is decided about: no more than is there, each as it is."""

from dataclasses import replace

import pytest

from knative_mig.core.cluster.idle_worth import Reuse
from knative_mig.core.cluster.staleness import AwaitingAgent, LeftOut, Outside, Verdict
from knative_mig.core.cluster.wanted import specs
from knative_mig.core.cluster.world import WorldKeeper
from knative_mig.core.gpu_node import GpuNodeSpec, Layout
from knative_mig.core.inventory import NodeName
from tests.rigs.small_cluster import facts, gpu, gpu_node, pod, wanted, wanted_slice
from tests.rigs.whole_world import build

N1 = NodeName("n1")


def test_a_gpu_that_is_gone_is_named_no_more() -> None:
    spec = [wanted("g", "3g.20gb@4"), wanted("gone", "7g.40gb@0")]
    there = gpu_node("n1", gpu("g", {"3g.20gb@4": None}), spec=spec)
    keeper = WorldKeeper(Reuse())
    looked_at = keeper.see(facts([there]), 0)
    changed = specs([], keeper.views, keeper.gpu_nodes, 7, looked_at)
    assert changed == {N1: GpuNodeSpec(fencing_token=7, gpus=(wanted("g", "3g.20gb@4"),))}


@pytest.mark.parametrize("how", ["a status of before the spec", "static", "an agent that is silent", "no GPU at all"])
def test_a_gpu_stays_named_while_the_status_does_not_say_for_certain_that_it_is_gone(how: str) -> None:
    spec = [wanted("g", "3g.20gb@4"), wanted("gone", "7g.40gb@0")]
    there = gpu_node("n1", *([] if how == "no GPU at all" else [gpu("g", {"3g.20gb@4": None})]), spec=spec)
    verdicts: dict[NodeName, Verdict] = {}
    if how == "a status of before the spec":
        verdicts[N1] = AwaitingAgent(until=10)
    if how == "an agent that is silent":
        verdicts[N1] = LeftOut(because=Outside.SILENT, why="no heartbeat")
    view = build(facts([there], verdicts=verdicts), now=0).views[N1]
    if how == "static":
        assert there.status
        there = replace(there, status=replace(there.status, layout=Layout.STATIC))
        view = build(facts([there]), now=0).views[N1]
    assert view.unlisted == frozenset()
    if how != "static":  # all of such a node's spec goes
        assert specs([], {view.name: view}, {view.name: there}, 7, [view.name]) == {}


def test_a_size_that_is_not_the_profiles_is_put_right() -> None:
    lie = replace(wanted("g", "3g.20gb@4"), slices=(replace(wanted_slice("3g.20gb@4"), size=2),))
    there = gpu_node("n1", gpu("g", {}), spec=[lie])
    keeper = WorldKeeper(Reuse())
    changed = keeper.see(facts([there], [pod("p", "3g.20gb")]), 0)
    (spec,) = specs([], keeper.views, keeper.gpu_nodes, 7, changed).values()
    assert spec.gpus == (wanted("g", "3g.20gb@4"),)
