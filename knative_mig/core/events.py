"""CloudEvents as values: what came in, why it was refused, and the one that tells of a revision in want of slices.
Those that tell what became of it are `core.outcomes`'.

Made by `adapters.cloud_events`, taken by the planner's door. The subtle thing is how little rests on an event: it may
be lost, come twice, late or from anybody, so it says only where to look, and nothing is planned from what it claims.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Final, Self

from knative_mig.core.errors import BadInput
from knative_mig.core.profile import ProfileName

PENDING: Final = "dev.knative-mig.revision.pending.v1"
# What became of it.
PROVISIONED: Final = "dev.knative-mig.slice.provisioned.v1"
UNSATISFIABLE: Final = "dev.knative-mig.slice.unsatisfiable.v1"
RELEASED: Final = "dev.knative-mig.slice.released.v1"
MIGRATED: Final = "dev.knative-mig.function.migrated.v1"
OUTCOMES: Final = (PROVISIONED, UNSATISFIABLE, RELEASED, MIGRATED)
MOST_AT_ONCE: Final = 10_000  # of a revision's slices; more than any cluster has GPUs for
# Characters of an id that are shown: the pending source's have some 90, and all differ at their end.
LONGEST_ID: Final = 160
_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A CloudEvent 1.0 whose data are a JSON object, the same from whichever mode it came in."""

    source: str
    id: str
    type: str
    subject: str = ""
    time: str = ""  # RFC 3339, in one spelling
    dataschema: str = ""
    extensions: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, object] = field(default_factory=dict)

    @property
    def traceparent(self) -> str:
        return self.extensions.get("traceparent", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class RawEvent:
    """As it came over HTTP, to be sent on as it is."""

    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    forwarded: bool = False  # by another replica: it is not sent on again


class Why(IntEnum):
    """As HTTP says it. None of them is sent again by Knative, which repeats 404, 408, 409, 429 and every 5xx."""

    MALFORMED = 400
    TOO_LARGE = 413
    UNSUPPORTED = 415


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """An event that will be no better when it is sent again."""

    status: Why
    reason: str  # one line


class Delivered(StrEnum):
    TAKEN = "taken"
    REFUSED = "refused"  # it would be no better when it is sent again
    FAILED = "failed"  # by a sink that was away, or that asked for it again


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What became of an event that was sent."""

    outcome: Delivered
    reason: str = ""  # why it was not taken
    retry_after_s: float = 0.0  # where the sink said so


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingRevision:
    """A revision that wants so many more slices of a profile than it has."""

    namespace: str
    revision: str
    profile: ProfileName
    count: int
    revision_uid: str
    told_by: str  # the event's id
    traceparent: str = ""  # the event's

    @classmethod
    def of(cls, event: Event) -> Self:
        """BadInput: the event does not say it, or says it wrongly."""
        namespace, _, revision = event.subject.partition("/")
        if not _LABEL.fullmatch(namespace) or not _LABEL.fullmatch(revision):
            raise BadInput(f"the subject is {shown(event.subject)}: it is written namespace/revision")
        profile, count, uid = (_said(event, name) for name in ("migprofile", "count", "revisionuid"))
        if not (count.isascii() and count.isdecimal() and len(count) <= 5 and 1 <= int(count) <= MOST_AT_ONCE):
            raise BadInput(f"count is {shown(count)}: legal is a number from 1 to {MOST_AT_ONCE}")
        if not uid:
            raise BadInput("revisionuid is empty")
        if len(profile) > 32:
            raise BadInput(f"migprofile is {shown(profile)}: it is written like 3g.20gb")
        return cls(
            namespace=namespace,
            revision=revision,
            profile=ProfileName.parse(profile),
            count=int(count),
            revision_uid=uid,
            told_by=event.id,
            traceparent=event.traceparent,
        )

    def extensions(self) -> dict[str, str]:
        """What an event that tells of it carries, beside its subject `namespace/revision`."""
        return {"migprofile": str(self.profile), "count": str(self.count), "revisionuid": self.revision_uid}


def _said(event: Event, name: str) -> str:
    value = event.extensions.get(name)
    if value is None:
        raise BadInput(
            f"the extension {name} is missing: {PENDING} has {_listed(('migprofile', 'count', 'revisionuid'))}"
        )
    return value


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def shown(text: str, most: int = 60) -> str:
    """What somebody sent, safe to be printed on one line."""
    return ascii(text if len(text) <= most else f"{text[: most - 3]}...")
