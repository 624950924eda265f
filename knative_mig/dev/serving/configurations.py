"""A Configuration: a Revision for each of its templates, and which of them is the newest that is ready.

Called by `loop` for a Configuration whenever it or one of its Revisions changes. A new template is a new generation of
the Configuration, and a Revision carries the generation that it was made for as a label; so which template belongs to
which Revision is never compared field by field, but for a Revision that the user named.
"""

from math import floor
from typing import Final

from knative_mig.adapters.kube.fields import time_text
from knative_mig.adapters.kube.kinds import REVISION
from knative_mig.dev.conditions import READY, Conditions
from knative_mig.dev.nulls import without_nulls
from knative_mig.dev.serving import objects
from knative_mig.dev.serving.objects import (
    CONFIGURATION,
    CONFIGURATION_LABEL,
    CONFIGURATION_UID_LABEL,
    CREATOR,
    GENERATION_LABEL,
    MODIFIER,
    ROUTES,
    ROUTING_SINCE,
    ROUTING_STATE,
    SERVICE_LABEL,
    SERVICE_UID_LABEL,
    Object,
    Seen,
)
from knative_mig.dev.serving.writes import NOTHING, Decided, Wanted
from knative_mig.ports.kube import EventType, Key

_FAILED: Final = "RevisionFailed"


def decide(seen: Seen, key: Key) -> Decided:
    configuration = seen.get(CONFIGURATION, key)
    if configuration is None or objects.is_ending(configuration):
        return NOTHING
    wanted = Wanted()
    conditions = Conditions(configuration, (), seen.now)
    before = objects.status(configuration)
    fields = {name: each for name, each in before.items() if name != "conditions"}
    fields |= _marked(seen, configuration, conditions, wanted)
    fields["observedGeneration"] = configuration["metadata"]["generation"]
    fields["conditions"] = conditions.written()
    wanted.status(CONFIGURATION, configuration, fields, "what its Revisions say")
    return wanted.decided()


def is_name_taken(revision: Object | None, configuration: Object) -> bool:
    """By another's Revision, or by one of its own with another spec."""
    if revision is None:
        return False
    if not objects.is_owned(revision, configuration):
        return True
    if objects.labels(revision).get(GENERATION_LABEL) == str(configuration["metadata"]["generation"]):
        return False
    wanted = without_nulls(objects.spec(configuration)["template"]).get("spec")
    return bool(objects.spec(revision) != wanted)


def _marked(seen: Seen, configuration: Object, conditions: Conditions, wanted: Wanted) -> Object:
    namespace = configuration["metadata"]["namespace"]
    named = objects.spec(configuration)["template"].get("metadata", {}).get("name", "")
    revision = seen.get(REVISION, Key(namespace, named)) if named else _of_generation(seen, configuration)
    if named and is_name_taken(revision, configuration):
        why = f'revisions.serving.knative.dev "{named}" already exists'
        conditions.false(READY, _FAILED, f"Revision creation failed with message: {why}.")
        return {}
    if revision is None:
        return _created(seen, configuration, conditions, wanted)
    name = revision["metadata"]["name"]
    fields: Object = {"latestCreatedRevisionName": name}
    latest_ready = objects.status(configuration).get("latestReadyRevisionName", "")
    if latest_ready != name:
        conditions.unknown(READY)
    told = objects.condition(revision, "Ready")
    if told.get("status") == "True" and not latest_ready:
        wanted.tell(configuration, "ConfigurationReady", "Configuration becomes ready")
    if told.get("status") == "False":
        why = f'Revision "{name}" failed with message: {told.get("message", "")}.'
        if objects.condition(configuration, READY).get("status") != "False":
            which = ("LatestReadyFailed", "ready") if name == latest_ready else ("LatestCreatedFailed", "created")
            wanted.tell(configuration, which[0], f'Latest {which[1]} revision "{name}" has failed', EventType.WARNING)
        conditions.false(READY, _FAILED, why)
    for each in _newest_first(seen, configuration, revision, is_named=bool(named)):
        if objects.is_ready(each):
            newest = each["metadata"]["name"]
            fields["latestReadyRevisionName"] = newest
            if newest == name:
                conditions.true(READY)
            if newest != latest_ready:
                wanted.tell(configuration, "LatestReadyUpdate", f'LatestReadyRevisionName updated to "{newest}"')
            break
    return fields


