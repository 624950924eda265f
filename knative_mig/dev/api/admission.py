"""Who is asked before a write is kept: webhooks, which may change an object and then may refuse it.

Called by `steps` for what is written, and by `deletion`. A hook is a function from an AdmissionReview's bytes to its
answer's, so that the project's own webhook is hung in with nothing between but what a cluster would have there too.
What happens where a hook fails is its own setting, as in a webhook configuration: the write is refused, or goes on as
if nobody had been asked. A condition that cannot be told of an object is such a failure too.
"""

import base64
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from knative_mig.dev.api import patches
from knative_mig.dev.api.refusals import Refusal, internal
from knative_mig.dev.api.routes import Asked
from knative_mig.dev.api.store import encoded

_log = logging.getLogger(__name__)
Object = dict[str, Any]
_REVIEW: Final = "admission.k8s.io/v1"


class Phase(StrEnum):
    MUTATE = "mutate"
    VALIDATE = "validate"


class OnFailure(StrEnum):
    REFUSE = "Fail"
    GO_ON = "Ignore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    name: str
    phase: Phase
    ask: Callable[[bytes], bytes]
    resources: tuple[str, ...]  # as `Kind.resource` names them; ("*",) is all
    operations: tuple[str, ...] = ("CREATE", "UPDATE")
    on_failure: OnFailure = OnFailure.REFUSE
    takes: Callable[[Object], bool] = lambda _: True  # of the object: a selector, a match condition


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    body: Object
    warnings: tuple[str, ...] = ()


def reviewed(
    hooks: Sequence[Hook],
    phase: Phase,
    asked: Asked,
    operation: str,
    *,
    new: Object | None,
    old: Object | None,
    uid: str,
) -> Reviewed:
    """Refusal: a hook said no, or failed where that is a no."""
    body, warnings = new, []
    for hook in hooks:
        about = body if body is not None else old
        if (
            hook.phase is not phase
            or operation not in hook.operations
            or not ("*" in hook.resources or asked.kind.resource in hook.resources)
            or about is None
        ):
            continue
        try:
            if not hook.takes(about):
                continue
            answer = json.loads(hook.ask(encoded(_review(asked, operation, body, old, uid))))["response"]
            allowed = bool(answer["allowed"])
        except Exception as error:
            _log.warning("Admission hook %s failed: %s", hook.name, error)
            if hook.on_failure is OnFailure.GO_ON:
                continue
            raise internal(f'failed calling webhook "{hook.name}": {error or type(error).__name__}') from error
        warnings += [str(each) for each in answer.get("warnings") or ()]
        if not allowed:
            raise _denied(hook, answer.get("status") or {})
        if body is not None and answer.get("patch"):
            body = patches.patched(body, json.loads(base64.b64decode(answer["patch"])))
    return Reviewed(body=body if body is not None else {}, warnings=tuple(warnings))


def _denied(hook: Hook, status: Object) -> Refusal:
    why = status.get("message") or status.get("reason")
    told = f": {why}" if why else " without explanation"
    code = int(status.get("code") or 403)
    reason = str(status.get("reason") or {400: "BadRequest", 403: "Forbidden", 422: "Invalid"}.get(code, ""))
    return Refusal(code, reason, f'admission webhook "{hook.name}" denied the request{told}')


def _review(asked: Asked, operation: str, new: Object | None, old: Object | None, uid: str) -> Object:
    kind = asked.kind
    about = new or old or {}
    gvk = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    gvr = {"group": kind.group, "version": kind.version, "resource": kind.plural}
    below = {"subResource": asked.below, "requestSubResource": asked.below} if asked.below else {}
    return {
        "kind": "AdmissionReview",
        "apiVersion": _REVIEW,
        "request": {
            "uid": uid,
            "kind": gvk,
            "resource": gvr,
            "requestKind": gvk,
            "requestResource": gvr,
            **below,
            "name": about.get("metadata", {}).get("name", ""),
            **({"namespace": asked.namespace} if asked.namespace else {}),
            "operation": operation,
            "userInfo": asked.user,
            "object": new,
            "oldObject": old,
            "dryRun": asked.is_dry,
            "options": {"kind": f"{operation.capitalize()}Options", "apiVersion": "meta.k8s.io/v1"},
        },
    }
