"""Outcomes on their way to a sink: in order, tried again for a while, never in anybody's way."""

from collections import Counter, deque
from dataclasses import dataclass, field

import pytest

from knative_mig.core.events import Delivered, Delivery, Event
from reconfigurer.planner.outbox import Outbox, OutboxSettings
from tests.rigs.planner_replica import Clock

TAKEN = Delivery(outcome=Delivered.TAKEN)
REFUSED = Delivery(outcome=Delivered.REFUSED, reason="answered 400")
AWAY = Delivery(outcome=Delivered.FAILED, reason="no connection")


def event(number: int) -> Event:
    return Event(source="/here", id=str(number), type="outcome")


@dataclass
class Post:
    """A sink that answers as it is told to, and else takes what comes."""

    clock: Clock
    settings: OutboxSettings = field(default_factory=OutboxSettings)
    answers: deque[Delivery] = field(default_factory=deque)
    came: list[str] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.outbox = Outbox(
            self, count=lambda what: self.counted.update([what]), clock=self.clock.monotonic, settings=self.settings
        )

    def send(self, event: Event) -> Delivery:
        self.came.append(event.id)
        return self.answers.popleft() if self.answers else TAKEN

    def put(self, *numbers: int) -> None:
        for number in numbers:
            self.outbox.put(event(number))


@pytest.fixture
def post(clock: Clock) -> Post:
    return Post(clock)


def test_they_are_sent_in_their_order(post: Post) -> None:
    post.put(1, 2, 3)
    while len(post.outbox):
        assert post.outbox.send_next() == 0.0
    assert post.came == ["1", "2", "3"]
    assert post.counted == {"taken": 3}
    assert post.outbox.send_next() == 0.0


def test_what_is_not_taken_is_tried_again_ever_more_rarely_and_keeps_its_place(post: Post) -> None:
    post.answers += [AWAY] * 8
    post.put(1, 2)
    pauses = [post.outbox.send_next() for _ in range(8)]
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])
    assert post.outbox.send_next() == 0.0
    post.outbox.send_next()
    assert post.came == ["1"] * 9 + ["2"]
    post.answers.append(AWAY)
    post.put(3)
    assert post.outbox.send_next() == pytest.approx(0.1)


def test_a_sink_that_names_a_pause_is_left_alone_for_as_long(post: Post) -> None:
    post.answers.append(Delivery(outcome=Delivered.FAILED, reason="answered 429", retry_after_s=30.0))
    post.put(1)
    assert post.outbox.send_next() == 30.0


def test_what_is_refused_is_left_and_the_next_one_sent(post: Post) -> None:
    post.answers.append(REFUSED)
    post.put(1, 2)
    post.outbox.send_next()
    post.outbox.send_next()
    assert post.came == ["1", "2"]
    assert post.counted == {"refused": 1, "taken": 1}


def test_what_is_no_news_any_more_is_given_up(post: Post, clock: Clock) -> None:
    post.answers += [AWAY, AWAY]
    post.put(1)
    post.outbox.send_next()
    clock.at += post.settings.keep_s + 1
    post.outbox.send_next()
    assert len(post.outbox) == 0
    assert post.counted == {"failed": 2, "lost": 1}


def test_while_a_sink_is_away_no_more_wait_than_may(clock: Clock) -> None:
    post = Post(clock, OutboxSettings(waiting=2))
    post.put(1, 2, 3)
    assert len(post.outbox) == 2
    assert post.counted == {"lost": 1}
