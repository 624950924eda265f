"""Where requests wait for a pod: which revision one is for, whether it may wait, and whose turn it is.

Pure: `gateway` calls it under its lock, with `now`, from the threads of the connections and of the mirrors. Whatever
changes who runs gives the tickets of those who do, and the caller rings for them once the lock is free.

The subtle thing is the mode of a revision. As a rule requests go by the activator, which holds and counts them; where
the autoscaler has taken it out of the way (`direct`), they go straight to the pods, whose queue-proxies count them,
unless there is no pod.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from knative_mig.core.kpa.stats import Stat
from knative_mig.dev.gateway import replies
from knative_mig.dev.gateway.facts import Pod, PodFacts, RevisionFacts, RouteFacts
from knative_mig.dev.gateway.load import Reporter, Told
from knative_mig.dev.gateway.pod_traffic import PodLedger
from knative_mig.dev.gateway.replies import Reply
from knative_mig.dev.gateway.routing import Table, chosen, function_at, host_of, table_of, unknown
from knative_mig.dev.gateway.throttle import Stand, Throttle, Ticket
from knative_mig.dev.gateway.timeouts import Limits
from knative_mig.ports.kube import Key

DOMAIN: Final = "localhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    ticket: Ticket
    limits: Limits
    poke: Told | None  # for the autoscaler, at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Of a revision, now."""

    held: int
    running: int


@dataclass(slots=True, eq=False)
class _Served:
    """A revision that is there."""

    facts: RevisionFacts
    throttle: Throttle
    running: int = 0
    ready: set[Pod] = field(default_factory=set)


