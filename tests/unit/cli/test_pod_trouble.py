"""Why a pod is not ready, as `knative-mig ls` and `invoke` say it."""

from typing import Any

import pytest

from knative_mig.adapters.kube.fields import Fields
from knative_mig.cli.pod_trouble import of_pod

Json = dict[str, Any]
RUNS: Json = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}


def waits(reason: str, message: str = "") -> Json:
    return {"waiting": {"reason": reason, "message": message}}


def ended(code: int, reason: str = "Error", message: str = "") -> Json:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


def pod(state: Json, last: Json | None = None, *, ready: bool = False, **status: Any) -> Fields:
    main = {"name": "main", "state": state, "lastState": last or {}, "ready": ready}
    return Fields({"spec": {"nodeName": "n1"}, "status": {"containerStatuses": [main], **status}})


def homeless(*conditions: tuple[str, str, str]) -> Fields:
    told = [{"type": kind, "status": "False", "reason": reason, "message": text} for kind, reason, text in conditions]
    return Fields({"spec": {}, "status": {"phase": "Pending", "conditions": told}})


BACKS_OFF = waits("CrashLoopBackOff", "back-off 10s restarting failed container=main pod=x")
UNSCHEDULABLE = ("PodScheduled", "Unschedulable", "0/1 nodes are available")
NO_WHOLE_GPU = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. preemption: none"
IS_WHOLE = "nvidia.com/gpu is a GPU that is not cut: a slice is asked for by a limit, like nvidia.com/mig-3g.20gb: 1"


@pytest.mark.parametrize(
    ("of", "said"),
    [
        pytest.param(pod(RUNS, ready=True), "", id="ready"),
        pytest.param(pod(RUNS, ended(1), ready=True), "", id="well-again"),
        pytest.param(pod(waits("ContainerCreating")), "", id="is-made"),
        pytest.param(pod(RUNS), "", id="starts"),
        pytest.param(
            pod(BACKS_OFF, ended(1)), "container main: CrashLoopBackOff: it ended with exit code 1 (Error)", id="silent"
        ),
        pytest.param(
            pod(BACKS_OFF, ended(7, message="Traceback:\n  in main\nRuntimeError: no \x1b[1mweights\n\n")),
            "container main: CrashLoopBackOff: it ended with exit code 7 (Error): RuntimeError: no �[1mweights",
            id="last-words",
        ),
        pytest.param(pod(ended(0, "Completed")), "container main ended with exit code 0 (Completed)", id="ended"),
        pytest.param(
            pod(RUNS, ended(143)), "container main ended with exit code 143 (Error), and runs again", id="runs-again"
        ),
        pytest.param(
            pod(waits("CreateContainerConfigError", 'secret "s" not found')),
            'container main: CreateContainerConfigError: secret "s" not found',
            id="secret",
        ),
        pytest.param(homeless(UNSCHEDULABLE), "Unschedulable: 0/1 nodes are available", id="no-node"),
        pytest.param(
            homeless((*UNSCHEDULABLE[:2], NO_WHOLE_GPU)), f"Unschedulable: {NO_WHOLE_GPU}: {IS_WHOLE}", id="whole-gpu"
        ),
        pytest.param(
            homeless((*UNSCHEDULABLE[:2], "1 Insufficient nvidia.com/gpu.shared")),
            "Unschedulable: 1 Insufficient nvidia.com/gpu.shared",
            id="another-resource",
        ),
        pytest.param(
            homeless(UNSCHEDULABLE, ("knative-mig.dev/Slice", "NoSuchProfile", "no GPU can be cut into 9g.99gb")),
            "NoSuchProfile: no GPU can be cut into 9g.99gb",
            id="no-slice",
        ),
        pytest.param(
            Fields({"status": {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "Allocate failed"}}),
            "UnexpectedAdmissionError: Allocate failed",
            id="not-admitted",
        ),
    ],
)
def test_the_most_telling_of_what_is_known(of: Fields, said: str) -> None:
    assert of_pod(of) == said


def test_one_that_runs_and_does_not_listen_has_what_its_probe_found() -> None:
    assert of_pod(pod(RUNS), "Readiness probe failed: refused") == "Readiness probe failed: refused"
    assert of_pod(pod(RUNS, ready=True), "Readiness probe failed: refused") == ""
    assert of_pod(pod(BACKS_OFF, ended(1)), "Readiness probe failed: refused").endswith("code 1 (Error)")


def test_one_of_which_nothing_is_made_has_what_its_volume_lacks() -> None:
    made, lacks = waits("ContainerCreating"), 'MountVolume.SetUp failed for volume "v" : secret "s" not found'
    assert of_pod(pod(made), lacks) == lacks
    assert of_pod(pod(RUNS), lacks) == ""  # it has come since
    assert of_pod(pod(made), 'MountVolume.SetUp failed for volume "v" : failed to sync secret cache') == ""


def test_one_that_the_kubelet_ended_has_why() -> None:
    killed = of_pod(pod(BACKS_OFF, ended(143)), "Liveness probe failed: refused")
    assert (
        killed
        == "container main: CrashLoopBackOff: it ended with exit code 143 (Error): Liveness probe failed: refused"
    )
