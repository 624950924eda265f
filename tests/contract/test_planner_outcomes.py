"""Outcomes from the whole planner process to a real sink: what a Trigger's subscriber hears, and who says it."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest

from knative_mig.adapters.event_sender import EventSender
from knative_mig.adapters.event_sender import Sink as Where
from knative_mig.adapters.kube.fields import time_text
from knative_mig.adapters.kube.kinds import EVENT
from knative_mig.core.events import PENDING, PROVISIONED, RELEASED, UNSATISFIABLE, Delivered, Event
from reconfigurer.planner.process import Planner
from tests.contract.planner_rig import (
    WITHOUT_RESYNC,
    answer,
    gates,
    offer,
    planner,
    pod_object,
    put_node,
    read,
    spec_of,
    until,
    wanted,
)
from tests.contract.sinks import Answer, Sink, sink
from tests.fake_api import FakeApi
from tests.rigs.small_cluster import gpu

# No resync comes to help.
telling = partial(planner, settings=WITHOUT_RESYNC)
ANOTHER_AT_ZERO = "another function of the namespace scaling to zero"
TRACE = "0af7651916cd43dd8448eb211c80319c"
ASKED = Event(
    source="/apis/serving.knative.dev/v1/namespaces/team/revisions/big-00001",
    id="rev-big/1/3g.20gb/1/0-0",
    type=PENDING,
    subject="team/big-00001",
    extensions={
        "migprofile": "3g.20gb",
        "count": "1",
        "revisionuid": "rev-big",
        "traceparent": f"00-{TRACE}-b7ad6b7169203331-01",
    },
)


DENIED = 'pods "big-00001-x" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/mig-3g.20gb=1'


def revision_object(name: str, uid: str, *, quota: str = "") -> dict[str, Any]:
    about = {"namespace": "team", "name": name, "uid": uid}
    condition = {"type": "ResourcesAvailable", "status": "False", "reason": "FailedCreate", "message": quota}
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Revision",
        "metadata": about,
        "spec": {"containers": [{"resources": {"limits": {"nvidia.com/mig-3g.20gb": "1"}}}]},
        "status": {"conditions": [{**condition, "lastTransitionTime": time_text(time.time())}]} if quota else {},
    }


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as api:
        put_node(api, gpu("GPU-1", {"1g.5gb@4": None, "1g.5gb@5": None, "4g.20gb@0": "busy"}))
        api.put_object(pod_object("busy", "4g.20gb", node="n1"))
        api.put_object(revision_object("big-00001", "rev-big"))
        yield api


@pytest.fixture
def there() -> Iterator[Sink]:
    with sink() as made:
        yield made


def send(to: Planner) -> None:
    sender = EventSender(Where.parse(f"http://127.0.0.1:{to.events.port}"))
    assert sender.send(ASKED).outcome is Delivered.TAKEN


def stamped(api: FakeApi, token: int = 1) -> None:
    until(api, lambda: spec_of(api).spec.fencing_token == token)
    answer(api)


def starts(api: FakeApi, leader: Planner) -> None:
    """The walk: an event, its pod, the merge, the gate, and the agent's report that the pod has its slice."""
    send(leader)
    api.put_object(pod_object("big", "3g.20gb", gated=True))
    until(api, lambda: wanted(api) == ["4g.20gb@0", "3g.20gb@4"])
    answer(api, **{"GPU-1": {"4g.20gb@0": "busy", "3g.20gb@4": None}})
    offer(api)
    until(api, lambda: not gates(api, "big"))
    api.put_object(pod_object("big", "3g.20gb", node="n1"))
    answer(api, **{"GPU-1": {"4g.20gb@0": "busy", "3g.20gb@4": "big"}})


def told_on_revisions(api: FakeApi) -> list[tuple[str, str]]:
    """By reason; an Event's name is drawn, and so is its place in a list."""
    found = [each for each in api.objects(EVENT) if each["involvedObject"]["kind"] == "Revision"]
    assert {each["involvedObject"]["uid"] for each in found} <= {"rev-big"}
    return sorted((each["reason"], each["message"]) for each in found)


