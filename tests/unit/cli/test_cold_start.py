"""A cold start as `knative-mig invoke` tells it: each phase once, in order, and why it waits."""

from dataclasses import replace
from typing import Any

import pytest

from knative_mig.cli.cold_start import ColdStart, Phase, Seen, replica
from knative_mig.core.gpu_node import Condition, GpuNode, SliceState

from .test_gpu_text import TINY, a_node, a_slice

RUNS = {"name": "user-container", "state": {"running": {}}}


def a_pod(
    *,
    node: str = "",
    ready: bool = False,
    wants: str = "1g.5gb",
    containers: tuple[dict[str, Any], ...] = (),
    **more: Any,
) -> dict[str, Any]:
    spec = {"containers": [{"name": "c", "resources": {"limits": {f"nvidia.com/mig-{wants}": "1"}}}]}
    conditions = [{"type": "Ready", "status": str(ready)}, *more.pop("conditions", ())]
    return {
        "metadata": {"name": TINY.pod, "namespace": "default", **more},
        "spec": spec | ({"nodeName": node} if node else {}),
        "status": {"conditions": conditions, "containerStatuses": list(containers)},
    }


def seen(*pods: dict[str, Any], node: GpuNode | None = None) -> Seen:
    return Seen(replicas=tuple(map(replica, pods)), nodes=(node or a_node(),))


def told(start: ColdStart, now: Seen, at: float = 0.0) -> list[tuple[str, str]]:
    return [(line.phase.value, line.detail) for line in start.look(now, at)]


def test_tells_a_start_from_the_pod_to_its_readiness() -> None:
    start = ColdStart(seen())
    pod = TINY.pod
    assert told(start, seen()) == []
    assert told(start, seen(a_pod())) == [("pending", f"{pod} waits for 1g.5gb")]
    planned = a_node(wanted=("1g.5gb@6",))
    assert told(start, seen(a_pod(), node=planned)) == [("planned", "1g.5gb@6 on dev-0")]
    made = a_node(a_slice("1g.5gb@6", SliceState.IDLE), wanted=("1g.5gb@6",))
    assert told(start, seen(a_pod(), node=made)) == [("slice", "1g.5gb@6 on dev-0")]
    assert told(start, seen(a_pod(node="dev-0"), node=made)) == []
    held = a_node(a_slice("1g.5gb@6", SliceState.BUSY, holders=(TINY,)), wanted=("1g.5gb@6",))
    assert told(start, seen(a_pod(node="dev-0", containers=(RUNS,)), node=held)) == [("started", pod)]
    ready = a_pod(node="dev-0", containers=(RUNS,), ready=True)
    assert told(start, seen(ready, node=held)) == [("ready", pod)]
    assert told(start, seen(a_pod(), a_pod(), node=planned)) == []  # what comes after is no cold start


def test_a_slice_that_is_seen_after_its_pod_runs_is_told_before_it() -> None:
    start = ColdStart(seen())
    runs = a_pod(node="dev-0", containers=(RUNS,))
    assert [phase for phase, _ in told(start, seen(runs))] == ["pending"]
    held = a_node(a_slice("1g.5gb@6", SliceState.BUSY, holders=(TINY,)), wanted=("1g.5gb@6",))
    assert [phase for phase, _ in told(start, seen(runs, node=held))] == ["planned", "slice", "started"]


def test_a_slice_that_is_never_seen_keeps_nothing_back_for_good() -> None:
    start = ColdStart(seen())
    told(start, seen(a_pod(node="dev-0", containers=(RUNS,))))
    ready = a_pod(node="dev-0", containers=(RUNS,), ready=True)
    assert [phase for phase, _ in told(start, seen(ready))] == ["started", "ready"]


@pytest.mark.parametrize("nodes", [(), (a_node(),)], ids=["none", "another"])
def test_on_a_node_that_cannot_be_seen_a_start_waits_for_no_slice(nodes: tuple[GpuNode, ...]) -> None:
    start = ColdStart(Seen(replicas=(), nodes=nodes))
    runs = Seen(replicas=(replica(a_pod(node="other", containers=(RUNS,))),), nodes=nodes)
    assert [phase for phase, _ in told(start, runs)] == ["pending", "started"]


