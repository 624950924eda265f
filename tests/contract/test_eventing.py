"""Brokers and Triggers as a sender and its subscribers meet them, over HTTP and the API."""

import base64
import json
from collections.abc import Iterator

import pytest

from knative_mig.adapters.kube.kinds import FUNCTION
from knative_mig.dev.eventing.objects import TRIGGER
from knative_mig.dev.eventing.ports import Place
from knative_mig.dev.eventing.post import undelivered
from knative_mig.dev.eventing.queues import Queues
from knative_mig.ports.kube import Key
from tests.rigs.eventing import TAKEN, EventingRig, eventing_rig, ids, replies_with
from tests.rigs.gateway import gateway_rig, until


@pytest.fixture(name="shared", scope="module")
def _shared() -> Iterator[EventingRig]:
    with eventing_rig() as rig:
        yield rig


@pytest.fixture(name="rig")
def _rig(shared: EventingRig) -> Iterator[EventingRig]:
    with shared.another() as rig:
        yield rig


def test_an_event_comes_to_the_functions_that_want_it_and_to_no_other(rig: EventingRig) -> None:
    wants, other = rig.subscriber(), rig.subscriber()
    rig.trigger("wants", rig.function("fn", wants.place), "asked")
    rig.trigger("other", {"uri": other.url}, "else")
    assert rig.send("asked", "1", tier="gold") == 202
    assert rig.send("else", "2") == 202
    [heard] = wants.hears(1)
    assert ids(other.hears(1)) == ["2"]
    assert json.loads(heard.body) == {"n": 1}
    wanted = {"host": f"fn.{rig.namespace}.svc.cluster.local", "ce-id": "1", "ce-type": "asked", "ce-tier": "gold"}
    assert wanted.items() <= heard.headers.items()
    assert (heard.headers["prefer"], heard.headers["kn-namespace"]) == ("reply", rig.namespace)
    assert "ce-knativearrivaltime" in heard.headers
    assert "ce-knativebrokerttl" not in heard.headers


def test_an_event_in_structured_mode_is_the_same_event(rig: EventingRig) -> None:
    subscriber = rig.subscriber()
    rig.trigger("t", {"uri": subscriber.url}, "asked")
    event = {"specversion": "1.0", "id": "1", "source": "/tests", "type": "asked", "data": {"n": 1}}
    headers = {"Content-Type": "application/cloudevents+json", "X-Request-Id": "42"}
    assert rig.ask("POST", f"/{rig.namespace}/default/", headers, json.dumps(event).encode())[0] == 202
    [heard] = subscriber.hears(1)
    assert (heard.id, heard.headers["x-request-id"], json.loads(heard.body)) == ("1", "42", {"n": 1})


def test_a_reply_is_an_event_again(rig: EventingRig) -> None:
    answerer, listener = rig.subscriber(replies_with("answered")), rig.subscriber()
    rig.trigger("answerer", {"uri": answerer.url}, "asked")
    rig.trigger("listener", {"uri": listener.url}, "answered")
    rig.send("asked")
    [heard] = listener.hears(1)
    assert (heard.id, heard.headers["ce-source"], json.loads(heard.body)) == ("r", "/fn", {"n": 2})


def test_replies_that_go_in_a_circle_end_as_a_dead_letter(rig: EventingRig) -> None:
    circle, letters = rig.subscriber(replies_with("asked")), rig.subscriber()
    rig.trigger("t", {"uri": circle.url}, "asked", delivery={"deadLetterSink": {"uri": letters.url}})
    rig.send("asked", knativebrokerttl="5")
    [letter] = letters.hears(1)
    assert letter.headers["ce-knativeerrorcode"] == "400"
    assert letter.headers["ce-knativeerrordest"] == f"http://127.0.0.1:{rig.eventing.port}/{rig.namespace}/default"
    assert len(circle.heard) == 4


def test_what_is_not_taken_is_tried_again_and_ends_with_the_brokers_dead_letters(rig: EventingRig) -> None:
    letters = rig.subscriber()
    rig.broker(retry=2, backoffPolicy="linear", backoffDelay="PT0.1S", deadLetterSink={"uri": letters.url})
    busy = rig.subscriber((503, {}, b"busy"))
    rig.trigger("t", {"uri": busy.url}, "asked")
    rig.send("asked")
    [letter] = letters.hears(1)
    assert ids(busy.heard) == ["1", "1", "1"]
    marks = {name: value for name, value in letter.headers.items() if name.startswith("ce-knativeerror")}
    assert marks == {
        "ce-knativeerrorcode": "503",
        "ce-knativeerrordest": busy.url,
        "ce-knativeerrordata": base64.b64encode(b"busy").decode(),
    }
    assert (letter.id, "prefer" in letter.headers) == ("1", False)


