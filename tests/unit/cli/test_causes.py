"""Why a function is not ready: who of its objects knows, knows best."""

from typing import Any

import pytest

from knative_mig.cli.causes import are_wanted, causes

from .test_gpu_text import a_node

Json = dict[str, Any]
NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z
CRASHED = "container main: CrashLoopBackOff: it ended with exit code 1 (Error)"


def service(ready: str = "False", **conditions: tuple[str, str, str]) -> Json:
    told = {"Ready": (ready, "RevisionMissing", "it is waiting"), **conditions}
    return {
        "metadata": {"name": "tiny", "namespace": "default"},
        "status": {"latestCreatedRevisionName": "tiny-00002", "conditions": written(told)},
    }


def written(conditions: dict[str, tuple[str, str, str]]) -> list[Json]:
    return [
        {"type": kind, "status": status, "reason": reason, "message": message}
        for kind, (status, reason, message) in conditions.items()
    ]


def revision(status: str, reason: str = "", message: str = "", *, number: int = 2) -> Json:
    about = {"name": f"tiny-0000{number}", "namespace": "default"}
    return {"metadata": about, "status": {"conditions": written({"Ready": (status, reason, message)})}}


def pod(state: str = "crashed", *, number: int = 2, ready: bool = False, **status: Any) -> Json:
    revision = f"tiny-0000{number}"
    labels = {"serving.knative.dev/service": "tiny", "serving.knative.dev/revision": revision}
    ended = {"terminated": {"exitCode": 1, "reason": "Error"}}
    main: Json = {"name": "main", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended}
    if state == "runs":
        main = {"name": "main", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}, "ready": ready}
    return {
        "metadata": {"name": f"{revision}-a", "namespace": "default", "labels": labels},
        "spec": {"nodeName": "n1"},
        "status": {
            "conditions": written({"Ready": (str(ready), "", "")}),
            "containerStatuses": [main],
            **status,
        },
    }


def event(message: str, second: int, *, number: int = 2) -> Json:
    about = {"namespace": "default", "name": f"tiny-0000{number}-a"}
    return {"involvedObject": about, "message": message, "lastTimestamp": f"2026-01-01T00:00:{second:02}Z"}


def cause(of: Json, *pods: Json, revisions: tuple[Json, ...] = (), events: tuple[Json, ...] = ()) -> str:
    found = causes([of], revisions=revisions, pods=pods, events=events, nodes=[a_node()], now=NOW)
    return found.get(("default", "tiny"), "")


def test_its_pods_know_more_than_its_revision() -> None:
    silent = revision("False", "ExitCode1", "Container failed with: ")
    assert cause(service(), pod(), revisions=(silent,)) == f"tiny-00002: {CRASHED}"
    assert cause(service(), revisions=(silent,)) == "tiny-00002: ExitCode1: Container failed with: nothing"


def test_what_never_came_to_a_pod_is_said_by_the_revision_or_else_by_knative() -> None:
    missing = revision("False", "ContainerMissing", 'Unable to fetch image "x": no such image')
    said = ("False", "RevisionFailed", "Revision creation failed with message: denied.")
    told = service(ConfigurationsReady=said)
    assert cause(told, revisions=(missing,)) == 'tiny-00002: ContainerMissing: Unable to fetch image "x": no such image'
    assert cause(told, revisions=(revision("Unknown", "Deploying"),)) == ": ".join(said[1:])
    assert cause(service("Unknown"), revisions=(revision("Unknown", "Deploying"),)) == ""


def test_of_an_update_that_fails_the_new_revision_is_told_of_and_not_the_one_that_serves() -> None:
    old = pod("runs", number=1, ready=True)
    assert cause(service(), old, pod()) == f"tiny-00002: {CRASHED}"
    assert cause(service(), pod(number=1)) == ""


@pytest.mark.parametrize(
    ("pods", "said"),
    [
        pytest.param((), "", id="at-zero"),
        pytest.param((pod(number=1),), f"tiny-00001: {CRASHED}", id="does-not-come-up"),
        pytest.param((pod(), pod("runs", number=1, ready=True)), "", id="served-all-the-same"),
        pytest.param((pod(phase="Failed", reason="Evicted"), pod()), f"tiny-00002: {CRASHED}", id="one-in-its-place"),
    ],
)
def test_of_one_that_was_ready_once_its_pods_alone_are_asked(pods: tuple[Json, ...], said: str) -> None:
    assert cause(service("True"), *pods, revisions=(revision("False", "ExitCode1", "x"),)) == said


def test_of_one_that_is_gated_it_is_said_that_the_planner_is_silent_and_not_that_it_is_gated() -> None:
    gated = pod(conditions=written({"PodScheduled": ("False", "SchedulingGated", "Scheduling is blocked")}))
    gated["spec"] = {"schedulingGates": [{"name": "knative-mig.dev/slice"}], "containers": []}
    del gated["status"]["containerStatuses"]
    gated["metadata"] |= {"uid": "1", "creationTimestamp": "2025-12-31T23:59:48Z"}
    assert cause(service("Unknown"), gated) == "tiny-00002: it waits for 12 s: the planner has not said a word of it"
    told = {"knative-mig.dev/Slice": ("False", "NoRoom", "all are busy")}
    gated["status"]["conditions"] += written(told)
    assert cause(service("Unknown"), gated) == "tiny-00002: NoRoom: all are busy"


def test_what_the_probe_found_last_is_said_of_one_that_runs() -> None:
    events = (event("new", 9), event("old", 8), event("another's", 10, number=1))
    assert cause(service(), pod("runs"), events=events) == "tiny-00002: new"


def test_more_is_read_only_where_something_is_not_ready() -> None:
    well = pod("runs", ready=True)
    assert not are_wanted([service("True")], [well])
    assert are_wanted([service("Unknown")], [well])
    assert are_wanted([service("True")], [pod()])