def test_says_which_idle_slices_were_merged() -> None:
    fragments, other = ("2g.10gb@0", "2g.10gb@2"), "3g.20gb@4"
    there = [a_slice(each, SliceState.IDLE) for each in (*fragments, other)]
    start = ColdStart(seen(node=a_node(*there, wanted=(*fragments, other))))
    lines = told(start, seen(a_pod(), node=a_node(*there, wanted=("1g.5gb@0", other))))
    assert lines[1] == ("planned", "1g.5gb@0 on dev-0, in place of 2g.10gb@0 and 2g.10gb@2")


def test_an_idle_slice_is_taken_up_without_a_plan() -> None:
    before = a_node(a_slice("1g.5gb@6", SliceState.IDLE), wanted=("1g.5gb@6",))
    start = ColdStart(seen(node=before))
    assert told(start, seen(a_pod(node="dev-0"), node=before))[1:] == []  # it may be another's
    held = a_node(a_slice("1g.5gb@6", SliceState.BUSY, holders=(TINY,)), wanted=("1g.5gb@6",))
    assert told(start, seen(a_pod(node="dev-0"), node=held)) == [("slice", "1g.5gb@6 on dev-0, which was idle")]


HELD = a_node(a_slice("1g.5gb@6", SliceState.BUSY, holders=(TINY,)), wanted=("1g.5gb@6",))


@pytest.mark.parametrize(
    ("before", "said"),
    [
        pytest.param(HELD, ", which it had already", id="has it"),
        pytest.param(a_node(a_slice("1g.5gb@6", SliceState.IDLE), wanted=("1g.5gb@6",)), "", id="just made"),
        pytest.param(a_node(wanted=("1g.5gb@6",)), "", id="being made"),
        pytest.param(
            a_node(a_slice("1g.5gb@6", SliceState.IDLE, last_holder=TINY), wanted=("1g.5gb@6",)),
            ", which was idle",
            id="of one before",
        ),
    ],
)
def test_of_a_start_that_was_under_way_a_slice_made_for_it_is_not_called_idle(before: GpuNode, said: str) -> None:
    """As of a function that is asked as soon as it is made."""
    pod = a_pod(node="dev-0", containers=(RUNS,))
    assert told(ColdStart(seen(pod, node=before)), seen(pod, node=HELD)) == [
        ("pending", f"{TINY.pod} is on dev-0 already"),
        ("slice", f"1g.5gb@6 on dev-0{said}"),
        ("started", TINY.pod),
    ]


def test_each_pod_is_said_to_wait_for_what_it_wants_itself() -> None:
    pods = [
        replica(a_pod(name=name, wants=wants))
        for name, wants in (("bad-1", "9g.99gb"), ("bad-2", "7g.80gb"), ("bad-3", "7g.80gb"))
    ]
    (line,) = told(ColdStart(seen()), replace(seen(), replicas=pods))
    assert line == ("pending", "bad-1 waits for 9g.99gb; bad-2 waits for 7g.80gb")


def test_a_slice_that_was_planned_for_others_before_is_no_news() -> None:
    start = ColdStart(seen(node=a_node(wanted=("1g.5gb@6",))))
    assert [phase for phase, _ in told(start, seen(a_pod(), node=a_node(wanted=("1g.5gb@6",))))] == ["pending"]


