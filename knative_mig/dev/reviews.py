"""How Knative's webhooks answer an AdmissionReview: it is let in, let in with what they fill in, or refused.

Used by the stand-ins of Knative's webhooks, which say what is filled in and what is wrong (`problems`).
"""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

Object = dict[str, Any]
# What filling in raises for an object of another form than its type's. It is to be let in: the API server, which looks
# at its form next, says where. The real webhooks say it themselves, in Go's words.
OF_ANOTHER_FORM: Final = (AttributeError, TypeError, ValueError)
_FILLED_IN: Final = ("metadata", "spec")


def request_of(review: bytes) -> Object:
    found: Object = json.loads(review)["request"]
    return found


def let_in(request: Object, warnings: Sequence[str] = ()) -> bytes:
    return _answer(request, {"allowed": True, **_told(warnings)})


def filled_in(request: Object, new: Object, found: Object) -> bytes:
    """`new`: as it came, `found`: as it is to be."""
    patch = [
        {"op": "add", "path": f"/{part}", "value": found[part]}
        for part in _FILLED_IN
        if part in found and found[part] != new.get(part)
    ]
    if not patch:
        return let_in(request)
    text = base64.b64encode(json.dumps(patch, separators=(",", ":")).encode()).decode()
    return _answer(request, {"allowed": True, "patchType": "JSONPatch", "patch": text})


def judged(request: Object, refusal: str, warnings: Sequence[str] = ()) -> bytes:
    """`refusal` empty: there is nothing to refuse it for."""
    if not refusal:
        return let_in(request, warnings)
    return refused(request, f"validation failed: {refusal}", warnings)


def refused(request: Object, why: str, warnings: Sequence[str] = ()) -> bytes:
    status = {"status": "Failure", "code": 400, "reason": "BadRequest", "message": why}
    return _answer(request, {"allowed": False, "status": status, **_told(warnings)})


def _told(warnings: Sequence[str]) -> Object:
    return {"warnings": list(warnings)} if warnings else {}


def _answer(request: Object, response: Mapping[str, Any]) -> bytes:
    body = {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {"uid": request.get("uid", ""), **response},
    }
    return json.dumps(body).encode()
