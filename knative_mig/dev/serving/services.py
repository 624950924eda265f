"""A Knative Service: its Configuration and its Route, and what these say of it.

Called by `loop` for a Service whenever it, its Configuration, its Route or a Revision of that name changes. The subtle
thing is Ready: a Service is only as far as both have seen its newest spec and the Route carries the traffic that the
spec wants, so that whoever waits for Ready after an update does not see the Ready of before.
"""

from typing import Final

from knative_mig.adapters.kube.kinds import REVISION
from knative_mig.dev.conditions import Conditions
from knative_mig.dev.nulls import without_nulls
from knative_mig.dev.serving import objects
from knative_mig.dev.serving.configurations import is_name_taken
from knative_mig.dev.serving.objects import (
    CONFIGURATION,
    LAST_APPLIED,
    ROLLOUT_DURATIONS,
    ROUTE,
    ROUTES,
    SERVICE,
    SERVICE_LABEL,
    SERVICE_UID_LABEL,
    Object,
    Seen,
)
from knative_mig.dev.serving.writes import NOTHING, Decided, Wanted
from knative_mig.ports.kube import Key

NEEDED: Final = ("ConfigurationsReady", "RoutesReady")
_CONFIGURATIONS, _ROUTES = NEEDED
_OUT_OF_DATE: Final = "The {} is still working to reflect the latest desired specification."
_NOT_MIGRATED: Final = ("TrafficNotMigrated", "Traffic is not yet migrated to the latest revision.")


def decide(seen: Seen, key: Key) -> Decided:
    service = seen.get(SERVICE, key)
    if service is None or objects.is_ending(service):
        return NOTHING
    wanted = Wanted()
    conditions = Conditions(service, NEEDED, seen.now)
    fields = {name: each for name, each in objects.status(service).items() if name not in ("conditions", "annotations")}
    fields |= _marked(seen, key, service, conditions, wanted)
    fields = {name: each for name, each in fields.items() if each is not None}
    fields["observedGeneration"] = service["metadata"]["generation"]
    fields["conditions"] = conditions.written()
    wanted.status(SERVICE, service, fields, "what its Configuration and its Route say")
    return wanted.decided()


def _marked(seen: Seen, key: Key, service: Object, conditions: Conditions, wanted: Wanted) -> Object:
    """Wants what is missing and marks what is to be said; gives the fields that the Service takes over, None: none."""
    fields: Object = {}
    configuration = seen.get(CONFIGURATION, key)
    if configuration is not None and not objects.is_owned(configuration, service):
        conditions.false(
            _CONFIGURATIONS, "NotOwned", f'There is an existing Configuration "{key.name}" that we do not own.'
        )
        return fields
    name = objects.spec(service)["template"].get("metadata", {}).get("name", "")
    new = _configuration_of(service, configuration)
    if configuration is None:
        wanted.create(CONFIGURATION, new, "the Service has none")
        wanted.tell(service, "Created", f'Created Configuration "{key.name}"')
    else:
        wanted.change(CONFIGURATION, configuration, _merged(configuration, new), "the Service wants it otherwise")
    if configuration is None or not _has_seen(configuration, new):
        conditions.unknown(_CONFIGURATIONS, "OutOfDate", _OUT_OF_DATE.format("Configuration"))
        if name:
            # The Route must not follow a name of which it is not known yet whether it is to be had.
            return fields
    else:
        status = objects.status(configuration)
        fields |= {each: status.get(each) for each in ("latestCreatedRevisionName", "latestReadyRevisionName")}
        if told := objects.condition(configuration, "Ready"):
            conditions.mark(_CONFIGURATIONS, told["status"], told.get("reason", ""), told.get("message", ""))
    if (
        name
        and configuration is not None
        and is_name_taken(seen.get(REVISION, Key(key.namespace, name)), configuration)
    ):
        taken = f'The revision name "{name}" is taken by a conflicting Revision, so traffic will not be migrated'
        conditions.false(_ROUTES, "RevisionNameTaken", taken)
        return fields
    return fields | _route_marked(seen, key, service, configuration, conditions=conditions, wanted=wanted)