def test_who_subscribes_hears_of_the_slice_with_the_event_that_asked_for_it_and_then_that_it_is_free(
    api: FakeApi, there: Sink
) -> None:
    with telling(api, "planner-a", there.url) as leader:
        stamped(api)
        starts(api, leader)
        there.until(lambda: len(there.taken) == 1)
        until(api, lambda: len(told_on_revisions(api)) == 1)
        answer(api, **{"GPU-1": {"4g.20gb@0": "busy", "3g.20gb@4": None}})
        there.until(lambda: len(there.taken) == 2)
        until(api, lambda: len(told_on_revisions(api)) == 2)
    provisioned, released = there.taken
    assert (provisioned.type, released.type) == (PROVISIONED, RELEASED)
    for each in there.taken:
        assert each.subject == "team/big-00001"
        said = {"migprofile": "3g.20gb", "revisionuid": "rev-big", "gpu": "GPU-1", "start": "4", "node": "n1"}
        assert said.items() <= each.extensions.items()
        assert each.extensions["pendingid"] == ASKED.id
        assert each.traceparent.split("-")[1] == TRACE
    assert provisioned.data["how"] == "merge"
    assert [reason for reason, _ in told_on_revisions(api)] == ["SliceProvisioned", "SliceReleased"]
    assert ASKED.id in told_on_revisions(api)[0][1]


def test_who_is_refused_hears_what_bound_it_and_what_would_help(api: FakeApi, there: Sink) -> None:
    with telling(api, "planner-a", there.url) as leader:
        stamped(api)
        send(leader)
        api.put_object(pod_object("big", "7g.40gb", gated=True))
        answer(api)
        there.until(lambda: len(there.taken) == 1)
        until(api, lambda: len(told_on_revisions(api)) == 1)
    (told,) = there.taken
    assert told.type == UNSATISFIABLE
    assert told.data["reason"] == told_on_revisions(api)[0][0]
    assert told.data["helps"]


def test_whose_pods_a_quota_does_not_let_be_made_hears_of_it_though_there_is_none_of_them(
    api: FakeApi, there: Sink
) -> None:
    with telling(api, "planner-a", there.url) as leader:
        stamped(api)
        api.put_object(revision_object("big-00001", "rev-big", quota=DENIED))
        send(leader)
        there.until(lambda: len(there.taken) == 1)
        until(api, lambda: len(told_on_revisions(api)) == 1)
    (told,) = there.taken
    assert (told.type, told.subject) == (UNSATISFIABLE, "team/big-00001")
    assert told.extensions["pendingid"] == ASKED.id
    assert (told.data["reason"], told.data["pods"]) == ("QuotaExceeded", 1)
    assert told.data["helps"] == ["a higher quota of nvidia.com/mig-3g.20gb", ANOTHER_AT_ZERO]
    ((reason, text),) = told_on_revisions(api)
    assert reason == "QuotaExceeded"
    assert "exceeded quota: gpus" in text
    assert wanted(api) == []  # nothing is made for a pod that would not be made


def test_only_the_leader_tells_and_who_follows_it_is_silent_about_what_it_told(api: FakeApi, there: Sink) -> None:
    with sink() as other, ExitStack() as leading:
        leader = leading.enter_context(telling(api, "planner-a", there.url))
        stamped(api)
        with telling(api, "planner-b", other.url) as follower:
            starts(api, leader)
            there.until(lambda: len(there.taken) == 1)
            leading.close()
            stamped(api, 2)
            while 'rounds_total{outcome="planned"}' not in read(follower, "/metrics"):
                follower.stop.wait(0.02)
            answer(api, **{"GPU-1": {"4g.20gb@0": "busy", "3g.20gb@4": None}})
            other.until(lambda: len(other.taken) == 1)
    assert [each.type for each in there.taken] == [PROVISIONED]
    assert [each.type for each in other.taken] == [RELEASED]


def test_a_sink_that_hangs_or_is_away_delays_no_plan_and_is_told_when_it_is_back(api: FakeApi, there: Sink) -> None:
    there.planned += [Answer(cut=True), Answer(status=503)]
    with telling(api, "planner-a", there.url) as leader:
        stamped(api)
        starts(api, leader)
        there.until(lambda: len(there.taken) == 1)
    assert len({each.id for each in there.events}) == 1
    assert len(there.events) == 3


def test_without_a_sink_the_outcome_is_on_the_revision_alone(api: FakeApi) -> None:
    with telling(api, "planner-a") as leader:
        stamped(api)
        starts(api, leader)
        until(api, lambda: len(told_on_revisions(api)) == 1)
