"""Which pod goes where, and what is said of one that goes nowhere."""

from typing import Any

import pytest

from knative_mig.dev.node.fit import Bind, Gated, Unschedulable, Verdict, decide
from knative_mig.dev.node.scheduler import host, seeker
from tests.unit.dev.node.pods import Object, asking, container, node, pod

SLICE = [container(resources=asking(mig_3g_20gb="1"))]
NO_VICTIMS = "No preemption victims found for incoming pod"
NO_HELP = "Preemption is not helpful for scheduling"


def decided(pods: list[Object], nodes: list[Object], assumed: dict[str, str] | None = None) -> list[Verdict]:
    return decide([seeker(each) for each in pods], [host(each) for each in nodes], assumed or {})


def bound(verdicts: list[Verdict]) -> dict[str, str]:
    return {each.pod.key.name: each.node for each in verdicts if isinstance(each, Bind)}


def told(verdicts: list[Verdict]) -> str:
    (verdict,) = verdicts
    assert isinstance(verdict, Unschedulable)
    return verdict.message


def with_slices(name: str, count: int, **rest: Any) -> Object:
    return node(name, allocatable={"nvidia.com/mig-3g.20gb": str(count)}, **rest)


def test_a_pod_goes_where_its_slice_is() -> None:
    nodes = [with_slices("a", 0), with_slices("b", 1), node("c")]
    assert bound(decided([pod(containers=SLICE)], nodes)) == {"chat": "b"}


def test_while_there_is_no_slice_it_waits_and_is_told_as_the_real_scheduler_tells() -> None:
    nodes = [with_slices("a", 0), node("b")]
    assert told(decided([pod(containers=SLICE)], nodes)) == (
        "0/2 nodes are available: 2 Insufficient nvidia.com/mig-3g.20gb. no new claims to deallocate, preemption: "
        f"0/2 nodes are available: 2 {NO_HELP}."
    )


def test_a_slice_that_another_has_would_be_free_if_that_one_went_and_nobody_is_sent_away() -> None:
    holder = pod("holder", containers=SLICE, nodeName="a")
    assert told(decided([pod(containers=SLICE), holder], [with_slices("a", 1)])).endswith(
        f"preemption: 0/1 nodes are available: 1 {NO_VICTIMS}."
    )
    ended = {**holder, "status": {"phase": "Succeeded"}}
    assert bound(decided([pod(containers=SLICE), ended], [with_slices("a", 1)])) == {"chat": "a"}


def test_one_whose_wishes_cannot_be_read_is_told_so() -> None:
    odd = pod(tolerations=[{"key": "a", "operator": "Exists", "effect": "NoSchedul"}])
    assert "spec.tolerations[0].effect: is 'NoSchedul', legal is one of NoSchedule" in told(decided([odd], [node("a")]))
    assert decided([pod(nodeName="a", **odd["spec"])], [node("a")]) == []


def test_one_that_never_preempts_is_told_so() -> None:
    shy = pod(containers=SLICE, preemptionPolicy="Never")
    assert told(decided([shy], [node("a")])).endswith("preemption: not eligible due to preemptionPolicy=Never.")


def test_every_node_says_why_and_all_that_it_lacks() -> None:
    greedy = pod(containers=[container(resources=asking(cpu="8", memory="16Gi"))], nodeSelector={"zone": "a"})
    zone = {"zone": "a"}
    nodes = [
        node("small", labels=zone),
        node("full", labels=zone, allocatable={"cpu": "16", "memory": "32Gi", "pods": "0"}),
        node("cordoned", labels=zone, unschedulable=True),
        node("tainted", labels=zone, taints=[{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]),
        node("away", labels=zone, ready=False),
        node("elsewhere"),
    ]
    assert told(decided([greedy], nodes)).partition(" no new claims")[0] == (
        "0/6 nodes are available: 1 Insufficient cpu, 1 Insufficient memory, 1 Too many pods, 1 node(s) didn't match "
        "Pod's node affinity/selector, 1 node(s) were unschedulable, 2 node(s) had untolerated taint(s)."
    )


def test_without_a_node_nothing_is_available() -> None:
    assert told(decided([pod()], [])) == "no nodes available to schedule pods"


def test_a_toleration_and_an_affinity_lead_to_the_node() -> None:
    affinity = {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "gpu", "operator": "In", "values": ["a100"]}]}]
            }
        }
    }
    taints = [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]
    nodes = [node("plain"), node("gpu", labels={"gpu": "a100"}, taints=taints)]
    tolerant = pod(affinity=affinity, tolerations=[{"key": "nvidia.com/gpu", "operator": "Exists"}])
    assert bound(decided([tolerant], nodes)) == {"chat": "gpu"}
    assert "1 node(s) had untolerated taint(s)" in told(decided([pod(affinity=affinity)], nodes))


def test_of_two_that_want_the_last_slice_the_one_of_higher_priority_gets_it_then_the_older() -> None:
    old = pod("old", containers=SLICE)
    new = pod("new", containers=SLICE, metadata={"creationTimestamp": "2026-01-02T00:00:00Z"})
    high = pod("high", containers=SLICE, priority=1000, metadata={"creationTimestamp": "2026-01-03T00:00:00Z"})
    assert bound(decided([new, old], [with_slices("a", 1)])) == {"old": "a"}
    assert bound(decided([new, old, high], [with_slices("a", 1)])) == {"high": "a"}


def test_a_gated_pod_is_not_tried_and_takes_nothing() -> None:
    gated = pod("gated", containers=SLICE, schedulingGates=[{"name": "knative-mig.dev/slice"}], priority=9)
    verdicts = decided([gated, pod(containers=SLICE)], [with_slices("a", 1)])
    assert isinstance(verdicts[0], Gated)
    assert bound(verdicts) == {"chat": "a"}


def test_what_was_bound_and_is_not_seen_to_be_yet_is_counted_where_it_was_sent() -> None:
    first, second = pod("first", containers=SLICE), pod("second", containers=SLICE)
    nodes = [with_slices("a", 1)]
    assert isinstance(decided([first, second], nodes, {"uid-first": "a"})[0], Unschedulable)


@pytest.mark.parametrize(
    "passed_over",
    [
        pod(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}),
        pod(schedulerName="another"),
        {**pod(), "status": {"phase": "Failed"}},
        pod(nodeName="a"),
    ],
    ids=["is-being-deleted", "is-another-schedulers", "is-over", "is-bound"],
)
def test_who_is_nobodys_to_schedule(passed_over: Object) -> None:
    assert decided([passed_over], [node("a")]) == []


def test_replicas_of_a_revision_are_spread_and_others_go_where_most_is_left() -> None:
    def replica(name: str, **spec: Any) -> Object:
        return pod(name, metadata={"labels": {"serving.knative.dev/revision": "r"}}, **spec)

    nodes = [node("a", allocatable={"cpu": "8"}), node("b")]
    assert bound(decided([pod(containers=[container(resources=asking(cpu="1"))])], nodes)) == {"chat": "a"}
    assert bound(decided([replica("r1", nodeName="a"), replica("r2")], nodes)) == {"r2": "b"}


def test_a_resource_that_no_plugin_serves_is_waited_for() -> None:
    strange = pod(containers=[container(resources={"limits": {"nvidia.com/gpu": "1"}})])
    assert "1 Insufficient nvidia.com/gpu" in told(decided([strange], [node("a")]))
