"""One object, seen in the version that it is asked for: events are the only kind here that has two.

Called by `steps` on the way in and by `reads` and `watches` on the way out.
"""

from collections.abc import Mapping
from typing import Any, Final

from knative_mig.dev.api.kinds import Kind

Object = dict[str, Any]
_STORED: Final[Mapping[str, str]] = {
    "note": "message",
    "regarding": "involvedObject",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
_SHOWN: Final = {stored: shown for shown, stored in _STORED.items()}


def stored(body: Object, kind: Kind) -> Object:
    if not kind.stored_as:
        return body
    renamed = {_STORED.get(key, key): value for key, value in body.items()}
    return {**renamed, "apiVersion": "v1"}


def shown(body: Object, kind: Kind) -> Object:
    if not kind.stored_as:
        return body
    renamed = {_SHOWN.get(key, key): value for key, value in body.items()}
    return {**renamed, "apiVersion": kind.api_version}
