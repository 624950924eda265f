"""What the planner sees of a cluster: slices as they really can be used, pods as they really wait."""

from dataclasses import replace

import pytest

from knative_mig.core.cluster.idle_worth import Reuse
from knative_mig.core.cluster.node_view import NOBODY
from knative_mig.core.cluster.objects import Phase, PodFacts, QuotaFacts
from knative_mig.core.cluster.staleness import AwaitingAgent, LeftOut, Outside
from knative_mig.core.cluster.world import World, WorldKeeper
from knative_mig.core.gpu_node import OF_NO_POD, Condition, ForeignStatus, GpuHealth, GpuNode, Holder, Layout
from knative_mig.core.inventory import Busy, Ending, Function, Gpu, Idle, NodeName, Use
from knative_mig.core.profile import ProfileName
from tests.rigs.small_cluster import facts, gpu, gpu_node, key, node, pod, wanted
from tests.rigs.whole_world import build

N1 = NodeName("n1")


def uses(seen: Gpu) -> dict[str, str]:
    return {str(each.place): type(each.use).__name__ for each in seen.slices}


def only_gpu(world: World) -> Gpu:
    (found,) = world.inventory.gpus
    return found


def test_a_slice_is_busy_ending_or_idle_as_its_pod_is() -> None:
    there = gpu_node("n1", gpu("g", {"3g.20gb@4": "stays", "2g.10gb@0": "goes", "1g.5gb@2": None}))
    pods = [pod("stays", "3g.20gb", on="n1"), pod("goes", "2g.10gb", on="n1", ends_at=30.0)]
    seen = only_gpu(build(facts([there], pods), now=0))
    assert {str(each.place): each.use for each in seen.slices} == {
        "2g.10gb@0": Ending(Function("team", "goes"), 30.0),
        "1g.5gb@2": Idle(),
        "3g.20gb@4": Busy(Function("team", "stays")),
    }


def test_a_slice_whose_pod_nobody_knows_is_busy() -> None:
    seen = only_gpu(build(facts([gpu_node("n1", gpu("g", {"1g.5gb@0": "unseen"}))]), now=0))
    assert uses(seen) == {"1g.5gb@0": "Busy"}


def test_a_pod_bound_to_the_node_takes_an_idle_slice_before_it_is_seen_to_hold_one() -> None:
    there = gpu_node("n1", gpu("g", {"1g.5gb@0": None, "1g.5gb@1": None}))
    seen = only_gpu(build(facts([there], [pod("new", on="n1")]), now=0))
    assert sorted(uses(seen).values()) == ["Busy", "Idle"]


def test_a_pod_that_is_over_takes_none() -> None:
    there = gpu_node("n1", gpu("g", {"1g.5gb@0": None}))
    failed = replace(pod("failed", on="n1"), phase=Phase.FAILED)
    assert uses(only_gpu(build(facts([there], [failed]), now=0))) == {"1g.5gb@0": "Idle"}


def test_what_the_spec_wants_and_is_not_there_yet_is_an_idle_slice_to_come_in_place_of_what_goes_for_it() -> None:
    there = gpu_node("n1", gpu("g", {"1g.5gb@4": None, "1g.5gb@5": "!Draining"}), spec=[wanted("g", "3g.20gb@4")])
    world = build(facts([there]), now=0)
    assert uses(only_gpu(world)) == {"3g.20gb@4": "Idle"}
    assert not world.views[N1].gpus[0].idle
    assert world.views[N1].gpus[0].making == {key("3g.20gb@4"): ()}  # the agent has begun: nothing comes back


def test_what_cannot_be_made_over_a_busy_slice_is_not_to_come() -> None:
    there = gpu_node("n1", gpu("g", {"1g.5gb@4": "fast", "1g.5gb@5": None}), spec=[wanted("g", "3g.20gb@4")])
    world = build(facts([there], [pod("fast", on="n1")]), now=0)
    assert uses(only_gpu(world)) == {"1g.5gb@4": "Busy", "1g.5gb@5": "Idle"}
    assert world.views[N1].gpus[0].differs


