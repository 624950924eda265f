"""What is read off the changes of pods and GpuNodes while functions start; both are as the API server tells them."""

import ssl

import pytest

from tests.cluster.api import Api, Object
from tests.cluster.function import Function
from tests.cluster.observed import Observation, Presence
from tests.scenarios.stage import Timeline

ENDING = "2026-01-01T00:00:30Z"


def _observation(*, known: frozenset[str] = frozenset()) -> Observation:
    """Of `llm`, which wants a 7g.40gb, from second 100 on."""
    api = Api(host="", port=0, tls=ssl.create_default_context())
    function = Function(name="llm", namespace="team", api=api, gateway="", domain="")
    return Observation(
        function, "7g.40gb", Timeline(what="llm"), began=100.0, known_slices=known, specs={"n1": []},
    )  # fmt: skip


def _gpu_node(**states: str) -> Object:
    slices = [{"profile": "7g.40gb", "start": 0, "state": state, "migUUID": uuid} for uuid, state in states.items()]
    return {"metadata": {"name": "n1"}, "spec": {"gpus": []}, "status": {"gpus": [{"uuid": "g", "slices": slices}]}}


def _pod(
    name: str = "old", *, ready: bool = True, ending: bool = False, state: str = "running", of: str = "llm"
) -> Object:
    about: Object = {"name": name, "uid": name, "labels": {"serving.knative.dev/service": of}}
    if ending:
        about["deletionTimestamp"] = ENDING
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {
        "metadata": about,
        "spec": {"schedulingGates": [{"name": "knative-mig.dev/slice"}]},
        "status": {"conditions": conditions, "containerStatuses": [{"state": {state: {}}}]},
    }


# ---------------------------------------------------------------- slices


def test_a_slice_is_freed_when_who_had_it_has_gone_and_not_before() -> None:
    seen = _observation(known=frozenset({"a", "b"}))
    seen.gpu_node(101.0, "MODIFIED", _gpu_node(a="Busy", b="Busy"))
    assert "freed" not in seen.timeline.reached
    seen.gpu_node(130.0, "MODIFIED", _gpu_node(a="Busy", b="Idle"))
    seen.gpu_node(140.0, "MODIFIED", _gpu_node(a="Idle", b="Idle"))
    assert seen.timeline.reached == {"freed": 30.0}


def test_a_slice_that_nobody_had_and_one_that_is_broken_are_not_freed() -> None:
    seen = _observation(known=frozenset({"a", "b"}))
    seen.gpu_node(101.0, "MODIFIED", _gpu_node(a="Idle", b="Busy"))
    seen.gpu_node(102.0, "MODIFIED", _gpu_node(a="Idle", b="Broken"))
    assert seen.timeline.reached == {}


def test_a_slice_that_is_made_meanwhile_is_that_and_is_never_freed() -> None:
    seen = _observation()
    for second, state in ((103.0, "Idle"), (104.0, "Busy"), (150.0, "Idle")):
        seen.gpu_node(second, "MODIFIED", _gpu_node(new=state))
    assert seen.timeline.reached == {"slice": 3.0}


# ---------------------------------------------------------------- pods


def test_a_drain_is_over_when_no_container_runs_though_the_pod_is_still_there() -> None:
    seen = _observation()
    seen.pod(102.0, "MODIFIED", _pod(ending=True))
    assert "drain" not in seen.timeline.reached
    seen.pod(132.0, "MODIFIED", _pod(ending=True, state="terminated"))
    seen.pod(134.0, "DELETED", _pod(ending=True, state="terminated"))
    assert seen.timeline.reached == {"drain": 32.0}


def test_pods_of_another_function_are_not_looked_at() -> None:
    seen = _observation()
    seen.pod(102.0, "DELETED", _pod(of="other"))
    seen.pod(103.0, "MODIFIED", _pod(of="other"))
    assert seen.timeline.reached == {}


def test_who_gets_a_new_pod_before_the_old_one_goes_is_never_without() -> None:
    presence = Presence.of([_pod("old")])
    presence.pod(1.0, "ADDED", _pod("new", ready=False))
    presence.pod(2.0, "MODIFIED", _pod("new"))
    presence.pod(3.0, "MODIFIED", _pod("old", ending=True))
    presence.pod(4.0, "DELETED", _pod("old", ending=True))
    assert presence.bare == []
    assert presence.ready == {"new"}


@pytest.mark.parametrize(
    ("event", "ending"), [("MODIFIED", True), ("DELETED", False)], ids=["is-told-to-go", "is-gone-at-once"]
)
def test_who_is_told_to_go_before_the_new_pod_is_ready_leaves_its_function_without(event: str, *, ending: bool) -> None:
    presence = Presence.of([_pod("old")])
    presence.pod(1.0, "ADDED", _pod("new", ready=False))
    presence.pod(2.0, event, _pod("old", ending=ending))
    presence.pod(3.0, "MODIFIED", _pod("new"))
    assert presence.bare == [f"{event} of old"]