def test_says_why_it_waits_each_time_that_the_reason_is_another() -> None:
    start = ColdStart(seen())

    def waits(reason: str) -> dict[str, Any]:
        word = {"type": "knative-mig.dev/Slice", "status": "False", "reason": reason, "message": "all are busy"}
        return a_pod(conditions=(word,))

    assert told(start, seen(waits("NoRoom")))[1:] == [("waits", "NoRoom: all are busy")]
    assert told(start, seen(waits("NoRoom"))) == []
    assert told(start, seen(waits("QuotaSpent"))) == [("waits", "QuotaSpent: all are busy")]
    crash = {"name": "c", "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}}
    (line,) = told(start, seen(a_pod(node="dev-0", containers=(crash,))))
    assert line == ("waits", "container c: CrashLoopBackOff: back-off 10s")
    again = {**crash, "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}}
    (line,) = told(start, seen(a_pod(node="dev-0", containers=(again,))))
    assert line == ("waits", "container c: CrashLoopBackOff: it ended with exit code 1 (Error)")
    whole = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes: 1 Insufficient nvidia.com/gpu."}
    (line,) = told(start, seen(a_pod(conditions=(whole,))))
    assert line[1].startswith("nvidia.com/gpu is a GPU that is not cut: a slice is asked for by a limit")
    making = {"name": "c", "state": {"waiting": {"reason": "ContainerCreating"}}}
    assert told(ColdStart(seen()), seen(a_pod(containers=(making,))))[1:] == []


def test_of_a_function_that_has_a_ready_replica_there_is_nothing_to_tell() -> None:
    start = ColdStart(seen(a_pod(ready=True)))
    assert start.is_warm
    assert told(start, seen(a_pod(ready=True), a_pod())) == []
    ending = a_pod(ready=True, deletionTimestamp="2026-01-01T00:00:00Z")
    assert not ColdStart(seen(ending)).is_warm


def test_a_slice_may_be_told_before_its_plan_is_seen() -> None:
    """Each kind has a watch of its own, and one may be late."""
    start = ColdStart(seen())
    ready = a_pod(node="dev-0", containers=(RUNS,), ready=True)
    made = a_node(a_slice("1g.5gb@6", SliceState.BUSY, holders=(TINY,)))
    late = replace(seen(ready, node=made), nodes=())
    assert [phase for phase, _ in told(start, late)] == [Phase.PENDING, Phase.STARTED, Phase.READY]
    assert told(start, seen(ready, node=made)) == []


def test_that_the_planner_says_nothing_is_told_once_it_has_said_nothing_for_long() -> None:
    start = ColdStart(seen())
    gated = a_pod()
    gated["spec"]["schedulingGates"] = [{"name": "knative-mig.dev/slice"}]
    assert [phase for phase, _ in told(start, seen(gated), 100.0)] == ["pending"]
    assert told(start, seen(gated), 104.9) == []
    silent = ("waits", "the planner has not said a word of it")
    assert told(start, seen(gated), 105.0) == [silent]
    assert told(start, seen(gated), 106.0) == []
    planned = a_node(wanted=("1g.5gb@6",))
    assert told(start, seen(gated, node=planned), 107.0) == [("planned", "1g.5gb@6 on dev-0")]
    waits = ("waits", "1g.5gb@6 on dev-0 is planned and not made yet")
    assert told(start, seen(gated, node=planned), 112.0) == [waits]


def test_what_agents_say_now_and_then_of_what_is_not_made_is_told_as_soon_as_it_has_waited_for_long() -> None:
    start = ColdStart(seen())
    gated = a_pod()
    gated["spec"]["schedulingGates"] = [{"name": "knative-mig.dev/slice"}]
    planned = a_node(wanted=("1g.5gb@6",))
    assert planned.status is not None
    full = Condition(type="SpecApplied", status=False, reason="GpuStateDamaged", message="no space")
    fails = replace(planned, status=replace(planned.status, conditions=(full,)))
    for second in range(5):
        told(start, seen(gated, node=fails if second % 2 else planned), float(second))
    waits = "1g.5gb@6 on dev-0 is planned and not made yet"
    assert told(start, seen(gated, node=fails), 5.0) == [("waits", f"{waits}; dev-0: GpuStateDamaged: no space")]


def test_a_planner_that_speaks_in_time_is_not_called_silent() -> None:
    start = ColdStart(seen())
    gated = a_pod()
    gated["spec"]["schedulingGates"] = [{"name": "knative-mig.dev/slice"}]
    told(start, seen(gated), 100.0)
    told(start, seen(a_pod()), 101.0)
    assert told(start, seen(gated), 106.0) == []
