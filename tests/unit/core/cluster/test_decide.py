"""A round from world to specs: what is asked of which node, for whom, and what is left as it is."""

from dataclasses import replace

import pytest

from knative_mig.core.cluster.decide import Decision, KeptFleet, decide
from knative_mig.core.cluster.draining import drained_at
from knative_mig.core.cluster.gates import Lift, lifts
from knative_mig.core.cluster.idle_worth import Reuse
from knative_mig.core.cluster.objects import Phase, PodFacts
from knative_mig.core.cluster.staleness import AwaitingAgent, LeftOut, Outside, Verdict
from knative_mig.core.cluster.wanted import specs
from knative_mig.core.cluster.world import Facts, WorldKeeper
from knative_mig.core.gpu_node import ADOPTS_LAYOUT, Condition, GpuNodeSpec, Layout
from knative_mig.core.inventory import NodeName
from knative_mig.core.planner.decisions import Because, How
from knative_mig.core.planner.policy import Policy
from tests.rigs.small_cluster import facts, gpu, gpu_node, node, pod, wanted

NO_MOVES = Policy(max_moves=0)


def round_of(seen: Facts, now: float = 0.0) -> tuple[Decision, dict[str, dict[str, list[str]]], WorldKeeper]:
    """The decision, and what each changed spec wants of each GPU."""
    keeper = WorldKeeper(Reuse())
    keeper.see(seen, now)
    decision = decide(keeper, KeptFleet(NO_MOVES), list(keeper.views), now)
    changed = specs((each.step for each in decision.granted), keeper.views, keeper.gpu_nodes, 7, keeper.views)
    return decision, {str(name): texts(spec) for name, spec in changed.items()}, keeper


def texts(spec: GpuNodeSpec) -> dict[str, list[str]]:
    assert spec.fencing_token == 7
    return {str(each.uuid): [str(one.key) for one in each.slices] for each in spec.gpus}


def test_two_idle_fragments_are_merged_for_a_pod_and_the_busy_neighbour_stays_in_the_spec() -> None:
    there = gpu_node("n1", gpu("g", {"4g.20gb@0": "busy", "1g.5gb@6": None, "2g.10gb@4": None}))
    decision, changed, _ = round_of(facts([there], [pod("busy", "4g.20gb", on="n1"), pod("big", "3g.20gb")]))
    assert [each.step.how for each in decision.granted] == [How.MERGE]
    assert changed == {"n1": {"g": ["4g.20gb@0", "3g.20gb@4"]}}


def test_scale_to_zero_leaves_the_slice_and_a_pod_that_fits_it_changes_nothing() -> None:
    there = gpu_node("n1", gpu("g", {"3g.20gb@4": None}), spec=[wanted("g", "3g.20gb@4")])
    assert round_of(facts([there]))[1] == {}
    decision, changed, _ = round_of(facts([there], [pod("back", "3g.20gb", gated=True)]))
    assert [each.step.how for each in decision.granted] == [How.REUSE]
    assert changed == {}


def test_a_refusal_names_the_nodes_that_are_left_out_and_says_nothing_of_cordons() -> None:
    silent = LeftOut(because=Outside.SILENT, why="no heartbeat")
    here, away = gpu_node("n1", gpu("g", {"7g.40gb@0": "all"})), gpu_node("n2", gpu("h"))
    verdicts: dict[NodeName, Verdict] = {NodeName("n2"): silent}
    pods = [pod("all", "7g.40gb", on="n1"), pod("p", "7g.40gb"), pod("q", "7g.40gb", only_on="n2")]
    decision, _, _ = round_of(facts([here, away], pods, verdicts=verdicts))
    told = {each.pod.name: (each.reason.code, each.reason.text) for each in decision.refused}
    which = "it can run on nodes that are left out: n2 (AgentSilent: no heartbeat)"
    assert told["q"][0] is Because.NO_ELIGIBLE_NODE
    assert told["q"][1].startswith(f"{which}; of the nodes with GPUs: 1 ")
    assert told["p"][0] is Because.NO_FREE_PLACE
    assert told["p"][1].endswith(f"; {which}")
    assert all("look at the agents' pods there" in each.helps for each in decision.refused)


@pytest.mark.parametrize("condition", [None, Condition(type="SpecApplied", status=None, reason=ADOPTS_LAYOUT)])
def test_a_spec_that_is_older_than_an_administrators_layout_is_emptied_before_anything_is_asked(
    condition: Condition | None,
) -> None:
    """Static, or until a moment ago: what stands is lent, what the spec says is nobody's slice to come."""
    layout = Layout.DYNAMIC if condition else Layout.STATIC
    there = gpu_node("n1", gpu("g", {"2g.10gb@0": None}), spec=[wanted("g", "3g.20gb@4")], layout=layout)
    assert there.status is not None
    there = replace(there, status=replace(there.status, conditions=(condition,) if condition else ()))
    pods = [pod("big", "3g.20gb"), pod("small", "2g.10gb", gated=True)]
    decision, changed, _ = round_of(facts([there], pods))
    assert [each.pod.name for each in decision.granted] == ["small"]
    assert changed == {"n1": {}}
    emptied = replace(there, spec=GpuNodeSpec(fencing_token=7))
    assert round_of(facts([emptied], pods))[1] == {}