class Hall:
    """`draw` gives a number below its argument, evenly; `is_function`: whether it is there, with a Route or before."""

    def __init__(
        self,
        draw: Callable[[int], int],
        domain: str = DOMAIN,
        *,
        is_function: Callable[[Key], bool] = lambda _: False,
    ) -> None:
        self._draw = draw
        self._is_function = is_function
        self._domain = domain
        self._routes: dict[Key, RouteFacts] = {}
        self._table: Table = {}
        self._revisions: dict[Key, _Served] = {}
        self._pods: dict[Key, PodFacts] = {}
        self._direct: set[Key] = set()
        self._reporter = Reporter()
        self._ledger = PodLedger()
        self._of_ticket: dict[Ticket, _Served] = {}

    # -- requests ------------------------------------------------------------------------------------------------------

    def revision_at(self, host_header: str) -> Key | Reply:
        host = host_of(host_header)
        if host is None:
            return replies.no_host(host_header)
        shares = self._table.get(host)
        if shares is None:
            return replies.not_found(self._unknown(host))
        return shares[0].revision if len(shares) == 1 else chosen(shares, self._draw(1_000_000) / 1_000_000)

    def _unknown(self, host: str) -> str:
        """A function has its Route a moment after it is made, and who has made it may ask before."""
        key, routes = function_at(host, self._domain), self._routes
        if key is not None and key not in routes and self._is_function(key):
            routes = {**routes, key: RouteFacts(traffic=())}
        return unknown(host, routes, self._table, self._domain)

    def enter(self, revision: Key, ring: Callable[[], None], now: float) -> Entered | Reply:
        served = self._revisions.get(revision)
        if served is None:
            return replies.no_revision(revision)
        throttle, by_activator = served.throttle, self.is_by_activator(revision)
        ticket = Ticket(revision=revision, by_activator=by_activator, ring=ring)
        # One that finds no place is counted too, as in Knative: what comes is demand.
        poke = self._reporter.came(revision, now) if by_activator else None
        if not throttle.ask(ticket):
            if by_activator:
                self._reporter.went(revision, now)
            elif ticket.pod is not None:
                self._ledger.came(ticket.pod.key, now, proxied=False)
                self._ledger.went(ticket.pod.key, now, proxied=False)
            return replies.queue_full(poke)
        self._of_ticket[ticket] = served
        if ticket.stand is not Stand.HELD:
            self._at_its_pod(ticket, now)
        return Entered(ticket=ticket, limits=served.facts.limits, poke=poke)

    def is_by_activator(self, revision: Key) -> bool:
        """Where a request of it goes now; and who would answer a probe that looks for the activator."""
        served = self._revisions.get(revision)
        return revision not in self._direct or served is None or not served.throttle.has_pods

    def leave(self, ticket: Ticket, now: float) -> list[Ticket]:
        """It is done, or has given up; to be said once. Those who run instead."""
        served = self._of_ticket.pop(ticket)
        if ticket.by_activator:
            self._reporter.went(ticket.revision, now)
        if ticket.pod is not None:
            served.running -= 1
            self._ledger.went(ticket.pod.key, now, proxied=ticket.by_activator)
        return self._begun(served.throttle.leave(ticket), now)

    def _begun(self, tickets: list[Ticket], now: float) -> list[Ticket]:
        for ticket in tickets:
            if ticket.by_activator:  # the others came to their pod when they queued there
                self._at_its_pod(ticket, now)
        return tickets

    def _at_its_pod(self, ticket: Ticket, now: float) -> None:
        assert ticket.pod is not None
        self._of_ticket[ticket].running += 1
        self._ledger.came(ticket.pod.key, now, proxied=ticket.by_activator)

    # -- what the API says ---------------------------------------------------------------------------------------------

    def route_changed(self, key: Key, facts: RouteFacts | None) -> None:
        if facts is None:
            self._routes.pop(key, None)
        else:
            self._routes[key] = facts
        self._table = table_of(self._routes, self._domain)

    def route(self, key: Key) -> RouteFacts | None:
        return self._routes.get(key)

    def revision_changed(self, key: Key, facts: RevisionFacts | None, now: float) -> list[Ticket]:
        """Who waits for one that is gone goes on waiting, until its time is over."""
        known = self._revisions.get(key)
        if facts is None:
            self._revisions.pop(key, None)
            return []
        if known is not None and known.facts.uid == facts.uid:
            known.facts = facts
            return []
        self._revisions[key] = _Served(facts, Throttle(facts.concurrency, self._draw))
        return self._with_ready_pods(key, now)

    def pod_changed(self, key: Key, facts: PodFacts | None, now: float) -> list[Ticket]:
        before = self._pods.get(key)
        if facts is None:
            self._pods.pop(key, None)
            self._ledger.went_away(key)
        else:
            self._pods[key] = facts
            self._ledger.appeared(key, now)
        revisions = {each.revision for each in (before, facts) if each is not None}
        return [ticket for revision in sorted(revisions) for ticket in self._with_ready_pods(revision, now)]

    def direct_changed(self, revision: Key, *, is_direct: bool) -> None:
        """Who is held already stays held."""
        (self._direct.add if is_direct else self._direct.discard)(revision)

    def _with_ready_pods(self, revision: Key, now: float) -> list[Ticket]:
        served = self._revisions.get(revision)
        if served is None:
            return []
        ready = {each.at for each in self._pods.values() if each.revision == revision and each.at is not None}
        if ready == served.ready:
            return []
        served.ready = ready
        return self._begun(served.throttle.set_pods(ready), now)

    # -- what is told --------------------------------------------------------------------------------------------------

    def report(self, now: float) -> list[Told]:
        """Each second: the activator's message. What the queue-proxies answer is new from now on."""
        self._ledger.take_stats(now)
        return self._reporter.report(now)

    def scraped(self, revision: Key) -> Mapping[Key, Stat]:
        """What the queue-proxies of the ready pods answer."""
        served = self._revisions.get(revision)
        return {pod.key: self._ledger.stat(pod.key) for pod in sorted(served.ready)} if served is not None else {}

    def last_came(self, pod: Key) -> float | None:
        return self._ledger.last_came(pod)

    def is_ready(self, pod: Pod) -> bool:
        facts = self._pods.get(pod.key)
        return facts is not None and facts.at == pod

    def loads(self) -> Mapping[Key, Load]:
        return {
            key: Load(held=served.throttle.held, running=served.running)
            for key, served in sorted(self._revisions.items())
        }
