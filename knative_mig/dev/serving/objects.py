"""Objects as the API has them, and what of the cluster a controller sees when it decides.

Every decision here takes a `Seen` and gives a `Decided`. The objects stay the API's own JSON: a stand-in must pass on
what it does not know of. Nobody changes an object that was seen.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from knative_mig.adapters.kube.fields import seconds_of
from knative_mig.adapters.kube.kinds import CONFIG_MAP, POD, POD_AUTOSCALER, REVISION, Kind
from knative_mig.dev.serving.settings import Settings
from knative_mig.ports.kube import Key

Object = dict[str, Any]

SERVICE: Final = Kind("serving.knative.dev/v1", "Service", "services")
CONFIGURATION: Final = Kind("serving.knative.dev/v1", "Configuration", "configurations")
ROUTE: Final = Kind("serving.knative.dev/v1", "Route", "routes")
SERVERLESS_SERVICE: Final = Kind("networking.internal.knative.dev/v1alpha1", "ServerlessService", "serverlessservices")
DEPLOYMENT: Final = Kind("apps/v1", "Deployment", "deployments")
REPLICA_SET: Final = Kind("apps/v1", "ReplicaSet", "replicasets")

WATCHED: Final = (
    SERVICE,
    CONFIGURATION,
    ROUTE,
    REVISION,
    POD_AUTOSCALER,
    SERVERLESS_SERVICE,
    DEPLOYMENT,
    REPLICA_SET,
    POD,
    CONFIG_MAP,
)

GROUP: Final = "serving.knative.dev"
AUTOSCALING: Final = "autoscaling.knative.dev"
SERVICE_LABEL: Final = f"{GROUP}/service"
SERVICE_UID_LABEL: Final = f"{GROUP}/serviceUID"
CONFIGURATION_LABEL: Final = f"{GROUP}/configuration"
CONFIGURATION_UID_LABEL: Final = f"{GROUP}/configurationUID"
GENERATION_LABEL: Final = f"{GROUP}/configurationGeneration"
REVISION_LABEL: Final = f"{GROUP}/revision"
REVISION_UID_LABEL: Final = f"{GROUP}/revisionUID"
ROUTING_STATE: Final = f"{GROUP}/routingState"
ROUTING_SINCE: Final = f"{GROUP}/routingStateModified"
ROUTES: Final = f"{GROUP}/routes"
CREATOR: Final = f"{GROUP}/creator"
MODIFIER: Final = f"{GROUP}/lastModifier"
ROLLOUT_DURATIONS: Final = (f"{GROUP}/rollout-duration", f"{GROUP}/rolloutDuration")
PROGRESS_DEADLINES: Final = (f"{GROUP}/progress-deadline", f"{GROUP}/progressDeadline")
LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"

_NOTHING: Final[Mapping[Key, Object]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What came of the last write that a pass over an object wanted and did not get."""

    message: str
    until: float  # not before it is it tried again
    times: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    objects: Mapping[Kind, Mapping[Key, Object]]  # each kind's in the order of their keys
    now: float
    settings: Settings = field(default_factory=Settings)
    failure: Failure | None = None  # of the object that this pass is about

    def get(self, kind: Kind, key: Key) -> Object | None:
        return self.objects.get(kind, _NOTHING).get(key)

    def all(self, kind: Kind, namespace: str) -> list[Object]:
        """By name."""
        return [body for key, body in self.objects.get(kind, _NOTHING).items() if key.namespace == namespace]

    def owned(self, kind: Kind, owner: Object) -> list[Object]:
        """Those that it controls, by name."""
        return [each for each in self.all(kind, owner["metadata"]["namespace"]) if is_owned(each, owner)]


def annotations(body: Object) -> dict[str, str]:
    return body["metadata"].get("annotations") or {}


def labels(body: Object) -> dict[str, str]:
    return body["metadata"].get("labels") or {}


def spec(body: Object) -> Object:
    return body.get("spec") or {}


def status(body: Object) -> Object:
    return body.get("status") or {}


def key(body: Object) -> Key:
    return Key(body["metadata"].get("namespace", ""), body["metadata"]["name"])


def is_ending(body: Object) -> bool:
    return bool(body["metadata"].get("deletionTimestamp"))


def condition(body: Object, type_: str) -> Object:
    """Empty: there is none."""
    return next((each for each in status(body).get("conditions") or () if each.get("type") == type_), {})


def is_observed(body: Object) -> bool:
    return bool(status(body).get("observedGeneration") == body["metadata"].get("generation"))


def is_ready(body: Object) -> bool:
    return is_observed(body) and condition(body, "Ready").get("status") == "True"


def has_failed(body: Object) -> bool:
    return is_observed(body) and condition(body, "Ready").get("status") == "False"


def owner_reference(owner: Object) -> Object:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def controller_of(body: Object) -> Object | None:
    """The reference to it."""
    return next((each for each in body["metadata"].get("ownerReferences") or () if each.get("controller")), None)


def is_owned(body: Object, owner: Object) -> bool:
    reference = controller_of(body)
    return reference is not None and reference.get("uid") == owner["metadata"].get("uid")


def first(values: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    """Of an annotation with several spellings the first that is there."""
    return next((values[name] for name in names if name in values), None)


def created(body: Object) -> float:
    return seconds_of(body["metadata"]["creationTimestamp"])


_LONGEST: Final = 63
_DIGEST: Final = 32


def child_name(parent: str, suffix: str) -> str:
    """As Knative names what belongs to something: what is too long for a name gives way to a digest of it."""
    room = _LONGEST - _DIGEST
    if len(parent) + len(suffix) <= _LONGEST:
        return parent + suffix
    if len(suffix) < room:
        return f"{parent[: room - len(suffix)]}{_digest(parent)}{suffix}"
    whole = f"{parent[:room]}{_digest(parent + suffix)}"
    return (whole + suffix[: _LONGEST - len(whole)]).rstrip("-.")


def _digest(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