def test_an_idle_slice_that_somebody_waits_for_is_not_merged_away_for_another() -> None:
    there = gpu_node("n1", gpu("g", {"4g.20gb@0": None, "3g.20gb@4": None}))
    pods = [pod("first", "4g.20gb", priority=1, gated=True), pod("whole", "7g.40gb")]
    decision, changed, _ = round_of(facts([there], pods))
    assert [each.pod.name for each in decision.granted] == ["first"]
    assert changed == {}
    assert [each.pod.name for each in decision.refused] == ["whole"]


def test_a_slice_in_the_making_is_kept_for_who_waits_and_not_made_twice() -> None:
    there = gpu_node("n1", gpu("a"), gpu("b"), spec=[wanted("b", "3g.20gb@4")])
    decision, changed, _ = round_of(facts([there], [pod("big", "3g.20gb")]))
    assert [each.step.how for each in decision.granted] == [How.REUSE]
    assert changed == {}


def test_a_merge_that_nobody_waits_for_any_more_is_cancelled_while_it_has_not_begun() -> None:
    spec = [wanted("g", "3g.20gb@4")]
    waiting = gpu_node("n1", gpu("g", {"1g.5gb@4": None, "1g.5gb@5": None}), spec=spec)
    assert round_of(facts([waiting]))[1] == {"n1": {"g": ["1g.5gb@4", "1g.5gb@5"]}}
    assert round_of(facts([waiting], [pod("big", "3g.20gb")]))[1] == {}
    begun = gpu_node("n1", gpu("g", {"1g.5gb@4": "!Draining", "1g.5gb@5": None}), spec=spec)
    assert round_of(facts([begun]))[1] == {}


def test_who_comes_meanwhile_gets_the_fragment_of_a_cancelled_merge() -> None:
    there = gpu_node("n1", gpu("g", {"1g.5gb@4": None, "1g.5gb@5": None}), spec=[wanted("g", "3g.20gb@4")])
    decision, changed, _ = round_of(facts([there], [pod("small", "1g.5gb")]))
    assert [(each.step.how, str(each.key)) for each in decision.granted] == [(How.REUSE, "1g.5gb@5")]
    assert changed == {"n1": {"g": ["1g.5gb@4", "1g.5gb@5"]}}


def test_a_spec_that_lost_a_busy_slice_to_a_race_is_put_right() -> None:
    there = gpu_node("n1", gpu("g", {"1g.5gb@4": "fast", "1g.5gb@5": None}), spec=[wanted("g", "3g.20gb@4")])
    _, changed, _ = round_of(facts([there], [pod("fast", on="n1")]))
    assert changed == {"n1": {"g": ["1g.5gb@4", "1g.5gb@5"]}}


def test_a_gpu_that_is_not_needed_is_not_named() -> None:
    there = gpu_node("n1", gpu("a", {"1g.5gb@0": None}), gpu("b", {"7g.40gb@0": "busy"}))
    _, changed, _ = round_of(facts([there], [pod("busy", "7g.40gb", on="n1"), pod("p", "2g.10gb")]))
    assert [*changed["n1"]] == ["a"]


@pytest.mark.parametrize(
    "verdict",
    [AwaitingAgent(until=30), LeftOut(because=Outside.SILENT, why="no heartbeat")],
    ids=["awaiting", "left out"],
)
def test_a_node_in_a_stale_state_is_asked_nothing_and_the_others_go_on(verdict: Verdict) -> None:
    stale, well = gpu_node("n1", gpu("a")), gpu_node("n2", gpu("b"))
    seen = facts([stale, well], [pod("p"), pod("q", only_on="n1")], verdicts={NodeName("n1"): verdict})
    decision, changed, _ = round_of(seen)
    assert [*changed] == ["n2"]
    assert [each.pod.name for each in decision.refused] == ["q"]


def test_a_cordoned_a_tainted_and_a_full_node_get_no_useless_slice() -> None:
    there = [gpu_node(name, gpu(f"gpu-{name}")) for name in ("cordoned", "full")]
    nodes = [replace(node("cordoned"), unschedulable=True), node("full", cpu=100)]
    decision, changed, _ = round_of(facts(there, [pod("p", cpu=500)], nodes))
    assert changed == {}
    (refused,) = decision.refused
    assert refused.reason.code is Because.NO_ELIGIBLE_NODE
    assert "1 CPU, 1 cordoned" in refused.reason.text