def test_a_bound_pod_keeps_the_slice_that_was_to_be_merged_away() -> None:
    there = gpu_node("n1", gpu("g", {"1g.5gb@4": None, "1g.5gb@5": None}), spec=[wanted("g", "3g.20gb@4")])
    world = build(facts([there], [pod("fast", on="n1")]), now=0)
    assert uses(only_gpu(world)) == {"1g.5gb@4": "Busy", "1g.5gb@5": "Idle"}


def test_the_place_of_a_released_slice_is_free_and_that_of_a_broken_one_is_not() -> None:
    there = gpu_node("n1", gpu("g", {"1g.5gb@0": "!Released:old", "1g.5gb@1": "!Broken"}))
    world = build(facts([there], [pod("old", on="n1")]), now=0)
    assert uses(only_gpu(world)) == {"1g.5gb@1": "Busy"}
    assert world.views[N1].gpus[0].released == {key("1g.5gb@0")}


def test_units_that_something_else_took_are_covered() -> None:
    strange = replace(gpu("g"), foreign=(ForeignStatus(start=4, size=4, why="made by hand"),))
    seen = only_gpu(build(facts([gpu_node("n1", strange)]), now=0))
    mask = 0
    for each in seen.slices:
        mask |= each.place.mask
    assert mask & 0xFF == 0b11110000


def test_nothing_is_made_on_a_static_node_nor_on_a_gpu_that_waits_for_its_mode() -> None:
    static = gpu_node("n1", gpu("a", {"1g.5gb@0": None}), layout=Layout.STATIC)
    pending = gpu_node("n2", gpu("b", {"1g.5gb@0": None}, health=GpuHealth.MODE_PENDING))
    world = build(facts([static, pending]), now=0)
    assert [each.static for each in world.inventory.gpus] == [True, True]
    assert not any(each.writable for view in world.views.values() for each in view.gpus)


def test_a_gpu_that_is_lost_and_a_node_that_is_left_out_have_no_room_at_all() -> None:
    lost = gpu_node("n1", gpu("a", {"1g.5gb@0": None}, health=GpuHealth.LOST))
    silent = gpu_node("n2", gpu("b", {"1g.5gb@0": None}))
    out = LeftOut(because=Outside.SILENT, why="no heartbeat")
    world = build(facts([lost, silent], verdicts={NodeName("n2"): out}), now=0)
    assert [uses(each) for each in world.inventory.gpus] == [{"7g.40gb@0": "Busy"}] * 2
    assert world.left_out == {NodeName("n2"): "n2 (AgentSilent: no heartbeat)"}


def test_while_its_agent_has_not_answered_a_node_lends_what_it_has_and_nothing_more() -> None:
    late = gpu_node("n1", gpu("a", {"1g.5gb@0": None}), spec=[wanted("a", "1g.5gb@0", "2g.10gb@2")], observed=0)
    world = build(facts([late], verdicts={N1: AwaitingAgent(until=30)}), now=0)
    assert uses(only_gpu(world)) == {"1g.5gb@0": "Idle", "2g.10gb@2": "Idle"}
    assert only_gpu(world).static


def test_two_agents_that_report_the_same_model_report_one() -> None:
    first, second = gpu_node("n1", gpu("a")), gpu_node("n2", gpu("b"))
    assert second.status
    (model,) = second.status.models
    parsed_anew = replace(second, status=replace(second.status, models=(replace(model),)))
    models = {id(each.model) for each in build(facts([first, parsed_anew]), now=0).inventory.gpus}
    assert len(models) == 1


def test_pods_alike_wait_together_and_who_can_run_everywhere_is_bound_to_no_node() -> None:
    nodes = [gpu_node("n1", gpu("a")), gpu_node("n2", gpu("b"))]
    pods = [
        pod("f-1", revision="f", created=5),
        pod("f-2", revision="f", created=3),
        pod("f-3", revision="f", only_on="n2"),
    ]
    anywhere, there = sorted(build(facts(nodes, pods), now=9).groups, key=lambda each: -each.pending.count)
    assert (anywhere.pending.count, anywhere.pending.since, anywhere.pending.nodes) == (2, 3, None)
    assert [each.name for each in anywhere.pods] == ["f-2", "f-1"]
    assert there.pending.nodes == frozenset({NodeName("n2")})


