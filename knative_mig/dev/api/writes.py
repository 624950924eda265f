"""What becomes of a request that changes something: create, update, and the four kinds of patch.

    read ─► defaults ─► who wrote what ─► mutating hooks ─► validation ─► validating hooks ─► store

Called by `service` on worker threads, many at once. `steps` has what happens to an object on the way, `updates` how it
comes over the one that is there, `deletion` what a deletion does.
"""

from functools import partial
from typing import Any, Final

from knative_mig.dev.api import apply, causes, decoding, patches, refusals, strategic_merge
from knative_mig.dev.api.managed_fields import APPLY, UPDATE, Entries, Manager
from knative_mig.dev.api.routes import Asked
from knative_mig.dev.api.steps import Object, Work, World, Written, decoded, refuse_dead_ends, sent, tell
from knative_mig.dev.api.updates import insert, overwrite, overwritten

JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH: Final = "application/strategic-merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"
# Kinds of which every update names the version that it is over, beside all custom ones.
_VERSIONED_UPDATES: Final = frozenset(
    {
        "CustomResourceDefinition",
        "Lease",
        "MutatingWebhookConfiguration",
        "PodDisruptionBudget",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
    }
)


def create(world: World, asked: Asked) -> Written:
    work = Work(world, asked)
    body = decoded(work, *sent(world, asked))
    refuse_dead_ends(work, body)
    return insert(work, body, Manager(name=asked.manager, operation=UPDATE))


def update(world: World, asked: Asked) -> Written:
    work = Work(world, asked)
    body = decoded(work, *sent(world, asked))
    body["metadata"].setdefault("name", asked.name)
    _hold_to_name(asked, body)
    needs_version = work.kind.custom or work.kind.kind in _VERSIONED_UPDATES
    if needs_version and not body["metadata"].get("resourceVersion"):
        raise refusals.unversioned(work.kind, asked.name)
    return overwrite(work, lambda _: body, Manager(name=asked.manager, operation=UPDATE, subresource=asked.below))


def patch(world: World, asked: Asked) -> Written:
    work = Work(world, asked)
    media_type = asked.content_type.partition(";")[0].strip().lower()
    taken = [JSON_PATCH, MERGE_PATCH, *([] if work.kind.custom else [STRATEGIC_MERGE_PATCH]), APPLY_PATCH]
    if media_type not in taken:
        raise refusals.unsupported_media_type(asked.content_type, taken)
    found, problems = decoding.parsed(asked.body, media_type)
    if media_type == APPLY_PATCH:
        return _apply(work, found, problems)
    if media_type != JSON_PATCH and not isinstance(found, dict):
        raise refusals.bad_request(f"error decoding patch: {media_type} takes an object")
    by = Manager(name=asked.manager, operation=UPDATE, subresource=asked.below)

    def change(live: Object) -> Object:
        match media_type:
            case "application/json-patch+json":
                new = patches.patched(live, found)
            case "application/merge-patch+json":
                new = patches.merged(live, found)
            case _:
                new = strategic_merge.merged(live, found, work.schema, world.types)
        is_strategic = media_type == STRATEGIC_MERGE_PATCH
        shown = partial(causes.as_go_prints, found) if is_strategic else partial(causes.as_json, new)
        body = decoded(work, new, problems, of_patch=shown)
        _hold_to_name(asked, body)
        return body

    return overwrite(work, change, by)


def _hold_to_name(asked: Asked, body: Object) -> None:
    name = body["metadata"].get("name")
    if name != asked.name:
        raise refusals.bad_request(f"the name of the object ({name}) does not match the name on the URL ({asked.name})")


def _apply(work: Work, found: Any, problems: list[str]) -> Written:
    asked, kind = work.asked, work.kind
    name = asked.query.get("fieldManager")
    if not name:
        cause = causes.required("fieldManager", "is required for apply patch")
        raise refusals.invalid_options(kind, "PatchOptions", cause)
    force = asked.query.get("force", "").lower() in ("1", "true")
    wanted = decoding.object_of(found, kind)
    if "managedFields" in wanted["metadata"] and wanted["metadata"]["managedFields"]:
        raise refusals.bad_request("metadata.managedFields must be nil")
    wanted["metadata"] = {**wanted["metadata"], "name": wanted["metadata"].get("name") or asked.name}
    _hold_to_name(asked, wanted)
    by = Manager(name=name, operation=APPLY, subresource=asked.below)
    wanted, unknown = decoding.held_to(wanted, work.schema, work.world.types)
    tell(work, [*problems, *unknown])

    def change(live: Object) -> tuple[Object, Entries]:
        schema, types = work.schema, work.world.types
        new, entries = apply.applied(live, wanted, schema, types, by, force=force, at=work.at)
        return decoded(work, new, []), entries

    def make() -> Written:
        body, entries = change({})
        refuse_dead_ends(work, body)
        return insert(work, body, by, entries)

    return overwritten(work, change, None if asked.below else make)
