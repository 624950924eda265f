"""Takes events in for a Broker, and has each delivered to the Triggers that want it.

Made by `eventing`; `ingress` and subscribers' replies call `publish`, `controllers` say by `follow` who is there. What
is decided is `filters`', `courses`' and `queues`' business; what is here keeps one thread at a time in the queues and
gives each event that is under way a thread of its own. The subtle thing is the end: what is not delivered by then is
named, one by one, for a Broker that says "accepted" and forgets would be worse than none.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from knative_mig.adapters.kube.fields import time_text
from knative_mig.core.events import shown
from knative_mig.dev.eventing import courses, filters, hops
from knative_mig.dev.eventing.answers import NO_TRIGGER, Answered
from knative_mig.dev.eventing.courses import Course, Done, Leg, Lost, Next
from knative_mig.dev.eventing.events import Event
from knative_mig.dev.eventing.hops import Marks
from knative_mig.dev.eventing.queues import Queues
from knative_mig.dev.eventing.triggers import Subscription
from knative_mig.ports.kube import Key

Headers = tuple[tuple[str, str], ...]
_PAUSE_S: Final = 0.1  # where there is no room for a thread
_NAMED: Final = 10  # of a Trigger's events that are not delivered at the end

log = logging.getLogger(__name__)


class Sends(Protocol):
    def to_subscriber(self, url: str, event: Event, headers: Headers, timeout_s: float | None) -> Answered: ...

    def to_dead_letters(self, url: str, event: Event, headers: Headers, timeout_s: float | None) -> Answered: ...


@dataclass(frozen=True, slots=True)
class Refused:
    status: int
    why: str


class Post:
    """`address`: where a Broker takes events, as a dead letter names it."""

    def __init__(
        self,
        sender: Sends,
        address: Callable[[Key], str],
        *,
        queues: Queues | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._sender = sender
        self._address = address
        self._queues = queues or Queues()
        self._clock = clock
        self._wall = wall
        self._woken = threading.Condition()
        self._brokers: frozenset[Key] = frozenset()
        self._subscriptions: dict[Key, Subscription] = {}  # by Trigger
        self._under_way: dict[int, Course] = {}
        self._left: list[Course] = []
        self._ends = False

    def follow(self, brokers: frozenset[Key], subscriptions: Iterable[Subscription]) -> None:
        with self._woken:
            self._brokers = brokers
            self._subscriptions = {each.trigger: each for each in subscriptions}

    # -- in ------------------------------------------------------------------------------------------------------------

    def publish(self, broker: Key, event: Event, headers: Headers = ()) -> Refused | None:
        """None: it will be delivered, or named if not. From any thread; does not wait."""
        arrived = hops.arrived(event, time_text(self._wall()))
        with self._woken:
            if self._ends:
                return Refused(503, "the Broker is being stopped")
            if broker not in self._brokers:
                return Refused(404, f"there is no Broker {shown(broker.name)} in {shown(broker.namespace)}")
            if arrived is None:
                return Refused(400, f"the event has been through Brokers {hops.LIFETIME} times: it goes in a circle")
            its = [each for each in self._subscriptions.values() if each.broker == broker]
            wanted = [each for each in its if filters.wants(each.filter, event)]
            if full := self._queues.full([each.trigger for each in wanted]):
                return Refused(503, f"too many events wait for the Trigger {full.name}: send it again later")
            for each in wanted:
                self._queues.put(_course(each, arrived, headers), self._clock())
            self._woken.notify_all()
        return None

    # -- out -----------------------------------------------------------------------------------------------------------

    def run(self, stop: threading.Event) -> None:
        """Until `stop`, and `end`."""
        while (course := self._next(stop)) is not None:
            try:
                threading.Thread(target=self._deliver, args=(course,), name="event delivery", daemon=True).start()
            except RuntimeError as error:
                log.warning("An event for %s waits: %s", course.trigger.name, error)
                self._goes_on(course, course, _PAUSE_S)

    def _next(self, stop: threading.Event) -> Course | None:
        with self._woken:
            while not (stop.is_set() or self._ends):
                if course := self._queues.take(self._clock()):
                    self._under_way[id(course)] = course
                    return course
                due = self._queues.due()
                self._woken.wait(None if due is None else max(0.0, due - self._clock()))
        return None

    def _deliver(self, course: Course) -> None:
        try:
            what = courses.after(course, self._tried(course))
        except Exception as error:
            log.exception("A delivery to the Trigger %s/%s failed", course.trigger.namespace, course.trigger.name)
            what = Lost(why=f"a fault of the Broker itself: {type(error).__name__}")
        match what:
            case Next():
                if what.course.leg is Leg.DEAD_LETTER and course.leg is not Leg.DEAD_LETTER:
                    log.warning("%s becomes a dead letter: %s", _named(course), what.why)
                self._goes_on(course, what.course, what.after_s)
            case Done():
                self._ended(course)
            case Lost():
                log.warning("%s is lost: %s", _named(course), what.why)
                self._ended(course)

    def _tried(self, course: Course) -> Answered:
        headers = (*course.headers, ("Kn-Namespace", course.trigger.namespace))
        timeout_s = course.policy.timeout_s
        match course.leg:
            case Leg.SUBSCRIBER:
                with self._woken:
                    found = self._subscriptions.get(course.trigger)
                if found is None or found.uid != course.uid or not found.subscriber:
                    return NO_TRIGGER
                return self._sender.to_subscriber(found.subscriber, course.carried, headers, timeout_s)
            case Leg.REPLY:
                refused = self.publish(course.broker, course.carried, course.headers)
                if refused is None:
                    return Answered(status=202)
                marks = Marks(url=self._address(course.broker), status=refused.status)
                return Answered(status=refused.status, why=f"its reply: {refused.why}", marks=marks)
            case Leg.DEAD_LETTER:
                return self._sender.to_dead_letters(course.dead_letters, course.carried, headers, timeout_s)

    def _goes_on(self, course: Course, to: Course, after_s: float) -> None:
        with self._woken:
            del self._under_way[id(course)]
            if self._ends:
                self._left.append(to)
                self._queues.ended(course)
            else:
                self._queues.again(to, self._clock() + after_s)
            self._woken.notify_all()

    def _ended(self, course: Course) -> None:
        with self._woken:
            del self._under_way[id(course)]
            self._queues.ended(course)
            self._woken.notify_all()

    # -- the end -------------------------------------------------------------------------------------------------------

    def end(self, within_s: float) -> Sequence[Course]:
        """Nothing more is taken in, nor tried again; what is under way has so long. What was not delivered."""
        with self._woken:
            self._ends = True
            self._left += self._queues.emptied()
            self._woken.notify_all()
            self._woken.wait_for(lambda: not self._under_way, within_s)
            return [*self._left, *self._under_way.values()]


def undelivered(left: Iterable[Course]) -> Iterator[str]:
    """What `end` left, as a person is told: a line for each Trigger."""
    by_trigger: dict[Key, list[str]] = {}
    for each in left:
        by_trigger.setdefault(each.trigger, []).append(shown(each.event.id))
    for trigger, ids in by_trigger.items():
        more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
        yield f"not delivered by the Trigger {trigger.namespace}/{trigger.name}: {', '.join(ids[:_NAMED])}{more}"


def _course(subscription: Subscription, event: Event, headers: Headers) -> Course:
    return Course.begun(
        trigger=subscription.trigger,
        uid=subscription.uid,
        broker=subscription.broker,
        event=event,
        policy=subscription.policy,
        dead_letters=subscription.dead_letters,
        headers=headers,
    )


def _named(course: Course) -> str:
    event, trigger = course.event, course.trigger
    return f"The event {shown(event.id)} ({shown(event.type)}) for the Trigger {trigger.namespace}/{trigger.name}"
