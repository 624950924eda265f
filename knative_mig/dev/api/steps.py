"""The steps that an object takes before it is kept: read, told what was wrong with it, completed, reviewed, judged.

Called by `writes`, `updates` and `subresources`, which say for what. `World` is what all of them need beside the
request; `Work` is one request with the warnings that gather on its way.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from knative_mig.adapters.kube.quantity import NO_QUANTITY
from knative_mig.dev.api import causes, decoding, defaults, protobuf, refusals, validation
from knative_mig.dev.api.admission import Hook, Phase, reviewed
from knative_mig.dev.api.kinds import Kind, Kinds
from knative_mig.dev.api.refusals import Refusal
from knative_mig.dev.api.routes import Asked
from knative_mig.dev.api.schema import Schema, Types
from knative_mig.dev.api.store import Key, Store, Stored
from knative_mig.dev.api.versions import stored as stored_form
from knative_mig.dev.nulls import without_nulls

Object = dict[str, Any]
# Types that are sent and are no kind of object that is kept.
_BESIDE: Final = {
    "DeleteOptions": "meta.v1.DeleteOptions",
    "Eviction": "policy.v1.Eviction",
    "Binding": "core.v1.Binding",
    "Scale": "autoscaling.v1.Scale",
}
_GO_TYPES: Final = {"integer": "int", "boolean": "bool", "array": "[]", "object": "struct"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    body: Object
    code: int = 200
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a write needs beside the request."""

    store: Store
    kinds: Kinds
    types: Types
    hooks: Callable[[], Sequence[Hook]]
    now: Callable[[], datetime]
    new_uid: Callable[[], str]

    def timestamp(self) -> str:
        return self.now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def schema(self, kind: Kind) -> Schema:
        return self.types.named(kind.type)


@dataclass(slots=True)
class Work:
    """One write: what is known of it from the start, and the warnings that gather on the way."""

    world: World
    asked: Asked
    warnings: list[str] = field(default_factory=list)

    @property
    def kind(self) -> Kind:
        return self.asked.kind

    @property
    def schema(self) -> Schema:
        return self.world.schema(self.kind)

    @property
    def at(self) -> tuple[str, str]:
        return self.kind.api_version, self.world.timestamp()


def sent(world: World, asked: Asked) -> tuple[Any, list[str]]:
    """The request's body, in whichever form it came."""
    if asked.content_type.partition(";")[0].strip().lower() == protobuf.MEDIA_TYPE:
        return protobuf.parsed(asked.body, world.types, lambda version, kind: _type_of(world, version, kind)), []
    return decoding.parsed(asked.body, asked.content_type)


def _type_of(world: World, api_version: str, kind: str) -> str:
    if (beside := _BESIDE.get(kind)) is not None:
        return beside
    found = world.kinds.of_object(api_version, kind)
    return found.type if found is not None and not found.custom else ""


def decoded(work: Work, found: Any, problems: list[str], *, of_patch: Callable[[], str] | None = None) -> Object:
    """An object of the kind, in the form that is stored; what it had too much is told as the client wants it told.

    `of_patch`: where it comes of one, how a refusal shows that.
    """
    kind, asked = work.kind, work.asked
    body = decoding.object_of(found, kind)
    namespace = body["metadata"].get("namespace")
    if kind.namespaced:
        if namespace and namespace != asked.namespace:
            raise refusals.bad_request(
                f"the namespace of the provided object does not match the namespace sent on the request: "
                f"{namespace}, {asked.namespace}"
            )
        body["metadata"] = {**body["metadata"], "namespace": asked.namespace}
    elif namespace:
        body["metadata"] = {key: value for key, value in body["metadata"].items() if key != "namespace"}
    if kind.custom:
        _hold_to_types(work, {"metadata": body["metadata"]})  # of the rest its validation tells
    else:
        body = {**without_nulls(body)}
        # Go leaves out what is empty.
        body["metadata"] = {key: value for key, value in body["metadata"].items() if value not in ({}, [])}
        _hold_to_types(work, body)
        body = decoding.without_empty_maps(body, work.schema, work.world.types)
    body, unknown = decoding.held_to(body, work.schema, work.world.types)
    tell(work, [*problems, *unknown], of_patch=of_patch)
    body = defaults.filled(body, work.schema, work.world.types)
    body = stored_form(body, kind)
    return body if kind.custom else defaults.completed(body)


