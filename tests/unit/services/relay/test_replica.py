"""A replica that leaves: its engine ends when nobody needs it, its slice goes back, no request goes in a circle."""

import pytest

from services.relay.replica import Answered, Do, EngineEnded, Event, InFlight, Leave, Replica, Stage, Where


def after(*events: Event) -> Replica:
    replica = Replica()
    for event in events:
        replica.take(event)
    return replica


def test_idle_it_ends_its_engine_at_once() -> None:
    assert Replica().take(Leave(now=0.0)) is Do.END_ENGINE


def test_busy_it_waits_for_the_last() -> None:
    replica = after(InFlight(count=2))
    assert replica.take(Leave(now=0.0)) is None
    assert replica.take(InFlight(count=1)) is None
    assert replica.take(InFlight(count=0)) is Do.END_ENGINE
    assert replica.take(InFlight(count=0)) is None, "once is enough"


def test_the_slice_is_given_back_when_the_engine_has_ended_and_asked_for_until_it_is_taken() -> None:
    replica = after(Leave(now=0.0))
    assert replica.take(EngineEnded()) is Do.ASK_RELEASE
    assert replica.take(Answered(released=False)) is Do.ASK_RELEASE_LATER
    assert replica.take(Answered(released=True)) is None
    assert replica.stage is Stage.IS_GONE


def test_an_engine_that_dies_while_it_leaves_gives_its_slice_back_too() -> None:
    assert after(InFlight(count=1), Leave(now=0.0)).take(EngineEnded()) is Do.ASK_RELEASE


def test_an_engine_that_dies_for_itself_ends_the_relay() -> None:
    assert Replica().take(EngineEnded()) is Do.EXIT


@pytest.mark.parametrize(
    ("events", "first_hand", "sent_on"),
    [
        ((), Where.HERE, Where.HERE),
        ((InFlight(count=1), Leave(now=0.0)), Where.ELSEWHERE, Where.HERE),
        ((Leave(now=0.0),), Where.ELSEWHERE, Where.NOWHERE),
        ((Leave(now=0.0), EngineEnded()), Where.ELSEWHERE, Where.NOWHERE),
        ((Leave(now=0.0), EngineEnded(), Answered(released=True)), Where.ELSEWHERE, Where.NOWHERE),
    ],
)
def test_a_late_request_is_sent_on_once(events: tuple[Event, ...], first_hand: Where, sent_on: Where) -> None:
    replica = after(*events)
    assert replica.where(1.0, was_sent_on=False) is first_hand
    assert replica.where(1.0, was_sent_on=True) is sent_on
