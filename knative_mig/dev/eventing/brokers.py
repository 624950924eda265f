"""A Broker's status: where it takes events, where its dead letters go, and whether it is ready.

Called by `reconciling`. The channel, the ingress and the filter that a cluster has for its Brokers are this process, so
their conditions are true as soon as anybody is there to say so.
"""

from typing import Final

from knative_mig.dev.conditions import Conditions
from knative_mig.dev.eventing.destinations import Unresolved, url_of
from knative_mig.dev.eventing.objects import CLASS, CLASS_ANNOTATION, Object, Seen, annotations

NEEDED: Final = (
    *("IngressReady", "TriggerChannelReady", "FilterReady", "Addressable"),
    *("DeadLetterSinkResolved", "EventPoliciesReady"),
)
DEAD_LETTERS: Final = "DeadLetterSinkResolved"
NO_DEAD_LETTERS: Final = ("DeadLetterSinkNotConfigured", "No dead letter sink is configured.")
UNRESOLVED_DEAD_LETTERS: Final = "Unable to get the dead letter sink's URI"
_NO_POLICIES: Final = ("OIDCDisabled", 'Feature "authentication-oidc" must be enabled to support Authorization')


def is_ours(broker: Object) -> bool:
    """Without a class it came past the webhook, which gives each the cluster's default."""
    return annotations(broker).get(CLASS_ANNOTATION, CLASS) == CLASS


def status_of(broker: Object, seen: Seen, url: str, now: float) -> Object:
    """`url`: where it takes events."""
    before = broker.get("status") or {}
    fields: Object = {key: value for key, value in before.items() if key != "deadLetterSinkUri"}
    conditions = Conditions(broker, NEEDED, now)
    for each in ("TriggerChannelReady", "FilterReady", "IngressReady"):
        conditions.true(each)
    sink = ((broker.get("spec") or {}).get("delivery") or {}).get("deadLetterSink")
    found = url_of(sink, broker["metadata"]["namespace"], seen) if sink else ""
    if isinstance(found, Unresolved):
        conditions.false(DEAD_LETTERS, UNRESOLVED_DEAD_LETTERS, found.why)
    else:
        if found:
            fields["deadLetterSinkUri"] = found
        conditions.true(DEAD_LETTERS, *(() if found else NO_DEAD_LETTERS))
        fields["address"] = {"name": "http", "url": url}
        conditions.true("Addressable")
        conditions.true("EventPoliciesReady", *_NO_POLICIES)
    fields["observedGeneration"] = broker["metadata"].get("generation")
    fields["conditions"] = conditions.written()
    return fields


def ready_of(status: Object) -> Object:
    """Its condition Ready."""
    return next(each for each in status["conditions"] if each["type"] == "Ready")