def _hold_to_types(work: Work, body: Object) -> None:
    kind = work.kind
    for at, value, wanted in decoding.mistyped(body, work.schema, work.world.types):
        if wanted == decoding.QUANTITY:
            raise decoding.cannot_be(kind, NO_QUANTITY)
        found = decoding.type_name(value)
        into = f"Go struct field {kind.kind}.{at} of type {_GO_TYPES.get(wanted, wanted)}"
        raise decoding.cannot_be(kind, f"json: cannot unmarshal {found} into {into}")


def tell(work: Work, problems: Sequence[str], *, of_patch: Callable[[], str] | None = None) -> None:
    match work.asked.query.get("fieldValidation") or "Warn":
        case "Ignore":
            pass
        case "Warn":
            work.warnings += [each for each in problems if each not in work.warnings]
        case "Strict":
            if problems:
                why = f"strict decoding error: {', '.join(problems)}"
                if of_patch is not None:
                    cause = causes.invalid_value("patch", of_patch(), why)
                    raise Refusal(
                        422,
                        "Invalid",
                        f' "" is invalid: patch: {cause.message}',
                        details={"causes": [{"reason": cause.reason, "message": cause.message, "field": "patch"}]},
                    )
                raise decoding.cannot_be(work.kind, why)
        case other:
            supported = '"", "Ignore", "Strict", "Warn"'
            raise refusals.bad_request(f'fieldValidation: Unsupported value: "{other}": supported values: {supported}')


def refuse_dead_ends(work: Work, body: Object) -> None:
    """Nothing is made in a namespace that is not there or that goes."""
    asked = work.asked
    if not asked.namespace:
        return
    namespaces = work.world.kinds.find("", "v1", "namespaces")
    found = work.world.store.read(Key("namespaces", "", asked.namespace))
    if namespaces is not None and found is None:
        raise refusals.not_found(namespaces, asked.namespace)
    if found is not None and found.body["metadata"].get("deletionTimestamp"):
        why = f"unable to create new content in namespace {asked.namespace} because it is being terminated"
        about = body["metadata"]
        name = about.get("name") or about.get("generateName") or "Unknown"  # it has not been generated yet
        refused = refusals.forbidden(work.kind, name, why)
        refused.details["causes"] = [
            {
                "reason": "NamespaceTerminating",
                "message": f"namespace {asked.namespace} is being terminated",
                "field": "metadata.namespace",
            }
        ]
        raise refused


def refuse_unknown_account(work: Work, pod: Object) -> None:
    """No pod runs as a service account that is not there, but as `default`: it comes a moment after its namespace."""
    namespace, name = work.asked.namespace, pod["spec"]["serviceAccountName"]
    if name == defaults.DEFAULT_ACCOUNT or work.world.store.read(Key("serviceaccounts", namespace, name)) is not None:
        return
    about = pod["metadata"]
    why = f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
    raise refusals.forbidden(work.kind, about.get("name") or about.get("generateName") or "", why)


def as_it_is(work: Work) -> Stored:
    found = work.world.store.read(work.asked.key)
    if found is None:
        raise refusals.not_found(work.kind, work.asked.name)
    return found


def mutated(work: Work, operation: str, new: Object, old: Object | None) -> Object:
    """As the hooks want it, with the defaults of what they added."""
    world, kind = work.world, work.kind
    changed = reviewed(_hooks(work), Phase.MUTATE, work.asked, operation, new=new, old=old, uid=world.new_uid())
    work.warnings += changed.warnings
    body = changed.body
    if body is not new and not kind.stored_as:
        body, _ = decoding.held_to(body, work.schema, world.types)
        body = defaults.filled(body, work.schema, world.types)
        body = body if kind.custom else defaults.completed(body)
    return {**body, "metadata": dict(body["metadata"])}


def judged(work: Work, operation: str, new: Object, old: Object | None) -> None:
    """Refusal: it is not valid, or a hook says no."""
    world, kind = work.world, work.kind
    schema = Schema(type="object", preserves=True) if kind.stored_as else work.schema
    causes = validation.causes(kind, schema, world.types, new, old)
    if causes:
        raise refusals.invalid(kind, work.asked.name, causes)
    said = reviewed(_hooks(work), Phase.VALIDATE, work.asked, operation, new=new, old=old, uid=world.new_uid())
    work.warnings += said.warnings


def _hooks(work: Work) -> Sequence[Hook]:
    return () if work.kind.kind.endswith("WebhookConfiguration") else work.world.hooks()
