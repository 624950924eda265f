"""What a round makes of moves under way: kept slices, functions that stay, pods that already have their place."""

from dataclasses import replace
from typing import Any

import pytest

from knative_mig.core.cluster.decide import Decision, Granted, KeptFleet, decide, finds_another
from knative_mig.core.cluster.gates import lifts
from knative_mig.core.cluster.idle_worth import Reuse
from knative_mig.core.cluster.moving import Moving, Reservation
from knative_mig.core.cluster.objects import Operator, PodFacts, Requirement, Term
from knative_mig.core.cluster.wanted import specs
from knative_mig.core.cluster.world import Facts, WorldKeeper
from knative_mig.core.gpu_node import SliceId
from knative_mig.core.inventory import Function, GpuUuid, NodeName
from knative_mig.core.mig_tables import gpu_model
from knative_mig.core.planner.decisions import How, Step, Target
from knative_mig.core.planner.policy import Policy
from tests.rigs.small_cluster import facts, gpu, gpu_node, key, node, pod, wanted

N1 = NodeName("n1")
LLM = Function("team", "llm-00001")
NEW = pod("new", "3g.20gb", revision="llm-00001", gated=True)


def kept(text: str, uuid: str = "g", uid: str = "") -> Moving:
    at = key(text)
    reservation = Reservation(
        slice=SliceId(gpu=GpuUuid(uuid), profile=at.profile, start=at.start), function=LLM, pod=uid
    )
    return Moving(reserved={N1: (reservation,)})


def round_of(seen: Facts, moving: Moving) -> tuple[Decision, WorldKeeper]:
    keeper = WorldKeeper(Reuse())
    keeper.see(replace(seen, moving=moving), 0.0)
    return decide(keeper, KeptFleet(Policy()), list(keeper.views), 0.0), keeper


def movable(name: str, profile: str) -> PodFacts:
    return replace(pod(name, profile, revision=f"{name}-00001", on="n1"), movable=True)


def test_a_kept_slice_is_not_given_to_another_nor_merged_away() -> None:
    there = gpu_node("n1", gpu("g", {"3g.20gb@4": None}), spec=[wanted("g", "3g.20gb@4")])
    pods = [pod("other", "3g.20gb"), pod("whole", "7g.40gb")]
    decision, keeper = round_of(facts([there], pods), kept("3g.20gb@4"))
    assert [str(each.key) for each in decision.granted] == ["3g.20gb@0"]
    changed = specs((each.step for each in decision.granted), keeper.views, keeper.gpu_nodes, 0, keeper.views)
    assert {str(each.key) for each in changed[N1].gpus[0].slices} == {"3g.20gb@0", "3g.20gb@4"}


def test_one_in_the_making_is_not_cancelled_though_nobody_waits_for_it_yet() -> None:
    there = gpu_node("n1", gpu("g", {"1g.5gb@4": None}), spec=[wanted("g", "3g.20gb@4")])
    decision, keeper = round_of(facts([there]), kept("3g.20gb@4"))
    assert not specs((each.step for each in decision.granted), keeper.views, keeper.gpu_nodes, 0, keeper.views)
    assert round_of(facts([there]), Moving())[1].views[N1].gpus[0].making == {}


def test_the_new_pod_is_planned_for_no_more_and_is_let_go_to_its_slice() -> None:
    there = gpu_node("n1", gpu("g", {"3g.20gb@4": None}), spec=[wanted("g", "3g.20gb@4")])
    seen = facts([there], [NEW], [node("n1", slices={"3g.20gb": 1})])
    decision, keeper = round_of(seen, kept("3g.20gb@4", uid=NEW.uid))
    assert decision == Decision(amended=decision.amended)
    model = gpu_model("A100-40GB")
    at = key("3g.20gb@4")
    place = model.place(model.profile(at.profile), at.start)
    step = Step(
        how=How.REUSE,
        function=LLM,
        profile=at.profile,
        target=Target(gpu=GpuUuid("g"), node=N1, place=place, reuses=True),
    )
    granted = Granted(step=step, pod=NEW, nodes=frozenset({N1}))
    assert [(each.pod.name, each.node) for each in lifts([granted], keeper, {})] == [("new", N1)]