def _created(seen: Seen, configuration: Object, conditions: Conditions, wanted: Wanted) -> Object:
    if seen.failure is not None:
        conditions.false(READY, _FAILED, f"Revision creation failed with message: {seen.failure.message}.")
        wanted.look_again(seen.failure.until - seen.now)
        if seen.failure.until > seen.now:
            return {}
    revision = revision_of(configuration, seen.now)
    name = revision["metadata"]["name"]
    wanted.create(REVISION, revision, f"there is none of generation {configuration['metadata']['generation']}")
    wanted.tell(configuration, "Created", f'Created Revision "{name}"')
    if seen.failure is None and objects.status(configuration).get("latestReadyRevisionName") != name:
        conditions.unknown(READY)
    return {"latestCreatedRevisionName": name}


def _of_generation(seen: Seen, configuration: Object) -> Object | None:
    about = configuration["metadata"]
    for each in seen.all(REVISION, about["namespace"]):
        has = objects.labels(each)
        if has.get(CONFIGURATION_LABEL) == about["name"] and has.get(GENERATION_LABEL) == str(about["generation"]):
            return each
    return None


def _newest_first(seen: Seen, configuration: Object, newest: Object, *, is_named: bool) -> list[Object]:
    """Those from the latest ready one on: an older one does not come back because the newer ones went ill."""
    about, name = configuration["metadata"], newest["metadata"]["name"]
    own = [
        each
        for each in seen.all(REVISION, about["namespace"])
        if objects.labels(each).get(CONFIGURATION_LABEL) == about["name"]
    ]
    latest_ready = objects.status(configuration).get("latestReadyRevisionName", "")
    since = next((_generation(each) for each in own if each["metadata"]["name"] == latest_ready), None)
    if since is not None:
        own = [
            each for each in own if since <= _generation(each) <= about["generation"] or (is_named and each is newest)
        ]
    return sorted(
        own, key=lambda each: (is_named and each["metadata"]["name"] == name, _generation(each)), reverse=True
    )


def _generation(revision: Object) -> int:
    text = objects.labels(revision).get(GENERATION_LABEL, "")
    return int(text) if text.isdigit() else 0


def revision_of(configuration: Object, now: float) -> Object:
    about, template = configuration["metadata"], without_nulls(objects.spec(configuration)["template"])
    given = template.get("metadata") or {}
    own, of_configuration = objects.annotations(configuration), objects.labels(configuration)
    routes = own.get(ROUTES)
    has = {
        **(given.get("labels") or {}),
        ROUTING_STATE: "pending" if routes is None else "active",
        CONFIGURATION_LABEL: about["name"],
        SERVICE_LABEL: of_configuration.get(SERVICE_LABEL, ""),
        GENERATION_LABEL: str(about["generation"]),
        CONFIGURATION_UID_LABEL: about["uid"],
        SERVICE_UID_LABEL: of_configuration.get(SERVICE_UID_LABEL, ""),
    }
    notes = {**(given.get("annotations") or {}), ROUTING_SINCE: time_text(floor(now))}
    if MODIFIER in own:
        notes[CREATOR] = own[MODIFIER]
    if routes is not None:
        notes[ROUTES] = routes
    name = given.get("name") or objects.child_name(about["name"], f"-{about['generation']:05d}")
    return {
        "metadata": {
            "name": name,
            "namespace": about["namespace"],
            "labels": {key: text for key, text in has.items() if text},
            "annotations": notes,
            "ownerReferences": [objects.owner_reference(configuration)],
        },
        "spec": template.get("spec") or {},
    }
