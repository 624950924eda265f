"""Eventing: an event wakes a function at zero through a Broker and a Trigger, and its reply is an event again."""

import time

import pytest

from tests.cluster.api import Api
from tests.cluster.brokers import Broker
from tests.cluster.conftest import DeployFunction
from tests.cluster.figures import Measured
from tests.cluster.waits import eventually

_ASKED, _ANSWERED = "com.example.asked", "com.example.answered"


@pytest.fixture
def broker(api: Api, namespace: str, eventing: None) -> Broker:
    return Broker(api, namespace).make()


@pytest.mark.testbed_only
@pytest.mark.slow(100)
def test_an_event_wakes_a_function_and_its_reply_reaches_the_next_one(
    broker: Broker, function: DeployFunction, measured: Measured
) -> None:
    answerer = function("answerer", environment={"REPLY_TYPE": _ANSWERED})
    listener = function("listener")
    broker.subscribe("answerer", _ASKED)
    broker.subscribe("listener", _ANSWERED)
    answerer.wait_zero()
    listener.wait_zero()

    sent = time.monotonic()
    assert broker.publish(_ASKED, "question-1") == 202
    # Reading the log wakes the listener too, so first see that the event has woken it.
    listener.wait_pods(1, seconds=200)  # a delivery that fails is repeated after 0.2 s, 0.4 s and so on
    events = eventually("the reply arrives", lambda: listener.report()["events"])
    measured("event to the reply seen, both functions from zero", time.monotonic() - sent, "s")

    # It may have come twice: a Broker that did not hear in time that it was taken brings it again.
    assert {(each["type"], each["id"]) for each in events} == {(_ANSWERED, "reply-to-question-1")}
    assert '"in_reply_to": "question-1"' in events[0]["data"]
