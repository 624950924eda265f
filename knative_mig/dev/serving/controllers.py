"""Which controller decides about which kind, and which objects a change of another one concerns.

Called by `loop`, and by tests that drive the controllers without one. The subtle thing is that a change concerns more
than the object's owners: a Route waits for Revisions that it names and does not own.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from knative_mig.adapters.kube.kinds import CONFIG_MAP, POD, POD_AUTOSCALER, REVISION, Kind
from knative_mig.dev.serving import (
    autoscalers,
    configurations,
    deployments,
    objects,
    old_revisions,
    replica_sets,
    revisions,
    routes,
    routing_states,
    serverless_services,
)
from knative_mig.dev.serving.held_failures import HeldFailures
from knative_mig.dev.serving.objects import (
    CONFIGURATION,
    CONFIGURATION_LABEL,
    DEPLOYMENT,
    REPLICA_SET,
    REVISION_LABEL,
    ROUTE,
    SERVERLESS_SERVICE,
    SERVICE,
    SERVICE_LABEL,
    Object,
    Seen,
)
from knative_mig.dev.serving.revisions import Images
from knative_mig.dev.serving.routes import Gateway
from knative_mig.dev.serving.scaling import Autoscaler
from knative_mig.dev.serving.writes import Decided
from knative_mig.ports.kube import Key


class Name(StrEnum):
    SERVICE = "service-controller"
    CONFIGURATION = "configuration-controller"
    ROUTE = "route-controller"
    ROUTING_STATE = "labeler-controller"
    OLD_REVISIONS = "gc-controller"
    REVISION = "revision-controller"
    AUTOSCALER = "kpa-class-podautoscaler-controller"
    WAY = "serverlessservice-controller"
    DEPLOYMENT = "deployment-controller"
    REPLICA_SET = "replicaset-controller"


@dataclass(frozen=True, slots=True, order=True)
class Pass:
    """A controller's look at one object."""

    controller: Name
    key: Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """Those who decide what the controllers here do not."""

    autoscaler: Autoscaler
    gateway: Gateway
    images: Images


KINDS: Mapping[Name, Kind] = {
    Name.SERVICE: SERVICE,
    Name.CONFIGURATION: CONFIGURATION,
    Name.ROUTE: ROUTE,
    Name.ROUTING_STATE: ROUTE,
    Name.OLD_REVISIONS: CONFIGURATION,
    Name.REVISION: REVISION,
    Name.AUTOSCALER: POD_AUTOSCALER,
    Name.WAY: SERVERLESS_SERVICE,
    Name.DEPLOYMENT: DEPLOYMENT,
    Name.REPLICA_SET: REPLICA_SET,
}


def deciders(neighbours: Neighbours) -> Mapping[Name, Callable[[Seen, Key], Decided]]:
    return {
        Name.SERVICE: HeldFailures().decide,
        Name.CONFIGURATION: configurations.decide,
        Name.ROUTE: lambda seen, key: routes.decide(seen, key, neighbours.gateway),
        Name.ROUTING_STATE: routing_states.decide,
        Name.OLD_REVISIONS: old_revisions.decide,
        Name.REVISION: lambda seen, key: revisions.decide(seen, key, neighbours.images),
        Name.AUTOSCALER: lambda seen, key: autoscalers.decide(seen, key, neighbours.autoscaler),
        Name.WAY: serverless_services.decide,
        Name.DEPLOYMENT: deployments.decide,
        Name.REPLICA_SET: replica_sets.decide,
    }


def concerned(kind: Kind, key: Key, body: Object | None, seen: Seen) -> Iterator[Pass]:
    """By a change of that object; `body` is what it was last, where it is gone. A pass too many costs little."""
    for name, its in KINDS.items():
        if its is kind:
            yield Pass(name, key)
    if body is not None:
        owner = objects.controller_of(body)
        for name, its in KINDS.items():
            if owner is not None and owner.get("kind") == its.kind and owner.get("apiVersion") == its.group:
                yield Pass(name, Key(key.namespace, owner["name"]))
    yield from _beyond_owners(kind, key, body, seen)


def _beyond_owners(kind: Kind, key: Key, body: Object | None, seen: Seen) -> Iterator[Pass]:
    labels = objects.labels(body) if body is not None else {}
    if kind is REVISION and labels.get(SERVICE_LABEL):
        # Before its Route: why a Revision failed is said of the Service first, then that nothing is served.
        yield Pass(Name.SERVICE, Key(key.namespace, labels[SERVICE_LABEL]))
    if kind is REVISION or kind is CONFIGURATION:
        for each in seen.all(ROUTE, key.namespace):
            if _may_name(each, kind, key, labels):
                yield Pass(Name.ROUTE, objects.key(each))
                yield Pass(Name.ROUTING_STATE, objects.key(each))
        if kind is REVISION and labels.get(CONFIGURATION_LABEL):
            yield Pass(Name.CONFIGURATION, Key(key.namespace, labels[CONFIGURATION_LABEL]))
    elif kind is POD and labels.get(REVISION_LABEL):
        revision = Key(key.namespace, labels[REVISION_LABEL])
        yield from (Pass(name, revision) for name in (Name.WAY, Name.AUTOSCALER, Name.REVISION))
    elif kind is DEPLOYMENT or kind is SERVERLESS_SERVICE:
        if labels.get(REVISION_LABEL):
            yield Pass(Name.AUTOSCALER, Key(key.namespace, labels[REVISION_LABEL]))
    elif kind is CONFIG_MAP:
        for name in (Name.REVISION, Name.ROUTE, Name.OLD_REVISIONS, Name.AUTOSCALER):
            yield from (Pass(name, each) for each in seen.objects.get(KINDS[name], {}))


def _may_name(route: Object, kind: Kind, key: Key, labels: Mapping[str, str]) -> bool:
    """Its targets, and its Revisions of before, which its labels may still be on."""
    for target in (*(objects.spec(route).get("traffic") or ()), *(objects.status(route).get("traffic") or ())):
        if target.get("revisionName") == key.name and kind is REVISION:
            return True
        configuration = key.name if kind is CONFIGURATION else labels.get(CONFIGURATION_LABEL)
        if target.get("configurationName") == configuration:
            return True
    return False
