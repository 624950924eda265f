"""Who of a revision's requests runs at which of its pods, and who waits.

Kept by `hall`, one a revision. Requests come in one of two ways. By the activator they wait together until any pod has
room, the first first; past it they are dealt out in turn, and wait at their pod, where Knative's queue-proxy has so
many places and no more. A pod never runs more than its concurrency, by either way.

The subtle thing is a pod that is not ready any more: it gets nothing new, but finishes what it has, and what waits at
it already; if it comes back, what it still runs counts.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from knative_mig.dev.gateway.facts import Pod
from knative_mig.ports.kube import Key

# Knative adds to it the requests that run, of which it allows two thousand million: it never gets that far.
MOST_HELD: Final = 10_000
PLACES_AT_A_POD: Final = 10  # for each request that may run there
_FIRST_AVAILABLE_UP_TO: Final = 3  # concurrency


class Stand(Enum):
    HELD = auto()  # until a pod has room
    QUEUES = auto()  # at its pod
    RUNS = auto()
    LEFT = auto()


@dataclass(slots=True, eq=False, kw_only=True)
class Ticket:
    """Of one request; only its throttle changes it."""

    revision: Key
    by_activator: bool
    ring: Callable[[], None]  # for whoever waits with it, once it runs
    stand: Stand = Stand.HELD
    pod: Pod | None = None


@dataclass(slots=True, eq=False)
class _Place:
    """What one pod has."""

    pod: Pod
    running: int = 0
    queue: deque[Ticket] = field(default_factory=deque)


class Throttle:
    """`draw` gives a number below its argument."""

    def __init__(self, concurrency: int, draw: Callable[[int], int]) -> None:
        self._concurrency = concurrency
        self._draw = draw
        self._places: dict[Pod, _Place] = {}  # of ready pods, and of those that still have requests
        self._ready: list[_Place] = []  # in the order of their addresses
        self._held: dict[Ticket, None] = {}  # the first first
        self._turn = 0

    @property
    def held(self) -> int:
        return len(self._held)

    @property
    def has_pods(self) -> bool:
        return bool(self._ready)

    def ask(self, ticket: Ticket) -> bool:
        """It runs now, or waits; False: there is no place to wait at, where `pod` says whose is full."""
        return self._ask_any(ticket) if ticket.by_activator else self._ask_next(ticket)

    def leave(self, ticket: Ticket) -> list[Ticket]:
        """It is done, or has given up. Those who run instead."""
        stood, ticket.stand = ticket.stand, Stand.LEFT
        if stood is Stand.HELD:
            self._held.pop(ticket, None)
            return []
        if stood is Stand.LEFT or ticket.pod is None:
            return []
        place = self._places[ticket.pod]
        if stood is Stand.QUEUES:
            place.queue.remove(ticket)
            return self._forgotten(place)
        place.running -= 1
        if place.queue and self._has_room(place):
            return [self._run(place.queue.popleft(), place)]
        return self._forgotten(place) + self._admitted()

    def set_pods(self, pods: Iterable[Pod]) -> list[Ticket]:
        """All that are ready now. Those who run from now on."""
        ready = sorted(set(pods))
        for pod in ready:
            self._places.setdefault(pod, _Place(pod))
        self._ready = [self._places[pod] for pod in ready]
        kept = set(ready)
        self._places = {
            pod: place for pod, place in self._places.items() if pod in kept or place.running or place.queue
        }
        return self._admitted()

    # -- by the activator ----------------------------------------------------------------------------------------------

    def _ask_any(self, ticket: Ticket) -> bool:
        if (place := self._with_room()) is not None:  # then nobody is held: whoever makes room hands it on
            self._run(ticket, place)
            return True
        if len(self._held) >= MOST_HELD:
            return False
        self._held[ticket] = None
        return True

    def _admitted(self) -> list[Ticket]:
        admitted = []
        while self._held and (place := self._with_room()) is not None:
            ticket = next(iter(self._held))
            del self._held[ticket]
            admitted.append(self._run(ticket, place))
        return admitted

    def _with_room(self) -> _Place | None:
        if not self._ready:
            return None
        if not self._concurrency:
            return self._less_busy_of_two()
        if self._concurrency <= _FIRST_AVAILABLE_UP_TO:
            return next(filter(self._has_room, self._ready), None)
        return self._next_with_room()

    def _less_busy_of_two(self) -> _Place:
        count = len(self._ready)
        if count == 1:
            return self._ready[0]
        first, second = 0, 1
        if count > 2:
            first, second = self._draw(count), self._draw(count - 1)
            second += second >= first
        one, other = self._ready[first], self._ready[second]
        if one.running == other.running:
            return (one, other)[self._draw(2)]
        return min(one, other, key=lambda each: each.running)

    def _next_with_room(self) -> _Place | None:
        count = len(self._ready)
        begin = self._turn if self._turn < count else 0
        for at in range(begin, begin + count):
            if self._has_room(self._ready[at % count]):
                self._turn = at % count + 1
                return self._ready[at % count]
        return None

    # -- past it -------------------------------------------------------------------------------------------------------

    def _ask_next(self, ticket: Ticket) -> bool:
        place = self._ready[self._turn % len(self._ready)]
        self._turn = self._turn % len(self._ready) + 1
        if self._has_room(place):
            self._run(ticket, place)
            return True
        ticket.pod = place.pod
        if len(place.queue) >= PLACES_AT_A_POD * self._concurrency:
            ticket.stand = Stand.LEFT
            return False
        ticket.stand = Stand.QUEUES
        place.queue.append(ticket)
        return True

    def _has_room(self, place: _Place) -> bool:
        return not self._concurrency or place.running < self._concurrency

    def _run(self, ticket: Ticket, place: _Place) -> Ticket:
        place.running += 1
        ticket.pod, ticket.stand = place.pod, Stand.RUNS
        return ticket

    def _forgotten(self, place: _Place) -> list[Ticket]:
        if not place.running and not place.queue and place not in self._ready:
            self._places.pop(place.pod, None)
        return []
