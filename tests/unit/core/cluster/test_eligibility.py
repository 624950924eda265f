"""On which nodes a pod can run: as the scheduler would say."""

from dataclasses import replace

import pytest

from knative_mig.core.cluster.eligibility import CORDON, Eligible, Shape, free_on
from knative_mig.core.cluster.objects import (
    Effect,
    NodeFacts,
    Operator,
    Phase,
    PodFacts,
    Requirement,
    Resources,
    Taint,
    Term,
    Toleration,
)
from knative_mig.core.inventory import NodeName
from tests.rigs.small_cluster import GIB, node, pod
from tests.rigs.whole_world import nodes_for

N1, N2 = NodeName("n1"), NodeName("n2")
GPU_TAINT = Taint(key="nvidia.com/gpu", value="present")


def can_run(asking: PodFacts, *nodes: NodeFacts, beside: tuple[PodFacts, ...] = ()) -> set[str]:
    return set(nodes_for(asking, nodes, beside))


def requires(*requirements: Requirement) -> PodFacts:
    return replace(pod("p"), node_terms=(Term(labels=requirements),))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"unschedulable": True}, id="cordoned"),
        pytest.param({"ready": False}, id="not ready"),
        pytest.param({"taints": (GPU_TAINT,)}, id="tainted"),
        pytest.param({"taints": (replace(GPU_TAINT, effect=Effect.NO_EXECUTE),)}, id="tainted NoExecute"),
        pytest.param({"allocatable": Resources(cpu_milli=400, memory_bytes=GIB, pods=9)}, id="too little CPU"),
        pytest.param({"allocatable": Resources(cpu_milli=4000, memory_bytes=9, pods=9)}, id="too little memory"),
        pytest.param({"allocatable": Resources(cpu_milli=4000, memory_bytes=GIB)}, id="no more pods"),
    ],
)
def test_a_node_where_the_scheduler_would_not_put_it_is_not_eligible(change: dict[str, object]) -> None:
    asking = replace(pod("p"), asks=Resources(cpu_milli=500, memory_bytes=1024))
    assert can_run(asking, replace(node("n1"), **change), node("n2")) == {"n2"}  # type: ignore[arg-type]


def test_what_the_pods_there_ask_for_is_not_free() -> None:
    big = pod("big", on="n1", cpu=63_800)
    asking = pod("p", cpu=500)
    assert can_run(asking, node("n1"), beside=(big,)) == set()
    assert can_run(asking, node("n1"), beside=(replace(big, phase=Phase.SUCCEEDED),)) == {"n1"}
    assert can_run(asking, node("n1"), beside=(replace(big, ends_at=5.0),)) == set()


@pytest.mark.parametrize(
    "toleration",
    [
        pytest.param(Toleration(key="nvidia.com/gpu", exists=True), id="exists"),
        pytest.param(Toleration(key="nvidia.com/gpu", value="present"), id="equal"),
        pytest.param(Toleration(exists=True), id="everything"),
        pytest.param(Toleration(key="nvidia.com/gpu", exists=True, effect=Effect.NO_SCHEDULE), id="its effect"),
    ],
)
def test_a_taint_that_is_tolerated_is_none(toleration: Toleration) -> None:
    assert can_run(replace(pod("p"), tolerations=(toleration,)), replace(node("n1"), taints=(GPU_TAINT,))) == {"n1"}


@pytest.mark.parametrize(
    "toleration",
    [
        pytest.param(Toleration(key="nvidia.com/gpu", value="absent"), id="another value"),
        pytest.param(Toleration(key="example.com/gpu", exists=True), id="another key"),
        pytest.param(Toleration(key="nvidia.com/gpu", exists=True, effect=Effect.NO_EXECUTE), id="another effect"),
        pytest.param(Toleration(), id="nothing"),
    ],
)
def test_a_taint_is_tolerated_by_its_own_toleration_alone(toleration: Toleration) -> None:
    assert not can_run(replace(pod("p"), tolerations=(toleration,)), replace(node("n1"), taints=(GPU_TAINT,)))


def test_a_preference_keeps_nobody_away_and_a_daemon_may_tolerate_a_cordon() -> None:
    prefers = replace(node("n1"), taints=(replace(GPU_TAINT, effect=Effect.PREFER_NO_SCHEDULE),))
    cordoned = replace(node("n2"), unschedulable=True)
    daemon = replace(pod("p"), tolerations=(Toleration(key=CORDON.key, exists=True),))
    assert can_run(pod("p"), prefers, cordoned) == {"n1"}
    assert can_run(daemon, prefers, cordoned) == {"n1", "n2"}


@pytest.mark.parametrize(
    ("requirement", "where"),
    [
        (Requirement(key="zone", operator=Operator.IN, values=("a", "b")), {"n1"}),
        (Requirement(key="zone", operator=Operator.NOT_IN, values=("a",)), {"n2"}),
        (Requirement(key="zone", operator=Operator.EXISTS), {"n1"}),
        (Requirement(key="zone", operator=Operator.DOES_NOT_EXIST), {"n2"}),
        (Requirement(key="gpus", operator=Operator.GT, values=("4",)), {"n1"}),
        (Requirement(key="gpus", operator=Operator.LT, values=("5",)), {"n2"}),
        (Requirement(key="gpus", operator=Operator.GT, values=("many",)), set()),
    ],
    ids=["in", "not in", "exists", "does not exist", "greater", "less", "no number"],
)
def test_required_affinity(requirement: Requirement, where: set[str]) -> None:
    first = replace(node("n1"), labels={"zone": "a", "gpus": "8"})
    second = replace(node("n2"), labels={"gpus": "4"})
    assert can_run(requires(requirement), first, second) == where


def test_one_term_of_several_is_enough_and_an_empty_one_selects_nothing() -> None:
    by_name = Term(fields=(Requirement(key="metadata.name", operator=Operator.IN, values=("n2",)),))
    assert can_run(replace(pod("p"), node_terms=(Term(), by_name)), node("n1"), node("n2")) == {"n2"}
    assert can_run(replace(pod("p"), node_terms=(Term(),)), node("n1")) == set()


def test_what_is_kept_follows_each_change_and_stays_the_same_object_without_one() -> None:
    eligible, shape = Eligible(), Shape.of(pod("p", cpu=500))
    eligible.put(node("n1"), free_on(node("n1"), ()))
    eligible.put(node("n2"), free_on(node("n2"), ()))
    both = eligible.nodes(shape)
    assert both == {N1, N2}
    eligible.put(node("n1"), free_on(node("n1"), ()))
    assert eligible.nodes(shape) is both
    eligible.put(replace(node("n1"), unschedulable=True), free_on(node("n1"), ()))
    assert eligible.nodes(shape) == {N2}
    assert eligible.why_nowhere(shape) == {"cordoned": 1}
    eligible.remove(N2)
    assert eligible.nodes(shape) == set()
