"""Eventing: an event wakes a function at zero through a Broker and a Trigger, and its reply is an event again."""

import time
from collections.abc import Callable

import pytest

from tests.cluster.api import BROKER, CORE_SERVICE, TRIGGER, Api, Object
from tests.cluster.conftest import DeployFunction
from tests.cluster.driver import Cluster
from tests.cluster.figures import Measured
from tests.cluster.function import ask
from tests.cluster.testbed import lifecycle
from tests.cluster.testbed.progress import Progress
from tests.cluster.turns import Turn
from tests.cluster.waits import eventually, is_true, until

_ASKED, _ANSWERED = "com.example.asked", "com.example.answered"


@pytest.fixture
def eventing(cluster: Cluster, turn: Turn) -> None:
    """Adds Knative Eventing to the running cluster where it is not there yet; only these tests pay for it."""
    lifecycle.up(cluster.testbed, Progress(), with_eventing=True)


@pytest.fixture
def send(api: Api, namespace: str, eventing: None) -> Callable[[str, str], int]:
    """Sends an event to the namespace's Broker; the status it gets. Tests reach Services as pods do."""
    ingress = api.get(CORE_SERVICE, "broker-ingress", "knative-eventing")["spec"]["clusterIP"]
    api.create(BROKER, {"metadata": {"name": "default"}, **_of(BROKER.group, "Broker")}, namespace)
    until(api, BROKER.named("default", namespace), "is Ready", is_true)

    def post(kind: str, identity: str) -> int:
        headers = {"Ce-Specversion": "1.0", "Ce-Id": identity, "Ce-Source": "/tests", "Ce-Type": kind}
        headers["Content-Type"] = "application/json"
        return ask(ingress, ingress, f"/{namespace}/default", body='{"n": 1}', headers=headers).status

    return post


def _of(group: str, kind: str) -> Object:
    return {"apiVersion": group, "kind": kind}


def _subscribe(api: Api, namespace: str, function: str, event: str) -> None:
    subscriber = {"ref": {**_of("serving.knative.dev/v1", "Service"), "name": function}}
    spec = {"broker": "default", "filter": {"attributes": {"type": event}}, "subscriber": subscriber}
    api.create(TRIGGER, {"metadata": {"name": function}, "spec": spec, **_of(TRIGGER.group, "Trigger")}, namespace)
    until(api, TRIGGER.named(function, namespace), "is Ready", is_true)


@pytest.mark.testbed_only
@pytest.mark.slow(100)
def test_an_event_wakes_a_function_and_its_reply_reaches_the_next_one(
    send: Callable[[str, str], int], function: DeployFunction, api: Api, namespace: str, measured: Measured
) -> None:
    answerer = function("answerer", environment={"REPLY_TYPE": _ANSWERED})
    listener = function("listener")
    _subscribe(api, namespace, "answerer", _ASKED)
    _subscribe(api, namespace, "listener", _ANSWERED)
    answerer.wait_zero()
    listener.wait_zero()

    sent = time.monotonic()
    assert send(_ASKED, "question-1") == 202
    # Reading the log wakes the listener too, so first see that the event has woken it.
    listener.wait_pods(1, seconds=200)  # a delivery that fails is repeated after 0.2 s, 0.4 s and so on
    (event,) = eventually("the reply arrives", lambda: listener.report()["events"])
    measured("event to the reply seen, both functions from zero", time.monotonic() - sent, "s")

    assert event["type"] == _ANSWERED
    assert event["id"] == "reply-to-question-1"
    assert '"in_reply_to": "question-1"' in event["data"]
