"""Whose turn it is, and for whom there is no room."""

from knative_mig.dev.eventing.courses import Course
from knative_mig.dev.eventing.events import Event
from knative_mig.dev.eventing.policies import Policy
from knative_mig.dev.eventing.queues import Queues
from knative_mig.ports.kube import Key

A, B = Key("team", "a"), Key("team", "b")


def course(trigger: Key, identity: str) -> Course:
    event = Event(source="/s", id=identity, type="t")
    return Course.begun(trigger=trigger, uid="u", broker=Key("team", "default"), event=event, policy=Policy())


def taken(queues: Queues, now: float = 0.0) -> list[str]:
    found = []
    while (each := queues.take(now)) is not None:
        found.append(each.event.id)
    return found


def test_triggers_take_turns_and_each_ones_events_come_in_their_order() -> None:
    queues = Queues()
    for identity in ("1", "2", "3"):
        queues.put(course(A, identity), 0.0)
    queues.put(course(B, "other"), 0.0)
    assert taken(queues) == ["1", "other", "2", "3"]


def test_a_subscriber_that_takes_long_holds_up_its_own_alone() -> None:
    queues = Queues(most_at_once=1)
    for trigger, identity in ((A, "1"), (A, "2"), (B, "3")):
        queues.put(course(trigger, identity), 0.0)
    first = queues.take(0.0)
    assert first is not None
    assert taken(queues) == ["3"]
    assert queues.due() is None
    queues.ended(first)
    assert queues.due() == 0.0
    assert taken(queues) == ["2"]


def test_what_is_tried_again_later_lets_others_by_and_comes_when_it_is_due() -> None:
    queues = Queues()
    queues.put(course(A, "late"), 0.0)
    late = queues.take(0.0)
    assert late is not None
    queues.again(late, 3.2)
    queues.put(course(A, "new"), 1.0)
    assert taken(queues, 1.0) == ["new"]
    assert queues.due() == 3.2
    assert taken(queues, 3.2) == ["late"]


def test_what_is_sent_or_waits_for_its_next_try_takes_room_until_it_has_ended() -> None:
    queues = Queues(most_waiting=2)
    queues.put(course(A, "1"), 0.0)
    assert queues.full([A, B]) is None
    queues.put(course(A, "2"), 9.0)
    first = queues.take(0.0)
    assert first is not None
    assert queues.full([B, A]) == A
    queues.ended(first)
    assert queues.full([A]) is None


def test_at_the_end_all_that_wait_are_named_in_the_order_of_their_turns() -> None:
    queues = Queues()
    for identity, at in (("2", 5.0), ("1", 0.0)):
        queues.put(course(A, identity), at)
    assert [each.event.id for each in queues.emptied()] == ["1", "2"]
    assert taken(queues, 9.0) == []