def test_pods_that_fit_on_a_node_one_by_one_but_not_together_are_spread() -> None:
    there = [gpu_node("n1", gpu("a", {"1g.5gb@0": None, "1g.5gb@1": None})), gpu_node("n2", gpu("b"))]
    nodes = [node("n1", cpu=600), node("n2", cpu=600)]
    decision, _, _ = round_of(facts(there, [pod("p", cpu=500), pod("q", cpu=500), pod("r", cpu=500)], nodes))
    assert sorted(str(each.step.target.node) for each in decision.granted) == ["n1", "n2"]
    assert len(decision.without_slice) == 1


def test_a_released_place_takes_another_profile_at_once_and_the_same_one_elsewhere() -> None:
    there = gpu_node("n1", gpu("g", {"3g.20gb@4": "!Released:old", "3g.20gb@0": "busy"}))
    pods = [pod("old", "3g.20gb", on="n1"), pod("busy", "3g.20gb", on="n1")]
    _, changed, _ = round_of(facts([there], [*pods, pod("p", "2g.10gb")]))
    assert changed == {"n1": {"g": ["3g.20gb@0", "2g.10gb@4"]}}
    decision, changed, _ = round_of(facts([there], [*pods, pod("p", "3g.20gb")]))
    assert changed == {}
    assert [each.name for each in decision.without_slice] == ["p"]


def test_nothing_is_done_for_a_wait() -> None:
    there = gpu_node("n1", gpu("g", {"7g.40gb@0": "ends"}))
    pods = [pod("ends", "7g.40gb", on="n1", ends_at=10.0), pod("next", "7g.40gb")]
    decision, changed, _ = round_of(facts([there], pods))
    assert [each.step.how for each in decision.waiting] == [How.WAIT]
    assert changed == {}


@pytest.mark.parametrize(
    ("ends_at", "how"),
    [
        pytest.param(drained_at(0.0, grace_s=570), How.WAIT, id="a function's pod"),
        pytest.param(570.0, How.MOVE, id="any other, which may take all of its grace"),
    ],
)
def test_nobody_is_moved_where_a_function_that_goes_to_zero_is_about_to_leave_its_slice(
    ends_at: float, how: How
) -> None:
    there = gpu_node("n1", gpu("g", {"4g.20gb@0": "goes"}), gpu("h", {"2g.10gb@0": "stays"}))
    goes = pod("goes", "4g.20gb", on="n1", ends_at=ends_at)
    stays = replace(pod("stays", "2g.10gb", on="n1"), movable=True)
    keeper = WorldKeeper(Reuse())
    keeper.see(facts([there], [goes, stays, pod("next", "4g.20gb")]), 0.0)
    decision = decide(keeper, KeptFleet(Policy()), list(keeper.views), 0.0)
    assert [each.step.how for each in decision.waiting] == [how]


def test_a_name_that_another_driver_gives_a_profile_is_a_resource_that_nobody_offers() -> None:
    there = gpu_node("n1", gpu("g", model="A100-80GB"))
    decision, changed, _ = round_of(facts([there], [pod("p", "3g.39gb")]))
    assert changed == {}
    assert decision.refused[0].helps == ("ask for nvidia.com/mig-3g.40gb",)


# -- gates ------------------------------------------------------------------------------------------------------------


def lifted(
    seen: Facts, already: dict[str, Lift] | None = None, unsure: tuple[PodFacts, ...] = ()
) -> list[tuple[str, str]]:
    decision, _, keeper = round_of(seen)
    found = lifts(decision.granted, keeper, already or {}, {each.uid: each for each in unsure})
    return [(each.pod.name, str(each.node)) for each in found]


def test_a_pod_of_low_priority_that_waits_first_does_not_take_the_slice_made_for_the_high_one() -> None:
    low, high = pod("low", gated=True, created=0), pod("high", gated=True, priority=10, created=9)
    full = gpu("g", {"1g.5gb@0": None, "2g.10gb@2": "a", "3g.20gb@4": "b"})
    made = gpu_node("n1", full)
    nodes = [node("n1", slices={"1g.5gb": 1})]
    assert lifted(facts([made], [low, high], nodes)) == [("high", "n1")]


def test_a_gate_is_lifted_only_when_the_scheduler_sees_the_slice() -> None:
    there = [gpu_node("n1", gpu("g", {"1g.5gb@0": None}))]
    waiting = [pod("p", gated=True)]
    assert lifted(facts(there, waiting, [node("n1", slices={})])) == []
    assert lifted(facts(there, waiting, [node("n1", slices={"1g.5gb": 1})])) == [("p", "n1")]
    in_the_making = [gpu_node("n1", gpu("g"), spec=[wanted("g", "1g.5gb@0")])]
    assert lifted(facts(in_the_making, waiting, [node("n1", slices={"1g.5gb": 1})])) == []


