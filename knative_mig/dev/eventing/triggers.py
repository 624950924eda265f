"""A Trigger's status, and what of it is needed to deliver events: its subscription.

Called by `reconciling`. The subtle thing is a subscription that was made once: it stays while the Broker is not ready
and while the subscriber is not to be found. Events that come then are tried again and end as dead letters; they are
not passed over.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from knative_mig.adapters.kube.fields import Fields
from knative_mig.core.errors import BadInput
from knative_mig.dev.conditions import Conditions
from knative_mig.dev.eventing.brokers import DEAD_LETTERS, NO_DEAD_LETTERS, UNRESOLVED_DEAD_LETTERS
from knative_mig.dev.eventing.destinations import Unresolved, url_of
from knative_mig.dev.eventing.filters import Filter, filter_of
from knative_mig.dev.eventing.objects import Object, Seen, annotations, key_of
from knative_mig.dev.eventing.policies import Policy, policy_of
from knative_mig.ports.kube import Key

_BROKER: Final = "BrokerReady"
_SUBSCRIBED: Final = "SubscriptionReady"
_DEPENDENCY: Final = "DependencyReady"
_SUBSCRIBER: Final = "SubscriberResolved"
_IDENTITY: Final = "OIDCIdentityCreated"
NEEDED: Final = (_BROKER, _SUBSCRIBED, _DEPENDENCY, _SUBSCRIBER, DEAD_LETTERS, _IDENTITY)
DEPENDENCY_ANNOTATION: Final = "knative.dev/dependency"
_NO_DEPENDENCIES: Final = ("DependencyNotSupported", "there are no sources here whose readiness could be waited for")
_NO_IDENTITY: Final = "authentication-oidc feature disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSeen:
    """As it is now, its status that is just being written among it."""

    key: Key
    spec: Mapping[str, Any]
    ready: Mapping[str, Any]  # its condition
    dead_letters: str  # a URL; empty: none


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    trigger: Key
    uid: str
    broker: Key
    filter: Filter
    policy: Policy
    subscriber: str  # a URL; empty: it is not to be found
    dead_letters: str  # a URL; empty: none


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    status: Object
    subscription: Subscription | None


def decide(trigger: Object, broker: BrokerSeen | None, seen: Seen, now: float) -> Decided:
    status: Object = dict(trigger.get("status") or {})
    conditions = Conditions(trigger, NEEDED, now)
    conditions.true(_IDENTITY, _NO_IDENTITY)
    asked: tuple[Policy, Filter] | None = None
    if broker is None:
        name = (trigger.get("spec") or {}).get("broker", "")
        conditions.false(_BROKER, "BrokerDoesNotExist", f'Broker "{name}" does not exist')
    else:
        ready = broker.ready
        conditions.mark(_BROKER, ready["status"], ready.get("reason", ""), ready.get("message", ""))
        asked = _reconciled(trigger, broker, seen, conditions, status)
    status["observedGeneration"] = trigger["metadata"].get("generation")
    status["conditions"] = conditions.written()
    if broker is None or asked is None or not conditions.is_true(_SUBSCRIBED):
        return Decided(status=status, subscription=None)
    return Decided(
        status=status,
        subscription=Subscription(
            trigger=key_of(trigger),
            uid=trigger["metadata"]["uid"],
            broker=broker.key,
            policy=asked[0],
            filter=asked[1],
            subscriber=status.get("subscriberUri", ""),
            dead_letters=status.get("deadLetterSinkUri", ""),
        ),
    )


def _reconciled(
    trigger: Object, broker: BrokerSeen, seen: Seen, conditions: Conditions, status: Object
) -> tuple[Policy, Filter] | None:
    """Step by step; the first that fails leaves the rest as it was. None: nobody can make out what it asks for."""
    spec = trigger.get("spec") or {}
    try:
        policy = policy_of(Fields(spec.get("delivery") or broker.spec.get("delivery"), "delivery"))
        wanted = filter_of(Fields(spec, "spec"))
    except BadInput as bad:
        conditions.false(_SUBSCRIBED, "NotSubscribed", str(bad))
        return None
    if broker.ready["status"] == "True":
        _subscribe(trigger, broker, seen, conditions, status)
    return policy, wanted


def _subscribe(trigger: Object, broker: BrokerSeen, seen: Seen, conditions: Conditions, status: Object) -> None:
    spec, namespace = trigger.get("spec") or {}, trigger["metadata"]["namespace"]
    subscriber = url_of(spec.get("subscriber") or {}, namespace, seen)
    if isinstance(subscriber, Unresolved):
        status.pop("subscriberUri", None)
        conditions.false(_SUBSCRIBER, "Unable to get the Subscriber's URI", subscriber.why)
        return
    status["subscriberUri"] = subscriber
    conditions.true(_SUBSCRIBER)
    status.pop("deadLetterSinkUri", None)
    sink = (spec.get("delivery") or {}).get("deadLetterSink")
    letters = url_of(sink, namespace, seen) if sink else broker.dead_letters
    if isinstance(letters, Unresolved):
        conditions.false(DEAD_LETTERS, UNRESOLVED_DEAD_LETTERS, letters.why)
        return
    if letters:
        status["deadLetterSinkUri"] = letters
    conditions.true(DEAD_LETTERS, *(() if letters else NO_DEAD_LETTERS))
    conditions.true(_SUBSCRIBED)
    if DEPENDENCY_ANNOTATION in annotations(trigger):
        conditions.false(_DEPENDENCY, *_NO_DEPENDENCIES)
    else:
        conditions.true(_DEPENDENCY)