def test_a_function_that_may_not_go_now_is_not_planned_away() -> None:
    there = gpu_node("n1", gpu("a", {"3g.20gb@4": "small"}), gpu("b", {"4g.20gb@0": "x"}))
    pods = [movable("small", "3g.20gb"), pod("x", "4g.20gb", on="n1"), pod("whole", "7g.40gb")]
    decision, _ = round_of(facts([there], pods), Moving())
    assert [each.step.how for each in decision.waiting] == [How.MOVE]
    stays, _ = round_of(facts([there], pods), Moving(fixed=frozenset({Function("team", "small-00001")})))
    assert stays.waiting == ()


HERE = {"kubernetes.io/hostname": "n1"}
ON_N1 = (Term(labels=(Requirement(key="kubernetes.io/hostname", operator=Operator.IN, values=("n1",)),)),)


@pytest.mark.parametrize(
    ("selector", "more", "goes"),
    [
        pytest.param(HERE, {"pinned": True}, True, id="the planner has put the old one there"),
        pytest.param(HERE, {}, False, id="its user wants it there"),
        pytest.param({}, {"node_terms": ON_N1}, False, id="its user wants it there by affinity"),
        pytest.param(HERE, {"pinned": True, "node_terms": ON_N1}, False, id="both"),
        pytest.param({"disk": "ssd"}, {}, False, id="the other node has not what it wants"),
    ],
)
def test_it_is_planned_only_where_its_new_pod_can_run_whatever_pins_the_old_one(
    selector: dict[str, str], more: dict[str, Any], *, goes: bool
) -> None:
    one = gpu_node("n1", gpu("a", {"3g.20gb@4": "small"}))
    two = gpu_node("n2", gpu("b", {"4g.20gb@0": "x"}))
    nodes = [node("n1"), node("n2")]
    whole = replace(pod("whole", "7g.40gb"), node_selector=HERE)
    x = pod("x", "4g.20gb", on="n2")
    small = replace(movable("small", "3g.20gb"), node_selector=selector, **more)
    decision, _ = round_of(facts([one, two], [small, x, whole], nodes), Moving())
    assert [each.step.how for each in decision.waiting] == ([How.MOVE] if goes else [])


def test_within_its_users_node_it_is_moved_from_gpu_to_gpu() -> None:
    there = gpu_node("n1", gpu("a", {"3g.20gb@4": "small"}), gpu("b", {"4g.20gb@0": "x"}))
    small = replace(movable("small", "3g.20gb"), node_selector=HERE)
    decision, _ = round_of(facts([there], [small, pod("x", "4g.20gb", on="n1"), pod("whole", "7g.40gb")]), Moving())
    assert [each.step.how for each in decision.waiting] == [How.MOVE]


def test_a_change_of_who_may_go_is_seen_though_nothing_else_changed() -> None:
    there = gpu_node("n1", gpu("a", {"3g.20gb@4": "small"}), gpu("b", {"4g.20gb@0": "x"}))
    seen = facts([there], [movable("small", "3g.20gb"), pod("x", "4g.20gb", on="n1"), pod("whole", "7g.40gb")])
    keeper = WorldKeeper(Reuse())
    keeper.see(seen, 0.0)
    assert keeper.see(seen, 1.0) == set()
    fixed = Moving(fixed=frozenset({Function("team", "small-00001")}))
    assert keeper.see(replace(seen, moving=fixed), 2.0) == {N1}
    assert keeper.see(replace(seen, moving=Moving(reserved=kept("3g.20gb@0", "b").reserved)), 3.0) == {N1}


def test_another_pod_finds_a_slice_only_where_one_is_left_when_all_who_wait_are_served() -> None:
    there = gpu_node("n1", gpu("g", {"3g.20gb@4": "old", "3g.20gb@0": None}))
    old = replace(pod("old", "3g.20gb", revision="llm-00001", on="n1"), node_selector=HERE, pinned=True)
    for others, found in (([], True), ([pod("first", "3g.20gb")], False)):
        keeper, fleet = WorldKeeper(Reuse()), KeptFleet(Policy())
        keeper.see(facts([there], [old, *others]), 0.0)
        decide(keeper, fleet, list(keeper.views), 0.0)
        assert finds_another(keeper, fleet, old, 0.0, ()) is found
