"""Where an event goes for one Trigger: to its subscriber, its reply back into the Broker, and what fails to the dead
letters.

Asked by `post` after each try. Each leg is tried as often as the policy says. The subtle thing is what a dead letter
is: always the event that came, also where it was the reply that the Broker did not take.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from knative_mig.dev.eventing import hops
from knative_mig.dev.eventing.answers import Answered
from knative_mig.dev.eventing.events import Event
from knative_mig.dev.eventing.policies import Policy, is_tried_again
from knative_mig.ports.kube import Key


class Leg(StrEnum):
    SUBSCRIBER = "subscriber"
    REPLY = "reply"
    DEAD_LETTER = "dead letter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """An event's for one Trigger, as it was when the event came; its subscriber is looked up at each try."""

    trigger: Key
    uid: str
    broker: Key
    event: Event  # as the Broker has it
    policy: Policy
    dead_letters: str = ""  # a URL; empty: there is nowhere to put them
    headers: tuple[tuple[str, str], ...] = ()  # that are passed through
    leg: Leg = Leg.SUBSCRIBER
    carried: Event  # what this leg carries
    tried: int = 0  # on this leg

    @classmethod
    def begun(
        cls,
        *,
        trigger: Key,
        uid: str,
        broker: Key,
        event: Event,
        policy: Policy,
        dead_letters: str = "",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> "Course":
        return cls(
            trigger=trigger,
            uid=uid,
            broker=broker,
            event=event,
            policy=policy,
            dead_letters=dead_letters,
            headers=headers,
            carried=hops.for_subscriber(event),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """A leg that begins, or one that is tried again."""

    course: Course
    after_s: float = 0.0
    why: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """Taken, by its subscriber or as a dead letter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    why: str


def after(course: Course, answer: Answered) -> Next | Done | Lost:
    tried = course.tried + 1
    if answer.is_taken:
        if course.leg is Leg.SUBSCRIBER and answer.reply is not None:
            reply = hops.replied(answer.reply, to=course.event)
            return Next(course=replace(course, leg=Leg.REPLY, carried=reply, tried=0))
        return Done()
    if is_tried_again(answer.status) and tried <= course.policy.retries:
        return Next(course=replace(course, tried=tried), after_s=course.policy.wait_s(tried), why=answer.why)
    why = f"{answer.why} ({_times(tried)})"
    if course.leg is Leg.DEAD_LETTER:
        return Lost(why=f"nor was it taken as a dead letter: {why}")
    if not course.dead_letters:
        return Lost(why=f"{why}, and there is no dead letter sink")
    letter = hops.dead_letter(course.event, answer.marks)
    return Next(course=replace(course, leg=Leg.DEAD_LETTER, carried=letter, tried=0), why=why)


def _times(tried: int) -> str:
    return "tried once" if tried == 1 else f"tried {tried} times"
