"""The gateway of a process: its hall behind one lock, what it tells the autoscaler, and its connections to pods.

Made by the composing process and by tests; `mirrors` feeds it, `server` serves its port. Decisions are `hall`'s; what
is here keeps one thread at a time in it, rings for those whose turn it is, and tells. A lock of its own for each
revision would buy nothing: what is done under it takes microseconds.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Final

from knative_mig.core.kpa.stats import Stat
from knative_mig.dev.gateway.facts import Pod, PodFacts, RevisionFacts, RouteFacts
from knative_mig.dev.gateway.hall import DOMAIN, Entered, Hall, Load
from knative_mig.dev.gateway.pod_connections import PodConnections
from knative_mig.dev.gateway.ports import Autoscaler
from knative_mig.dev.gateway.replies import Reply
from knative_mig.dev.gateway.throttle import Ticket
from knative_mig.ports.kube import Key

TELLS_EACH_S: Final = 1.0
MOST_KEPT: Final = 6_000


class Gateway:
    def __init__(
        self,
        autoscaler: Autoscaler,
        *,
        most_kept: int = MOST_KEPT,
        domain: str = DOMAIN,
        clock: Callable[[], float] = time.monotonic,
        random: Random | None = None,
        is_function: Callable[[Key], bool] = lambda _: False,
    ) -> None:
        """`most_kept`: connections to pods that nobody uses just now."""
        self.clock = clock
        self.connections = PodConnections(self._is_ready, most_kept=most_kept)
        self._autoscaler = autoscaler
        self._lock = threading.Lock()
        draw = (random or Random()).randrange  # noqa: S311  it spreads load, and keeps no secret
        self._hall = Hall(draw, domain, is_function=is_function)
        self._addresses: dict[Key, Pod] = {}

    # -- requests, on the threads of their connections -----------------------------------------------------------------

    def revision_at(self, host: str) -> Key | Reply:
        with self._lock:
            return self._hall.revision_at(host)

    def enter(self, revision: Key, ring: Callable[[], None]) -> Entered | Reply:
        with self._lock:
            entered = self._hall.enter(revision, ring, self.clock())
        if entered.poke is not None:
            self._autoscaler.told([entered.poke])
        return entered

    def leave(self, ticket: Ticket) -> None:
        with self._lock:
            begun = self._hall.leave(ticket, self.clock())
        _ring(begun)

    # -- what the API says, on the threads of its mirrors --------------------------------------------------------------

    def route_changed(self, key: Key, facts: RouteFacts | None) -> None:
        with self._lock:
            self._hall.route_changed(key, facts)

    def revision_changed(self, key: Key, facts: RevisionFacts | None) -> None:
        with self._lock:
            begun = self._hall.revision_changed(key, facts, self.clock())
        _ring(begun)

    def pod_changed(self, key: Key, facts: PodFacts | None) -> None:
        with self._lock:
            begun = self._hall.pod_changed(key, facts, self.clock())
            at = facts.at if facts is not None else None
            before = self._addresses.pop(key, None)
            if at is not None:
                self._addresses[key] = at
        _ring(begun)
        if before is not None and before != at:
            self.connections.forget(before)

    def direct_changed(self, revision: Key, *, is_direct: bool) -> None:
        with self._lock:
            self._hall.direct_changed(revision, is_direct=is_direct)

    def route(self, key: Key) -> RouteFacts | None:
        """By which requests go now."""
        with self._lock:
            return self._hall.route(key)

    # -- what is told --------------------------------------------------------------------------------------------------

    def tell(self, stop: threading.Event) -> None:
        """The autoscaler, each second, until `stop`: a thread's body."""
        at = self.clock()
        while not stop.wait(max(0.0, (at := max(at + TELLS_EACH_S, self.clock())) - self.clock())):
            with self._lock:
                messages = self._hall.report(self.clock())
            if messages:
                self._autoscaler.told(messages)

    def is_by_activator(self, revision: Key) -> bool:
        """Whether a probe of its service finds the activator, which the autoscaler waits for before it goes to zero."""
        with self._lock:
            return self._hall.is_by_activator(revision)

    def scraped(self, revision: Key) -> Mapping[Key, Stat]:
        """What the queue-proxies of its ready pods answer, by pod: averages over the second that `tell` ended last."""
        with self._lock:
            return self._hall.scraped(revision)

    def last_came(self, pod: Key) -> float | None:
        """For who ends a pod: when it had its last request. It takes no new ones once it is deleted."""
        with self._lock:
            return self._hall.last_came(pod)

    def loads(self) -> Mapping[Key, Load]:
        with self._lock:
            return self._hall.loads()

    def _is_ready(self, pod: Pod) -> bool:
        with self._lock:
            return self._hall.is_ready(pod)


def _ring(begun: Sequence[Ticket]) -> None:
    for ticket in begun:
        ticket.ring()
