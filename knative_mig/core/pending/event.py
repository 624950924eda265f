"""An ask as a CloudEvent: the same ask is the same event, whichever copy of the source sends it, and however often.

Called by `activator_hooks.source.desk`. Nothing in it is drawn or read from a clock: the id, and the trace that begins
with it, are made of what the API server said.
"""

import hashlib

from knative_mig.core.events import MOST_AT_ONCE, PENDING, Event, PendingRevision
from knative_mig.core.pending.asks import Ask
from knative_mig.core.pending.demand import Cause


def event_of(ask: Ask, time: str) -> Event:
    """`time`: the demand's `since` in RFC 3339, or nothing where that is not known."""
    demand = ask.demand
    told = PendingRevision(
        namespace=demand.function.namespace,
        revision=demand.function.name,
        profile=demand.profile,
        count=min(demand.count, MOST_AT_ONCE),
        revision_uid=demand.uid,
        told_by=id_of(ask),
    )
    return Event(
        source=f"/apis/serving.knative.dev/v1/namespaces/{told.namespace}/revisions/{told.revision}",
        id=told.told_by,
        type=PENDING,
        subject=f"{told.namespace}/{told.revision}",
        time=time,
        extensions={**told.extensions(), "traceparent": _traceparent(told.told_by)},
        data={"cause": str(demand.cause), **({"message": demand.why} if demand.why else {})},
    )


def id_of(ask: Ask) -> str:
    """Revision UID, generation of its PodAutoscaler, profile, count, attempt: the nth since then."""
    demand = ask.demand
    cause = "" if demand.cause is Cause.NO_SLICE else f"{demand.cause}-"
    attempt = f"{cause}{demand.since:.0f}-{ask.attempt}"
    return f"{demand.uid}/{demand.generation}/{demand.profile}/{demand.count}/{attempt}"


def _traceparent(identity: str) -> str:
    """Attempts are spans of one trace."""
    trace, _, _ = identity.rpartition("-")
    return f"00-{_hex(trace, 16)}-{_hex(identity, 8)}-01"


def _hex(text: str, size: int) -> str:
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()
