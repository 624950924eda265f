"""AdmissionReview v1: from the JSON that an API server posts to what core decides on, and back as JSON Patch.

Called by `admission`. A body that is no review is BadInput. The subtle thing is the patch: a Service may lack each
object on the way to what is set, and a patch that names one that is absent is an error, which the API server would lay
at its author's door.
"""

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from knative_mig.adapters.kube.fields import Fields
from knative_mig.core.admission.function import Part, Place, Setting
from knative_mig.core.admission.pods import Additions, ForRelay
from knative_mig.core.cluster.objects import Toleration
from knative_mig.core.errors import BadInput
from knative_mig.core.gpu_node import GATE
from knative_mig.core.relays import SECRET_FOLDER, SECRET_NAME

Object = dict[str, Any]
_VERSION: Final = "admission.k8s.io/v1"
_LONGEST_WARNING: Final = 256  # of which the API server passes on no more
_LONGEST_REFUSAL: Final = 4096


class Operation(StrEnum):
    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    CONNECT = "CONNECT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    uid: str
    operation: Operation
    namespace: str
    resource: str  # like services.serving.knative.dev, and with the subresource if one is meant
    object: Object | None
    old: Object | None
    dry_run: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    refusal: str = ""  # empty: it is let in
    patch: tuple[Object, ...] = ()
    warnings: tuple[str, ...] = ()


def read(body: bytes) -> Review:
    """BadInput: it is no AdmissionReview that can be answered."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"the body is no JSON: {type(error).__name__}") from None
    top = Fields(content, "")
    if top.text("apiVersion") != _VERSION or top.text("kind") != "AdmissionReview":
        raise BadInput(f"the body is no AdmissionReview of {_VERSION}")
    request = top.child("request")
    resource = request.child("resource")
    names = [resource.name("resource"), resource.text("group")]
    return Review(
        uid=request.name("uid"),
        operation=request.parsed("operation", Operation, f"one of {', '.join(Operation)}"),
        namespace=request.text("namespace"),
        resource="/".join(filter(None, (".".join(filter(None, names)), request.text("subResource")))),
        object=_object(request, "object"),
        old=_object(request, "oldObject"),
        dry_run=request.flag("dryRun"),
    )


def _object(request: Fields, key: str) -> Object | None:
    values = request.child(key).values
    return dict(values) if values else None


def written(uid: str, verdict: Verdict) -> bytes:
    response: Object = {"uid": uid, "allowed": not verdict.refusal}
    if verdict.refusal:
        response["status"] = {"code": 400, "reason": "BadRequest", "message": _cut(verdict.refusal, _LONGEST_REFUSAL)}
    elif verdict.patch:
        response |= {"patchType": "JSONPatch", "patch": _base64(json.dumps(verdict.patch, separators=(",", ":")))}
    if verdict.warnings:
        response["warnings"] = [_cut(each, _LONGEST_WARNING) for each in verdict.warnings]
    return json.dumps({"apiVersion": _VERSION, "kind": "AdmissionReview", "response": response}).encode()


def of_settings(service: Mapping[str, Any], edits: Mapping[Place, Setting | None]) -> tuple[Object, ...]:
    """On a Knative Service's revision template."""
    if not edits:
        return ()
    roots: dict[Part, tuple[str, ...]] = {
        Part.ANNOTATIONS: ("spec", "template", "metadata", "annotations"),
        Part.SPEC: ("spec", "template", "spec"),
    }
    operations: list[Object] = []
    for part, path in roots.items():
        mine = sorted((place.name, value) for place, value in edits.items() if place.part is part)
        if any(value is not None for _, value in mine):
            operations += _made(service, path, already=operations)
        operations += [_set(path, name, value) for name, value in mine]
    return tuple(operations)


def of_additions(pod: Mapping[str, Any], added: Additions) -> tuple[Object, ...]:
    operations: list[Object] = []
    if added.toleration:
        operations += _appended(pod["spec"], ("spec", "tolerations"), _toleration(added.toleration))
    if added.gate:
        operations += _appended(pod["spec"], ("spec", "schedulingGates"), {"name": GATE})
    if added.secret:
        # Optional: a pod is not to wait for it, and serves without.
        volume = {"name": SECRET_NAME, "secret": {"secretName": SECRET_NAME, "optional": True}}
        operations += _appended(pod["spec"], ("spec", "volumes"), volume)
    for each in added.relays:
        operations += _for_relay(pod["spec"]["containers"][each.container], each)
    return tuple(operations)


def _for_relay(container: Mapping[str, Any], added: ForRelay) -> list[Object]:
    path = ("spec", "containers", str(added.container))
    variables = [{"name": name, "value": value} for name, value in sorted(added.variables.items())]
    operations = _appended(container, (*path, "env"), *variables)
    if added.secret:
        mount = {"name": SECRET_NAME, "mountPath": SECRET_FOLDER, "readOnly": True}
        operations += _appended(container, (*path, "volumeMounts"), mount)
    return operations


def _made(body: Mapping[str, Any], path: tuple[str, ...], already: Iterable[Object]) -> list[Object]:
    """An object for each step of the way that is absent, or null, which is the same."""
    there = {each["path"] for each in already}
    found: Any = body
    operations: list[Object] = []
    for depth, step in enumerate(path, 1):
        found = found.get(step) if isinstance(found, Mapping) else None
        if found is None and _pointer(*path[:depth]) not in there:
            operations.append({"op": "add", "path": _pointer(*path[:depth]), "value": {}})
    return operations


def _set(path: tuple[str, ...], name: str, value: Setting | None) -> Object:
    if value is None:
        return {"op": "remove", "path": _pointer(*path, name)}
    return {"op": "add", "path": _pointer(*path, name), "value": value}


def _appended(inside: Mapping[str, Any], path: tuple[str, ...], *values: Object) -> list[Object]:
    """To the list at `path`, which is an entry of `inside`."""
    if inside.get(path[-1]) is None:
        return [{"op": "add", "path": _pointer(*path), "value": [*values]}]
    return [{"op": "add", "path": _pointer(*path, "-"), "value": value} for value in values]


def _toleration(value: Toleration) -> Object:
    body = {"key": value.key, "operator": "Exists" if value.exists else "Equal", "value": value.value}
    return {key: text for key, text in {**body, "effect": value.effect}.items() if text}


def _pointer(*steps: str) -> str:
    return "".join(f"/{each.replace('~', '~0').replace('/', '~1')}" for each in steps)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