def _route_marked(
    seen: Seen, key: Key, service: Object, configuration: Object | None, *, conditions: Conditions, wanted: Wanted
) -> Object:
    route = seen.get(ROUTE, key)
    if route is not None and not objects.is_owned(route, service):
        conditions.false(_ROUTES, "NotOwned", f'There is an existing Route "{key.name}" that we do not own.')
        return {}
    new = _route_of(service)
    if route is None:
        wanted.create(ROUTE, new, "the Service has none")
        wanted.tell(service, "Created", f'Created Route "{key.name}"')
    else:
        wanted.change(ROUTE, route, _merged(route, new), "the Service wants it otherwise")
    if route is None or not _has_seen(route, new):
        conditions.unknown(_ROUTES, "OutOfDate", _OUT_OF_DATE.format("Route"))
        return {}
    status = objects.status(route)
    if told := objects.condition(route, "Ready"):
        conditions.mark(_ROUTES, told["status"], told.get("reason", ""), told.get("message", ""))
    if conditions.is_true(_ROUTES) and not _is_migrated(route, configuration):
        conditions.unknown(_ROUTES, *_NOT_MIGRATED)
    return {name: status.get(name) for name in ("url", "address", "traffic")}


def _is_migrated(route: Object, configuration: Object | None) -> bool:
    latest = objects.status(configuration).get("latestReadyRevisionName", "") if configuration else ""
    want = []
    for target in objects.spec(route).get("traffic") or ():
        named = target.get("revisionName", "")
        want.append((latest if target.get("configurationName") else named, target.get("percent"), target.get("tag")))
    found = objects.status(route).get("traffic") or ()
    return want == [(each.get("revisionName", ""), each.get("percent"), each.get("tag")) for each in found]


def _configuration_of(service: Object, before: Object | None) -> Object:
    about = service["metadata"]
    kept = {
        name: text
        for name, text in objects.annotations(service).items()
        if name != LAST_APPLIED and name not in ROLLOUT_DURATIONS
    }
    routes = set(filter(None, (objects.annotations(before) if before else {}).get(ROUTES, "").split(",")))
    kept[ROUTES] = ",".join(sorted(routes | {about["name"]}))
    return {
        "metadata": {
            "name": about["name"],
            "namespace": about["namespace"],
            "ownerReferences": [objects.owner_reference(service)],
            "labels": {**objects.labels(service), SERVICE_LABEL: about["name"], SERVICE_UID_LABEL: about["uid"]},
            "annotations": kept,
        },
        "spec": {"template": without_nulls(objects.spec(service)["template"])},
    }


def _route_of(service: Object) -> Object:
    about = service["metadata"]
    traffic = [
        target if target.get("revisionName") else {**target, "configurationName": about["name"]}
        for target in without_nulls(objects.spec(service).get("traffic") or [])
    ]
    return {
        "metadata": {
            "name": about["name"],
            "namespace": about["namespace"],
            "ownerReferences": [objects.owner_reference(service)],
            "labels": {**objects.labels(service), SERVICE_LABEL: about["name"]},
            "annotations": {k: text for k, text in objects.annotations(service).items() if k != LAST_APPLIED},
        },
        "spec": {"traffic": traffic},
    }


def _has_seen(body: Object, new: Object) -> bool:
    """Its controller the spec that it is to have; labels and annotations are not told of."""
    return objects.is_observed(body) and body.get("spec") == new["spec"]


def _merged(body: Object, new: Object) -> Object:
    about = new["metadata"]
    metadata = {**body["metadata"], "labels": about["labels"], "annotations": about["annotations"]}
    return {**body, "metadata": metadata, "spec": new["spec"]}
