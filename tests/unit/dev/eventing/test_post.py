"""Between what comes in and who sends it on: Triggers that change while their events are under way, and the end."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Queue

from knative_mig.dev.eventing.answers import Answered
from knative_mig.dev.eventing.events import Event
from knative_mig.dev.eventing.filters import Filter
from knative_mig.dev.eventing.policies import Policy
from knative_mig.dev.eventing.post import Headers, Post, Refused
from knative_mig.dev.eventing.triggers import Subscription
from knative_mig.ports.kube import Key

PATIENCE_S = 30.0
BROKER = Key("team", "default")
EVENT = Event(source="/s", id="1", type="t")


def subscription(uid: str) -> Subscription:
    return Subscription(
        trigger=Key("team", "t"),
        uid=uid,
        broker=BROKER,
        filter=Filter(dialect="all"),
        policy=Policy(retries=1),
        subscriber=f"http://{uid}",
        dead_letters="http://letters",
    )


@dataclass(slots=True)
class Sender:
    """Tells whom it is to send to, and then waits for what came of it."""

    asked: Queue[str] = field(default_factory=Queue)
    answers: Queue[Answered] = field(default_factory=Queue)

    def to_subscriber(self, url: str, event: Event, headers: Headers, timeout_s: float | None) -> Answered:  # noqa: ARG002
        self.asked.put(url)
        return self.answers.get(timeout=PATIENCE_S)

    to_dead_letters = to_subscriber


@contextmanager
def running(sender: Sender) -> Iterator[Post]:
    post, stop = Post(sender, lambda broker: f"http://{broker.name}"), threading.Event()
    post.follow(frozenset({BROKER}), [subscription("first")])
    thread = threading.Thread(target=post.run, args=(stop,))
    thread.start()
    try:
        yield post
    finally:
        post.end(0.0)
        thread.join(PATIENCE_S)


def test_an_event_for_a_trigger_that_was_made_anew_meanwhile_is_not_the_new_ones() -> None:
    sender = Sender()
    with running(sender) as post:
        assert post.publish(BROKER, EVENT) is None
        assert sender.asked.get(timeout=PATIENCE_S) == "http://first"
        post.follow(frozenset({BROKER}), [subscription("second")])
        sender.answers.put(Answered(status=503))
        assert sender.asked.get(timeout=PATIENCE_S) == "http://letters"
        sender.answers.put(Answered(status=202))


def test_once_it_ends_nothing_is_taken_in_and_what_fails_is_not_tried_again() -> None:
    sender = Sender()
    with running(sender) as post:
        post.publish(BROKER, EVENT)
        sender.asked.get(timeout=PATIENCE_S)
        [held] = post.end(0.0)
        assert post.publish(BROKER, EVENT) == Refused(503, "the Broker is being stopped")
        sender.answers.put(Answered(status=503))
        [left] = post.end(PATIENCE_S)
        assert (held.tried, left.tried) == (0, 1)
        assert sender.asked.empty()
