"""Which pods count."""

import pytest

from knative_mig.core.kpa.pods import Phase, Pod, ready_count


@pytest.mark.parametrize(
    ("pod", "counts"),
    [
        (Pod(phase=Phase.RUNNING, ready=True), 1),
        (Pod(phase=Phase.RUNNING), 0),
        (Pod(phase=Phase.RUNNING, ready=True, ending=True), 0),
        (Pod(phase=Phase.PENDING, ready=True), 0),
        (Pod(phase=Phase.FAILED, ready=True), 0),
        (Pod(phase=Phase.SUCCEEDED, ready=True), 0),
    ],
    ids=str,
)
def test_a_pod_that_runs_is_ready_and_stays(pod: Pod, counts: int) -> None:
    assert ready_count([pod, Pod(phase=Phase.RUNNING, ready=True)]) == counts + 1
