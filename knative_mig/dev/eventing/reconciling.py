"""What all Brokers' and Triggers' statuses are to be, and whom there is to deliver to, from all that is seen.

Called by `controllers` after any change. The subtle thing is that a Trigger goes by its Broker's status as it is being
written, not as it was: otherwise each change would take a round through the API for each of the two.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from knative_mig.adapters.kube.kinds import Kind
from knative_mig.dev.eventing import brokers, triggers
from knative_mig.dev.eventing.objects import BROKER, TRIGGER, Object, Seen
from knative_mig.dev.eventing.triggers import BrokerSeen, Subscription
from knative_mig.ports.kube import Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    statuses: Mapping[tuple[Kind, Key], Object]
    brokers: frozenset[Key]
    subscriptions: tuple[Subscription, ...]


def decide(seen: Seen, address: Callable[[Key], str], now: float) -> Decided:
    statuses: dict[tuple[Kind, Key], Object] = {}
    there: dict[Key, BrokerSeen] = {}
    for key, body in seen[BROKER].items():
        if brokers.is_ours(body):
            status = statuses[(BROKER, key)] = brokers.status_of(body, seen, address(key), now)
            there[key] = BrokerSeen(
                key=key,
                spec=body.get("spec") or {},
                ready=brokers.ready_of(status),
                dead_letters=status.get("deadLetterSinkUri", ""),
            )
    subscriptions = []
    for key, body in seen[TRIGGER].items():
        its = Key(key.namespace, (body.get("spec") or {}).get("broker", ""))
        if its in seen[BROKER] and its not in there:
            continue  # of another class
        decided = triggers.decide(body, there.get(its), seen, now)
        statuses[(TRIGGER, key)] = decided.status
        if decided.subscription is not None:
            subscriptions.append(decided.subscription)
    return Decided(statuses=statuses, brokers=frozenset(there), subscriptions=tuple(subscriptions))