def test_a_pod_held_back_by_somebody_elses_gate_does_not_wait_for_a_slice() -> None:
    other = replace(pod("p", gated=True), gates=("knative-mig.dev/slice", "example.com/quota"))
    assert not build(facts([gpu_node("n1", gpu("a"))], [other]), now=0).groups


def test_a_pod_that_asks_for_several_slices_is_told_so() -> None:
    two = replace(pod("p"), wants={ProfileName.parse("1g.5gb"): 2})
    world = build(facts([gpu_node("n1", gpu("a"))], [two]), now=0)
    assert not world.groups
    assert "one slice a pod" in world.unplanned[0].reason.text


def test_an_ungated_pod_that_can_go_to_one_node_only_has_the_idle_slice_there() -> None:
    there = gpu_node("n1", gpu("a", {"1g.5gb@0": None}))
    world = build(facts([there], [pod("lifted", only_on="n1")]), now=0)
    assert uses(only_gpu(world)) == {"1g.5gb@0": "Busy"}
    assert not world.groups


def test_a_quota_counts_waiting_pods_as_used_already() -> None:
    name = ProfileName.parse("1g.5gb")
    seen = replace(
        facts([gpu_node("n1", gpu("a"))], [pod("p1"), pod("p2")]),
        quotas={"q": QuotaFacts(namespace="team", hard={name: 3}, used={name: 3})},
    )
    assert build(seen, now=0).quotas == {"team": {name: 2}}


def once_held(pod: str) -> GpuNode:
    """One idle slice, that this pod had last."""
    there = gpu_node("n1", gpu("a", {"1g.5gb@0": None}, idle_since=0.0))
    assert there.status
    (status,) = there.status.gpus
    (idle,) = status.slices
    held = replace(idle, last_holder=Holder(namespace="team", pod=pod, container="user"))
    return replace(there, status=replace(there.status, gpus=(replace(status, slices=(held,)),)))


def worth(world: World) -> float:
    (only,) = only_gpu(world).slices
    assert isinstance(only.use, Idle)
    return only.use.worth_s


def test_a_slice_is_worth_less_the_longer_it_is_idle_and_is_judged_again_when_that_changes() -> None:
    there = once_held("f-00001-deployment-abc-de")

    def worth_at(now: float) -> float:
        return worth(build(facts([there]), now=now))

    assert worth_at(0) > worth_at(700) > worth_at(1300) > worth_at(1e6) == 0
    assert build(facts([there]), now=700).views[N1].holds_until == 1200


def test_what_comes_often_is_worth_more_and_who_is_only_told_why_it_waits_has_not_come_again() -> None:
    keeper, nodes = WorldKeeper(Reuse()), [node("n1")]
    waits = pod("f-00001-deployment-abc-fg", "3g.20gb")
    told = replace(waits, told=Condition(type="knative-mig.dev/Slice", status=False, reason="NoFreePlace"))
    another = pod("f-00001-deployment-abc-hi", "3g.20gb")

    def worth_with(*pods: PodFacts) -> float:
        keeper.see(facts([once_held("f-00001-deployment-abc-de")], pods, nodes), 100)
        return worth(keeper.world())

    once = worth_with(waits)
    assert worth_with(told) == once
    assert worth_with(told, another) > once


def test_a_node_without_its_node_object_is_nowhere_to_run() -> None:
    world = build(facts([gpu_node("n1", gpu("a"))], [pod("p")], nodes=[node("other")]), now=0)
    assert world.groups[0].pending.nodes == frozenset()


def test_a_pod_that_a_gpu_node_names_as_holder_waits_for_nothing_though_its_mirror_is_behind() -> None:
    there = gpu_node("n1", gpu("g", {"3g.20gb@4": "chat"}))
    assert not build(facts([there], [pod("chat", "3g.20gb")]), now=0).groups


def test_a_slice_that_was_just_given_away_is_taken_for_one_waiting_pods_and_no_others() -> None:
    there = gpu_node("n1", gpu("g", {"3g.20gb@4": "!Busy"}))
    waiting = [pod("chat", "3g.20gb"), pod("code", "3g.20gb"), pod("small", "1g.5gb")]
    groups = build(facts([there], waiting), now=0).groups
    assert sorted(str(group.pending.profile) for group in groups) == ["1g.5gb", "3g.20gb"]


