"""An event's course for one Trigger, try by try, in time that does not pass: repetitions, replies, dead letters."""

import base64
from dataclasses import dataclass, field

import pytest

from knative_mig.dev.eventing import hops
from knative_mig.dev.eventing.answers import TIMED_OUT, Answered, Response, answered_by_subscriber, not_connected
from knative_mig.dev.eventing.courses import Course, Done, Leg, Lost, Next, after
from knative_mig.dev.eventing.events import Event
from knative_mig.dev.eventing.policies import BackOff, Policy
from knative_mig.dev.eventing.wire import read
from knative_mig.ports.kube import Key

URL = "http://fn.team.svc.cluster.local"
EVENT = hops.arrived(Event(source="/s", id="1", type="asked"), "2026-01-31T12:00:00Z")
EXPONENTIAL = Policy(retries=6, back_off=BackOff.EXPONENTIAL, delay_s=0.2)


def course(policy: Policy, *, dead_letters: str = "http://letters") -> Course:
    assert EVENT is not None
    return Course.begun(
        trigger=Key("team", "t"),
        uid="u",
        broker=Key("team", "b"),
        event=EVENT,
        policy=policy,
        dead_letters=dead_letters,
    )


def said(status: int, body: bytes = b"", **headers: str) -> Answered:
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return answered_by_subscriber(URL, Response(status=status, headers=pairs, body=body), read)


@dataclass(slots=True)
class Told:
    """What became of a course whose legs are answered in turn."""

    waits: list[float] = field(default_factory=list)
    legs: list[Leg] = field(default_factory=list)
    letter: Event | None = None
    end: Done | Lost | None = None


def story(begun: Course, *answers: Answered) -> Told:
    told, now = Told(), begun
    for answer in answers:
        told.legs.append(now.leg)
        what = after(now, answer)
        if not isinstance(what, Next):
            told.end = what
            break
        now = what.course
        told.waits.append(what.after_s)
        if now.leg is Leg.DEAD_LETTER:
            told.letter = now.carried
    return told


def test_an_event_that_is_taken_is_done() -> None:
    assert story(course(EXPONENTIAL), said(202)).end == Done()


def test_exponential_pauses_begin_with_the_delay_and_double() -> None:
    told = story(course(EXPONENTIAL, dead_letters=""), *[said(503)] * 7)
    assert told.waits == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 6.4])
    assert isinstance(told.end, Lost)
    assert told.end.why == "it answered 503 (tried 7 times), and there is no dead letter sink"


def test_linear_pauses_begin_with_none() -> None:
    linear = Policy(retries=3, back_off=BackOff.LINEAR, delay_s=2.0)
    assert story(course(linear, dead_letters=""), *[said(429)] * 4).waits == [0.0, 2.0, 4.0]


@pytest.mark.parametrize("status", [404, 408, 409, 429, 500, 599])
def test_these_answers_are_tried_again(status: int) -> None:
    assert story(course(EXPONENTIAL), said(status), said(200)).legs == [Leg.SUBSCRIBER, Leg.SUBSCRIBER]


@pytest.mark.parametrize("status", [301, 400, 401, 413, 422])
def test_these_answers_are_final(status: int) -> None:
    told = story(course(EXPONENTIAL), said(status, b"no"), said(202))
    assert told.legs == [Leg.SUBSCRIBER, Leg.DEAD_LETTER]
    assert told.end == Done()


def test_a_dead_letter_says_who_did_not_take_it_and_why_and_is_otherwise_the_event() -> None:
    told = story(course(Policy()), said(422, b'{"error":"no"}'), said(202))
    assert told.letter is not None
    assert EVENT is not None
    marks = {
        "knativeerrordest": URL,
        "knativeerrorcode": "422",
        "knativeerrordata": base64.b64encode(b'{"error":"no"}').decode(),
    }
    assert told.letter.extensions == {**EVENT.extensions, **marks}
    assert (told.letter.id, told.letter.source) == (EVENT.id, EVENT.source)


def test_what_was_said_is_cut_off_where_it_is_long() -> None:
    told = story(course(Policy()), said(400, b"x" * 5000))
    assert told.letter is not None
    assert len(told.letter.extensions["knativeerrordata"]) == 1024


def test_no_connection_is_a_500_that_says_what_it_was() -> None:
    told = story(course(Policy()), not_connected(URL, "dial tcp 127.0.0.1:1: connect: connection refused"))
    assert told.letter is not None
    assert told.letter.extensions["knativeerrorcode"] == "500"
    assert b"connection refused" in base64.b64decode(told.letter.extensions["knativeerrordata"])


@pytest.mark.parametrize("answer", [TIMED_OUT, said(200, b"thanks"), said(200, b"{", ce_specversion="1.0")])
def test_these_failures_leave_no_marks(answer: Answered) -> None:
    told = story(course(Policy(retries=1)), answer, answer)
    assert told.legs == [Leg.SUBSCRIBER, Leg.SUBSCRIBER]
    assert told.letter == EVENT


def test_a_dead_letter_that_nobody_takes_is_tried_as_often_and_then_lost() -> None:
    told = story(course(Policy(retries=1)), *[said(503)] * 4)
    assert told.legs == [Leg.SUBSCRIBER, Leg.SUBSCRIBER, Leg.DEAD_LETTER, Leg.DEAD_LETTER]
    assert isinstance(told.end, Lost)


REPLY = said(
    200, b"{}", ce_specversion="1.0", ce_id="2", ce_source="/fn", ce_type="done", content_type="application/json"
)


def test_a_reply_goes_into_the_broker_with_the_lifetime_of_what_it_replies_to() -> None:
    what = after(course(EXPONENTIAL), REPLY)
    assert isinstance(what, Next)
    assert what.course.leg is Leg.REPLY
    assert what.course.carried.id == "2"
    assert what.course.carried.extensions[hops.LIFETIME_NAME] == "255"
    assert after(what.course, Answered(status=202)) == Done()


def test_where_the_broker_refuses_a_reply_the_event_is_the_dead_letter() -> None:
    told = story(course(EXPONENTIAL), REPLY, Answered(status=400, marks=hops.Marks(url="http://broker", status=400)))
    assert told.letter is not None
    assert (told.letter.id, told.letter.extensions["knativeerrordest"]) == ("1", "http://broker")


def test_the_subscriber_hears_nothing_of_the_lifetime() -> None:
    assert set(course(EXPONENTIAL).carried.extensions) == {"knativearrivaltime"}


@pytest.mark.parametrize(
    ("before", "left"), [(None, "255"), ("255", "254"), ("2", "1"), ("odd", "255"), ("1e999", "255")]
)
def test_each_hop_takes_one_off(before: str | None, left: str) -> None:
    event = Event(source="/s", id="1", type="t", extensions={} if before is None else {hops.LIFETIME_NAME: before})
    arrived = hops.arrived(event, "now")
    assert arrived is not None
    assert arrived.extensions[hops.LIFETIME_NAME] == left


@pytest.mark.parametrize("before", ["1", "0", "-4"])
def test_an_event_whose_lifetime_is_over_does_not_arrive(before: str) -> None:
    assert hops.arrived(Event(source="/s", id="1", type="t", extensions={hops.LIFETIME_NAME: before}), "now") is None