def test_a_subscriber_that_comes_back_gets_its_event(rig: EventingRig) -> None:
    subscriber = rig.subscriber((404, {}, b""), TAKEN)
    rig.trigger("t", {"uri": subscriber.url}, delivery={"retry": 1})
    rig.send()
    assert ids(subscriber.hears(2)) == ["1", "1"]


def test_nobody_at_a_subscribers_place_is_told_in_the_dead_letter(rig: EventingRig) -> None:
    letters, gone = rig.subscriber(), rig.subscriber()
    nowhere = Place("127.0.0.1", gone.place.port)
    gone.shutdown()
    gone.server_close()
    rig.subscribers.remove(gone)
    rig.trigger("t", rig.function("fn", nowhere), delivery={"deadLetterSink": {"uri": letters.url}})
    rig.send()
    [letter] = letters.hears(1)
    said = base64.b64decode(letter.headers["ce-knativeerrordata"]).decode()
    assert said.endswith(f"dial tcp 127.0.0.1:{nowhere.port}: connect: connection refused")


def test_an_event_wakes_a_function_that_is_at_zero(rig: EventingRig) -> None:
    with gateway_rig() as gateway:
        revision = gateway.function("fn")
        rig.hosts["fn.team.svc.cluster.local"] = Place("127.0.0.1", gateway.server.port)
        rig.trigger("t", {"uri": "http://fn.team.svc.cluster.local"})
        rig.send()
        until(lambda: gateway.held(revision) == 1)
        assert [each.revision for each in gateway.told] == [revision]
        pod = gateway.pod(revision)
        until(lambda: bool(pod.lines))


def test_the_ingress_says_what_is_wrong(rig: EventingRig) -> None:
    at = f"/{rig.namespace}/default"
    assert rig.send(path="/") == 404
    assert rig.send(path="/team") == 400
    assert rig.send(path=f"/{rig.namespace}/nobody") == 404
    status, allowed, _ = rig.ask("GET", at, {})
    assert (status, allowed) == (405, "POST, OPTIONS")
    assert rig.ask("OPTIONS", at, {})[:2] == (200, "POST, OPTIONS")
    status, _, said = rig.ask("POST", at, {"Content-Type": "application/json"}, b"{}")
    assert (status, said) == (400, "the header ce-specversion is missing\n")


def test_what_there_is_no_room_for_is_refused_before_anybody_hears_of_it() -> None:
    with eventing_rig(Queues(most_waiting=1)) as rig:
        rig.broker()
        slow, quick = rig.subscriber(), rig.subscriber()
        slow.lets_go.clear()
        rig.trigger("slow", {"uri": slow.url})
        assert rig.send("asked", "1") == 202
        slow.hears(1)
        rig.trigger("quick", {"uri": quick.url})
        assert rig.send("asked", "2") == 503
        assert quick.heard == []


def test_what_is_not_delivered_at_the_end_is_named(caplog: pytest.LogCaptureFixture) -> None:
    patient = {"retry": 9, "backoffPolicy": "exponential", "backoffDelay": "PT9S"}
    with eventing_rig() as rig:
        rig.broker()
        slow, away = rig.subscriber(), rig.subscriber((503, {}, b""))
        slow.lets_go.clear()
        rig.trigger("slow", {"uri": slow.url}, "asked")
        rig.trigger("away", {"uri": away.url}, "else", delivery=patient)
        rig.send("asked", "held")
        rig.send("else", "waits")
        slow.hears(1)
        away.hears(1)
        left = rig.eventing.stop(within_s=0.05)
    assert sorted(undelivered(left)) == [
        "not delivered by the Trigger team/away: 'waits'",
        "not delivered by the Trigger team/slow: 'held'",
    ]
    assert not [each for each in caplog.messages if "'held'" in each]  # who ends it says so, and once


def test_a_function_that_goes_takes_its_url_with_it(rig: EventingRig) -> None:
    rig.trigger("t", rig.function("fn", Place("127.0.0.1", 9)))
    assert rig.status(TRIGGER, "t")["subscriberUri"] == f"http://fn.{rig.namespace}.svc.cluster.local"
    rig.api.remove_object(FUNCTION, Key(rig.namespace, "fn"))
    rig.until_ready(TRIGGER, "t", status="False")
    assert "subscriberUri" not in rig.status(TRIGGER, "t")


def test_a_trigger_that_is_deleted_hears_no_more(rig: EventingRig) -> None:
    goes, stays = rig.subscriber(), rig.subscriber()
    for name, each in (("goes", goes), ("stays", stays)):
        rig.trigger(name, {"uri": each.url})
    rig.remove_trigger("goes")
    rig.send("asked", "1")
    stays.hears(1)
    assert goes.heard == []