@pytest.mark.parametrize("holder", ["chat", "!Busy"], ids=["named", "not yet named"])
def test_a_pod_whose_gate_was_lifted_is_taken_for_who_has_it_though_its_mirror_shows_the_gate(holder: str) -> None:
    there, gated = gpu_node("n1", gpu("g", {"3g.20gb@4": holder})), pod("chat", "3g.20gb", gated=True)
    lifted = replace(facts([there], [gated]), let_go=frozenset({gated.uid}))
    assert not build(lifted, now=0).groups
    assert build(facts([there], [gated]), now=0).groups  # of the name alone a predecessor may be


def test_a_gated_pod_is_not_taken_for_who_was_just_given_a_slice() -> None:
    there = gpu_node("n1", gpu("g", {"3g.20gb@4": "!Busy"}))
    assert build(facts([there], [pod("chat", "3g.20gb", gated=True)]), now=0).groups


def test_a_bound_pod_has_the_slice_that_is_busy_with_nobody_named_and_leaves_the_idle_one_to_the_next() -> None:
    there = gpu_node("n1", gpu("g", {"2g.10gb@0": "!Busy", "2g.10gb@2": None}))
    pods = [pod("runs", "2g.10gb", on="n1"), pod("next", "2g.10gb", gated=True)]
    world = build(facts([there], pods), now=0)
    assert uses(only_gpu(world)) == {"2g.10gb@0": "Busy", "2g.10gb@2": "Idle"}
    assert [[each.name for each in group.pods] for group in world.groups] == [["next"]]


def test_a_slice_with_a_process_of_no_pod_is_nobodys_and_the_bound_pod_has_the_idle_one() -> None:
    there = gpu_node("n1", gpu("g", {"2g.10gb@0": "!Busy", "2g.10gb@2": None}))
    assert there.status
    (found,) = there.status.gpus
    stray, idle = found.slices
    found = replace(found, slices=(replace(stray, pids=(4711,), why=OF_NO_POD), idle))
    there = replace(there, status=replace(there.status, gpus=(found,)))
    pods = [pod("bound", "2g.10gb", on="n1"), pod("next", "2g.10gb", gated=True)]
    world = build(facts([there], pods), now=0)
    assert uses(only_gpu(world)) == {"2g.10gb@0": "Busy", "2g.10gb@2": "Busy"}
    assert [[each.name for each in group.pods] for group in world.groups] == [["next"]]


@pytest.mark.parametrize(
    ("last", "why", "use"),
    [
        (pod("left", "2g.10gb", on="n1", ends_at=30.0), "", Ending(Function("team", "left"), 30.0)),
        (replace(pod("left", "2g.10gb", on="n1"), phase=Phase.SUCCEEDED), "", Ending(Function("team", "left"), 7.0)),
        (None, "", Ending(Function("team", "pod/left"), 7.0)),
        (None, "handed out a moment ago", Busy(NOBODY)),
        (pod("left", "2g.10gb", on="n1"), "", Busy(Function("team", "left"))),
    ],
    ids=["goes", "is over", "is gone", "is followed", "stays"],
)
def test_a_slice_that_was_just_left_is_about_to_be_free_though_its_processes_are_listed_still(
    last: PodFacts | None, why: str, use: Use
) -> None:
    there = gpu_node("n1", gpu("g", {"2g.10gb@0": "!Busy"}))
    assert there.status
    (found,) = there.status.gpus
    holder = Holder(namespace="team", pod="left", container="c")
    left = replace(found.slices[0], pids=(4711,), why=why, last_holder=holder)
    there = replace(there, status=replace(there.status, gpus=(replace(found, slices=(left,)),)))
    (seen,) = only_gpu(build(facts([there], [last] if last else []), now=7.0)).slices
    assert seen.use == use


def test_of_two_bound_pods_one_has_what_nobody_is_named_for_and_the_other_an_idle_slice() -> None:
    there = gpu_node("n1", gpu("g", {"2g.10gb@0": "!Busy", "2g.10gb@2": None}))
    pods = [pod(name, "2g.10gb", on="n1") for name in ("runs", "too")]
    assert uses(only_gpu(build(facts([there], pods), now=0))) == {"2g.10gb@0": "Busy", "2g.10gb@2": "Busy"}
