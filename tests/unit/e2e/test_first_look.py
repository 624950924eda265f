"""What is printed of a cluster beside a test that failed on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.cluster.api import POD, Kind, Object
from tests.cluster.first_look import first_look
from tests.cluster.slices import EVENT, GPU_NODE


@dataclass(frozen=True, slots=True)
class _Api:
    there: Mapping[Kind, Sequence[Object]]

    def items(self, kind: Kind, namespace: str | None = None) -> Sequence[Object]:
        found = self.there.get(kind, ())
        return [each for each in found if namespace in (None, each["metadata"].get("namespace"))]


@dataclass(frozen=True, slots=True)
class _Nobody:
    def items(self, kind: Kind, namespace: str | None = None) -> Sequence[Object]:
        raise ConnectionRefusedError(f"{kind.plural} of {namespace}")


def _pod(name: str, *, namespace: str = "mine", wants: str = "", ready: bool = False, **more: Any) -> Object:
    conditions = [{"type": "Ready", "status": str(ready), "reason": "ContainersNotReady"}]
    container = {"resources": {"limits": {wants: "1"} if wants else {}}}
    return {
        "metadata": {"namespace": namespace, "name": name, **more.get("metadata", {})},
        "spec": {"containers": [container], **more.get("spec", {})},
        "status": {"phase": "Pending", "conditions": [*conditions, *more.get("conditions", [])]},
    }  # fmt: skip


def test_who_waits_is_told_with_what_for_and_who_is_ready_is_not() -> None:
    unscheduled = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": "it is gated"}
    pods = [
        _pod(
            "waits", wants="nvidia.com/mig-7g.40gb", spec={"schedulingGates": [{"name": "the/gate"}]},
            conditions=[unscheduled],
        ),
        _pod("answers", ready=True),
        _pod("anothers", namespace="other"),
        _pod("goes", namespace="other", wants="nvidia.com/mig-1g.5gb", metadata={"deletionTimestamp": "then"}),
    ]  # fmt: skip
    waits, goes = first_look(_Api({POD: pods}), "mine")
    assert waits == (
        "pod mine/waits, Pending, nvidia.com/mig-7g.40gb, on no node, gate the/gate, "
        "PodScheduled: SchedulingGated it is gated, Ready: ContainersNotReady"
    )
    assert goes == (
        "pod other/goes, Pending, nvidia.com/mig-1g.5gb, on no node, goes at then, Ready: ContainersNotReady"
    )


def test_whose_process_ended_is_told_wherever_it_runs() -> None:
    pod = _pod("activator", namespace="knative-serving", ready=True)
    last = {"terminated": {"reason": "OOMKilled", "exitCode": 137, "finishedAt": "then"}}
    pod["status"]["containerStatuses"] = [
        {"name": "activator", "restartCount": 2, "lastState": last, "ready": True},
        {"name": "other", "restartCount": 0, "lastState": {}, "ready": True},
    ]
    assert first_look(_Api({POD: [pod]}), "mine") == [
        "activator of knative-serving/activator ended 2 times, last by OOMKilled 137 at then"
    ]


def test_gpus_are_told_with_what_they_have_and_are_to_have_and_nodes_with_what_does_not_hold() -> None:
    place = {"profile": "3g.20gb", "start": 4}
    held = {**place, "state": "Busy", "holders": [{"pod": "tiny-0"}]}
    conditions = [{"type": "Ready", "status": "True"}, {"type": "SpecApplied", "status": "False", "reason": "InUse"}]
    node = {
        "metadata": {"name": "gpu-1"},
        "spec": {"gpus": [{"uuid": "GPU-1", "slices": [{**place, "start": 0}]}]},
        "status": {"conditions": conditions, "gpus": [{"uuid": "GPU-1", "slices": [held]}]},
    }
    assert first_look(_Api({GPU_NODE: [node]}), None) == [
        "GpuNode gpu-1: SpecApplied False: InUse ",
        "GPU gpu-1/GPU-1: has 3g.20gb@4 Busy tiny-0; is to have 3g.20gb@0",
    ]


def test_the_last_warnings_are_told_and_no_more_lines_than_are_read() -> None:
    def event(number: int, kind: str = "Warning") -> Object:
        return {
            "metadata": {"namespace": "mine"}, "type": kind, "reason": "Failed", "message": str(number),
            "lastTimestamp": f"{number:04}", "involvedObject": {"kind": "Pod", "name": "tiny"},
        }  # fmt: skip

    events = [event(1, "Normal"), *(event(number) for number in range(2, 30))]
    told = first_look(_Api({EVENT: events, POD: [_pod(f"waits-{n}") for n in range(20)]}), "mine")
    assert [line for line in told if line.startswith("Pod ")] == [
        f"Pod tiny: Failed: {number}" for number in range(18, 30)
    ]
    assert len([line for line in told if line.startswith("pod ")]) == 12
    assert "and 8 more such lines" in told


def test_an_api_server_that_does_not_answer_is_what_is_told() -> None:
    [told] = first_look(_Nobody(), "mine")
    assert "ConnectionRefusedError" in told
