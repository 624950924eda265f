"""What stands in the way of a pod is told in one line."""

from typing import Any

import pytest

from tests.cluster.testbed.kubectl import why_unready

READY = {"conditions": [{"type": "Ready", "status": "True"}], "phase": "Running"}
DONE = {"phase": "Succeeded"}
CRASHING = {
    "phase": "Running",
    "containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}}],
}
UNSCHEDULED = {
    "phase": "Pending",
    "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}],
}


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (READY, None),
        (DONE, None),
        (CRASHING, "c CrashLoopBackOff back-off"),
        (UNSCHEDULED, "Unschedulable: 0/3 nodes"),
        ({"phase": "Pending"}, "phase Pending, not Ready"),
        ({}, "phase unknown, not Ready"),
    ],
)
def test_why_a_pod_is_not_ready(status: dict[str, Any], why: str | None) -> None:
    assert why_unready({"status": status}) == why