def test_no_more_gates_are_lifted_than_the_scheduler_counts_slices() -> None:
    there = [gpu_node("n1", gpu("g", {"1g.5gb@0": None, "1g.5gb@1": None}))]
    nodes = [node("n1", slices={"1g.5gb": 2})]
    pods = [pod("a", gated=True, created=1), pod("b", gated=True, created=2), pod("leaving", only_on="n1")]
    assert lifted(facts(there, pods, nodes)) == [("a", "n1")]


def test_a_gate_that_was_lifted_a_moment_ago_is_not_lifted_twice_nor_its_slice_given_away() -> None:
    there = [gpu_node("n1", gpu("g", {"1g.5gb@0": None}))]
    nodes = [node("n1", slices={"1g.5gb": 1})]
    first, second = pod("first", gated=True), pod("second", gated=True, priority=5)
    already = {first.uid: Lift(pod=first, node=NodeName("n1"))}
    assert lifted(facts(there, [first, second], nodes), already) == []


def test_who_may_be_on_the_way_to_any_node_counts_on_each_and_is_asked_last() -> None:
    there = [
        gpu_node("n1", gpu("g", {"1g.5gb@0": None, "1g.5gb@1": None})),
        gpu_node("n2", gpu("h", {"1g.5gb@0": None})),
    ]
    nodes = [node("n1", slices={"1g.5gb": 2}), node("n2", slices={"1g.5gb": 1})]
    pods = [pod(name, gated=True, created=at) for at, name in enumerate(("old", "new", "newest"))]
    assert [name for name, _ in lifted(facts(there, pods, nodes))] == ["old", "new", "newest"]
    assert [name for name, _ in lifted(facts(there, pods, nodes), unsure=(pods[0],))] == ["new", "old"]


@pytest.mark.parametrize("reason", ["UnexpectedAdmissionError", "OutOfnvidia.com/mig-1g.5gb"])
def test_nobody_is_sent_after_a_pod_that_the_kubelet_refused_until_the_agent_has_deleted_it(reason: str) -> None:
    """The agent is away, and the Node offers its slices for as long as its kubelet pushes nothing else."""
    there = [gpu_node("n1", gpu("g", {"1g.5gb@0": None}))]
    nodes = [node("n1", slices={"1g.5gb": 1})]
    refused = replace(pod("refused", on="n1"), phase=Phase.FAILED, reason=reason, owner="ReplicaSet")
    assert lifted(facts(there, [refused, pod("next", gated=True)], nodes)) == []
    goes = replace(refused, ends_at=0.0)
    assert lifted(facts(there, [goes, pod("next", gated=True)], nodes)) == [("next", "n1")]


def test_a_refused_pod_that_nobody_deletes_is_in_nobodys_way() -> None:
    nodes = [node("n1", slices={"1g.5gb": 1})]
    bare = replace(pod("refused", on="n1"), phase=Phase.FAILED, reason="UnexpectedAdmissionError")
    there = [gpu_node("n1", gpu("g", {"1g.5gb@0": None}))]
    assert lifted(facts(there, [bare, pod("next", gated=True)], nodes)) == [("next", "n1")]
    static = [gpu_node("n1", gpu("g", {"1g.5gb@0": None}), layout=Layout.STATIC)]
    owned = replace(bare, owner="ReplicaSet")
    assert lifted(facts(static, [owned, pod("next", gated=True)], nodes)) == [("next", "n1")]
    crashed = replace(owned, reason="Error")
    assert lifted(facts(there, [crashed, pod("next", gated=True)], nodes)) == [("next", "n1")]


def test_who_comes_first_takes_the_slice_that_is_ready_and_leaves_the_one_in_the_making() -> None:
    there = [gpu_node("n1", gpu("a"), spec=[wanted("a", "3g.20gb@4")]), gpu_node("n2", gpu("b", {"3g.20gb@4": None}))]
    nodes = [node("n1"), node("n2", slices={"3g.20gb": 1})]
    pods = [pod("low", "3g.20gb", gated=True), pod("high", "3g.20gb", gated=True, priority=9)]
    assert lifted(facts(there, pods, nodes)) == [("high", "n2")]


def test_a_pod_without_our_gate_is_left_to_the_scheduler() -> None:
    there = [gpu_node("n1", gpu("g", {"1g.5gb@0": None})), gpu_node("n2", gpu("h", {"1g.5gb@0": None}))]
    nodes = [node("n1", slices={"1g.5gb": 1}), node("n2", slices={"1g.5gb": 1})]
    assert lifted(facts(there, [pod("p")], nodes)) == []
