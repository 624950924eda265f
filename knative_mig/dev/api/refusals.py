"""What the API server says no with: the Status objects, worded as the real one words them.

Raised everywhere in this package and written by `service`; clients parse the reason, the details and the causes, and
people read the message, so all of them count.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from knative_mig.dev.api.kinds import Kind

Json = dict[str, Any]
_MODIFIED: Final = "the object has been modified; please apply your changes to the latest version and try again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One thing that is wrong with an object."""

    reason: str
    message: str
    field: str


class Refusal(Exception):
    def __init__(
        self, code: int, reason: str, message: str, *, details: Json | None = None, retry_after_s: int = 0
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = dict(details or {})
        self._has_details = details is not None
        self.retry_after_s = retry_after_s
        if retry_after_s:
            self.details["retryAfterSeconds"] = retry_after_s

    @property
    def body(self) -> Json:
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            **({"reason": self.reason} if self.reason else {}),
            **({"details": self.details} if self.details or self._has_details else {}),
            "code": self.code,
        }


def _of(kind: Kind, name: str) -> Json:
    found = {"name": name, "group": kind.group, "kind": kind.plural}
    return {key: value for key, value in found.items() if value}


def not_found(kind: Kind, name: str) -> Refusal:
    return Refusal(404, "NotFound", f'{kind.resource} "{name}" not found', details=_of(kind, name))


def already_exists(kind: Kind, name: str) -> Refusal:
    return Refusal(409, "AlreadyExists", f'{kind.resource} "{name}" already exists', details=_of(kind, name))


def conflict(kind: Kind, name: str, why: str = _MODIFIED) -> Refusal:
    message = f'Operation cannot be fulfilled on {kind.resource} "{name}": {why}'
    return Refusal(409, "Conflict", message, details=_of(kind, name))


def apply_conflict(causes: Sequence[Cause]) -> Refusal:
    count = f"{len(causes)} conflict{'s' if len(causes) > 1 else ''}"
    message = f"Apply failed with {count}: {_told(causes)}"
    details = {"causes": [{"reason": each.reason, "message": each.message, "field": each.field} for each in causes]}
    return Refusal(409, "Conflict", message, details=details)


def _told(causes: Sequence[Cause]) -> str:
    """One manager's fields stand together."""
    if len(causes) == 1:
        return f"{causes[0].message}: {causes[0].field}"
    by_manager: dict[str, list[str]] = {}
    for each in causes:
        by_manager.setdefault(each.message.replace("conflict", "conflicts", 1), []).append(each.field)
    lines = [
        line for who, fields in sorted(by_manager.items()) for line in (f"{who}:", *(f"- {each}" for each in fields))
    ]
    return "\n".join(lines)


def forbidden(kind: Kind, name: str, why: str) -> Refusal:
    named = f' "{name}"' if name else ""
    return Refusal(403, "Forbidden", f"{kind.resource}{named} is forbidden: {why}", details=_of(kind, name))


def unversioned(kind: Kind, name: str) -> Refusal:
    """An update that does not say over which version. Here the resource is named where others name the kind."""
    message = "Invalid value: 0: must be specified for an update"
    cause = Cause(reason="FieldValueInvalid", field="metadata.resourceVersion", message=message)
    return invalid(replace(kind, kind=kind.plural), name, [cause])


def invalid(kind: Kind, name: str, causes: Sequence[Cause]) -> Refusal:
    told = [f"{each.field}: {each.message}" if each.field else each.message for each in causes]
    unique = list(dict.fromkeys(told))
    text = unique[0] if len(unique) == 1 else f"[{', '.join(unique)}]"
    details: Json = {"name": name, "group": kind.group, "kind": kind.kind}
    details["causes"] = [{"reason": each.reason, "message": each.message, "field": each.field} for each in causes]
    details = {key: value for key, value in details.items() if value}
    return Refusal(422, "Invalid", f'{kind.qualified_kind} "{name}" is invalid: {text}', details=details)


def invalid_options(kind: Kind, options: str, cause: Cause) -> Refusal:
    """Of what a request's query says."""
    return invalid(replace(kind, kind=options, group="meta.k8s.io"), "", [cause])


def bad_request(message: str) -> Refusal:
    return Refusal(400, "BadRequest", message)


def unprocessable(why: str) -> Refusal:
    """A JSON patch that does not fit the object. The real one keeps why to itself, so that is all that clients see."""
    refused = Refusal(422, "Invalid", "the server rejected our request due to an error in our request", details={})
    refused.add_note(why)
    return refused


def method_not_allowed(method: str, path: str) -> Refusal:
    message = f"the server does not allow this method on the requested resource: {method} {path}"
    return Refusal(405, "MethodNotAllowed", message)


def not_acceptable(asked: str, served: Sequence[str]) -> Refusal:
    message = f"only the following media types are accepted: {', '.join(served)}; asked was for {asked}"
    return Refusal(406, "NotAcceptable", message)


def unsupported_media_type(sent: str, taken: Sequence[str]) -> Refusal:
    message = (
        "the body of the request was in an unknown format - accepted media types include: "
        f"{', '.join(taken)}; this was {sent or 'without one'}"
    )
    return Refusal(415, "UnsupportedMediaType", message)


def too_large(limit: int) -> Refusal:
    return Refusal(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}")


def expired(message: str) -> Refusal:
    return Refusal(410, "Expired", message)


def from_the_future(asked: int, newest: int) -> Refusal:
    """A resourceVersion that is not reached: a client of an earlier life of this server has it."""
    message = f"Timeout: Too large resource version: {asked}, current: {newest}"
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    return Refusal(504, "Timeout", message, details={"causes": causes}, retry_after_s=1)


def internal(why: str) -> Refusal:
    return Refusal(500, "InternalError", f"Internal error occurred: {why}", details={"causes": [{"message": why}]})


def no_such_path(method: str, path: str) -> Refusal:
    message = f"the server could not find the requested resource: {method} {path}"
    return Refusal(404, "NotFound", message, details={})  # which clients look into without a look whether it is there
