"""When a node of `knative-mig dev` is waited for no more: it is planned on, or its start is over and it lacks more."""

from dataclasses import replace

import pytest

from knative_mig.core.gpu_node import Condition, ConditionType, GpuNode
from knative_mig.dev.whole.readiness import why_not_planned_on
from tests.rigs.small_cluster import gpu, gpu_node

PLANNED = Condition(type="Planned", status=True, reason="Planned")
CONNECTED = Condition(type=ConditionType.KUBELET_CONNECTED, status=True, reason="Connected")
BARE = replace(gpu_node("node-1", gpu("a"), generation=2), planned=PLANNED)


def node(ready: Condition, connected: Condition = CONNECTED) -> GpuNode:
    assert BARE.status
    return replace(BARE, status=replace(BARE.status, conditions=(connected, ready)))


def ready(*, status: bool | None, reason: str, message: str = "") -> Condition:
    return Condition(type=ConditionType.READY, status=status, reason=reason, message=message)


READY = node(ready(status=True, reason="Ready"))


def test_it_is_when_its_agent_is_ready_and_has_answered_and_the_planner_has_seen_that() -> None:
    assert why_not_planned_on(READY) == ""


@pytest.mark.parametrize("found", [None, replace(READY, status=None), gpu_node("node-1")])
def test_it_is_not_before_its_gpus_were_read(found: GpuNode | None) -> None:
    assert why_not_planned_on(found) == "its GPUs"


@pytest.mark.parametrize(
    ("status", "reason", "connected"),
    [
        (None, "Registering", None),
        (False, "KubeletUnreachable", False),
        (None, "NotCheckedYet", True),
        (None, "Recovering", True),
        (False, "NoHealthyGpu", None),  # a former agent's, not read anew yet
    ],
)
def test_it_is_not_while_its_agent_starts(*, status: bool | None, reason: str, connected: bool | None) -> None:
    found = node(ready(status=status, reason=reason, message="so it is"), replace(CONNECTED, status=connected))
    assert why_not_planned_on(found) == f"{reason}: so it is"


@pytest.mark.parametrize("reason", ["OtherOwner", "JournalUnwritable", "NoHealthyGpu"])
def test_what_an_agent_lacks_whose_start_is_over_holds_nobody_up(reason: str) -> None:
    assert why_not_planned_on(node(ready(status=False, reason=reason))) == ""


def test_it_is_not_while_its_agent_has_not_answered_what_is_wanted() -> None:
    assert why_not_planned_on(replace(READY, generation=3)) == "its agent's answer to the planner"


def test_it_is_not_while_the_planner_leaves_it_out() -> None:
    assert why_not_planned_on(replace(READY, planned=None)) == "the planner's word on it"
    left_out = Condition(type="Planned", status=False, reason="AgentNotReady", message="Registering: not yet")
    assert why_not_planned_on(replace(READY, planned=left_out)) == "AgentNotReady: Registering: not yet"
