"""What became of a revision's wish for a slice, and the CloudEvent that tells of it.

Found by `watch`, told by `reconfigurer.planner.announcing`. The same outcome is the same event, whichever leader tells
of it: its id is made of what the API server and the GPUs call things, never of a clock.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from knative_mig.core.events import UNSATISFIABLE, Event, PendingRevision
from knative_mig.core.inventory import Function
from knative_mig.core.mover.values import Spot
from knative_mig.core.profile import ProfileName

_TRACEPARENT: Final = re.compile(r"00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """`cause`: the pending event that it goes back to, where one is known. `reason`, `text`: for people, as the
    Kubernetes Event on the Revision has them.
    """

    type: str  # one of events.OUTCOMES
    id: str
    function: Function
    revision_uid: str
    profile: ProfileName
    reason: str
    text: str
    spot: Spot | None = None
    cause: PendingRevision | None = None
    data: Mapping[str, object] = field(default_factory=dict)

    @property
    def is_bad(self) -> bool:
        return self.type == UNSATISFIABLE


def event_of(outcome: Outcome, time: str) -> Event:
    """`time`: when it was seen, in RFC 3339."""
    namespace, revision = outcome.function.namespace, outcome.function.name
    extensions = {
        "migprofile": str(outcome.profile),
        "revisionuid": outcome.revision_uid,
        "traceparent": _traceparent(outcome),
    }
    if outcome.spot:
        place = outcome.spot.slice
        extensions |= {"gpu": place.gpu, "start": str(place.start), "node": outcome.spot.node}
    if outcome.cause:
        extensions["pendingid"] = outcome.cause.told_by
    return Event(
        source=f"/apis/serving.knative.dev/v1/namespaces/{namespace}/revisions/{revision}",
        id=outcome.id,
        type=outcome.type,
        subject=f"{namespace}/{revision}",
        time=time,
        extensions=extensions,
        data={**outcome.data, "message": outcome.text},
    )


def _traceparent(outcome: Outcome) -> str:
    """A span of the trace that the pending event began, or of one that begins here."""
    begun = _TRACEPARENT.fullmatch(outcome.cause.traceparent) if outcome.cause else None
    trace = begun[1] if begun else _hex(outcome.id.rpartition("/")[0], 16)
    return f"00-{trace}-{_hex(outcome.id, 8)}-01"


def _hex(text: str, size: int) -> str:
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()
