"""Turns what the API server refused into the errors of `ports.kube`, with the server's own words.

Called by `client`, and by `reflector` for the Status objects that come in a watch.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from knative_mig.ports.kube import (
    AlreadyExists,
    ApiUnreachable,
    ClusterError,
    Conflict,
    Forbidden,
    ObjectNotFound,
    Refused,
    TooManyRequests,
)


class Gone(ClusterError):
    """The history that was asked for is no longer kept, or is yet to come where an older copy of etcd was restored or
    another server is at that address: list anew. It does not leave the adapter.
    """

    reason = "Expired"


_OF_CODE: Final[Mapping[int, type[ClusterError]]] = {
    400: Refused,
    401: Forbidden,
    403: Forbidden,
    404: ObjectNotFound,
    405: Refused,
    409: Conflict,
    410: Gone,
    413: Refused,
    415: Refused,
    422: Refused,
    429: TooManyRequests,
}

_TOO_NEW: Final = "ResourceVersionTooLarge"  # a cause; the code is 504, as of a server that is away


def answered_no(what: str, code: int, headers: Mapping[str, str], body: bytes) -> ClusterError:
    """The error to raise. `body` is a Status, or whatever a proxy in between wrote."""
    try:
        status = json.loads(body)
    except ValueError:
        status = None
    if not isinstance(status, dict):
        status = {"message": body.decode(errors="replace").strip()[:300]}
    error = of_status(what, {**status, "code": code})
    if isinstance(error, TooManyRequests) and error.retry_after_s is None:
        error.retry_after_s = _seconds(headers.get("Retry-After"))
    return error


def of_status(what: str, status: Mapping[str, Any]) -> ClusterError:
    code = status.get("code")
    kind = _OF_CODE.get(code, ApiUnreachable) if isinstance(code, int) else ApiUnreachable
    details = status.get("details")
    details = details if isinstance(details, dict) else {}
    if status.get("reason") == "AlreadyExists":
        kind = AlreadyExists
    elif _TOO_NEW in _reasons(details.get("causes")):
        kind = Gone
    said = str(status.get("message") or status.get("reason") or "without a reason")
    error = kind(f"{what}: {code}: {said}")
    error.said = said
    if isinstance(error, TooManyRequests):
        error.retry_after_s = _seconds(details.get("retryAfterSeconds"))
    return error


def _reasons(causes: object) -> list[object]:
    return [each.get("reason") for each in causes if isinstance(each, dict)] if isinstance(causes, list) else []


def _seconds(value: object) -> float | None:
    """Whole seconds; the header's other form, a date, is not sent by API servers."""
    text = str(value)
    return float(text) if text.isascii() and text.isdigit() and int(text) > 0 else None
