"""Which objects are served, where, and how they are called: a line a kind.

Read by `discovery`, `routes`, `openapi` and `tables`; a kind that a CustomResourceDefinition defines is made of it by
`crds`. The subtle thing is an object's place in the store: events are served by two groups and are the same objects, so
a kind names the one that it is stored as.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

OBJECT_VERBS: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
VERBS_BELOW: Final[Mapping[str, tuple[str, ...]]] = {  # of each subresource that there is
    "status": ("get", "patch", "update"),
    "scale": ("get", "patch", "update"),
    "finalize": ("update",),
    "log": ("get",),
    "eviction": ("create",),
    "binding": ("create",),
}
_READY: Final = (("Ready", "string", "{Ready}.status"), ("Reason", "string", "{Ready}.reason"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    name: str
    type: str = "string"
    path: str = ""  # JSONPath into the object, of a custom kind
    priority: int = 0  # above 0: shown with --output wide
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    group: str  # empty: the core group
    version: str
    kind: str
    plural: str
    type: str  # its name in `types`
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    custom: bool = False  # defined by a CustomResourceDefinition
    columns: tuple[Column, ...] = ()  # of a custom kind; those of others are in `columns`
    asked: bool = False  # a question: created, answered and never kept
    stored_as: str = ""  # the resource whose objects these are, where it is another

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """As messages name it: pods, services.serving.knative.dev."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified_kind(self) -> str:
        """As messages of what is invalid name it: Pod, Service.serving.knative.dev."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @property
    def place(self) -> str:
        """In the store."""
        return self.stored_as or self.resource

    @property
    def has_status(self) -> bool:
        return "status" in self.subresources

    @property
    def singular(self) -> str:
        return self.kind.lower()

    @property
    def verbs(self) -> tuple[str, ...]:
        if self.asked:
            return ("create",)
        # All namespaces at once are nobody's to delete.
        return tuple(each for each in OBJECT_VERBS if self.kind != "Namespace" or each != "deletecollection")

    @property
    def root(self) -> str:
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"


@dataclass(slots=True)
class Kinds:
    """Those that are served; custom ones come and go with their definitions. Any thread may read."""

    _by_place: dict[tuple[str, str, str], Kind] = field(default_factory=dict)

    def add(self, kind: Kind) -> None:
        self._by_place = {**self._by_place, (kind.group, kind.version, kind.plural): kind}

    def remove(self, kind: Kind) -> None:
        self._by_place = {at: each for at, each in self._by_place.items() if each != kind}

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._by_place.values())

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        return self._by_place.get((group, version, plural))

    def of_object(self, api_version: str, kind: str) -> Kind | None:
        return next((each for each in self if (each.api_version, each.kind) == (api_version, kind)), None)

    def groups(self) -> Mapping[str, tuple[str, ...]]:
        """Group to its versions, in the order in which a client prefers them."""
        found: dict[str, tuple[str, ...]] = {}
        for each in self:
            if each.version not in found.get(each.group, ()):
                found[each.group] = (*found.get(each.group, ()), each.version)
        return found


def plural_of(kind: str) -> str:
    name = kind.lower()
    if name.endswith("y"):
        return f"{name[:-1]}ies"
    if name == "endpoints":
        return name
    return f"{name}es" if name.endswith("s") else f"{name}s"


def _kind(where: str, kind: str, short: str = "", *below: str, cluster: bool = False, **more: str) -> Kind:
    group, _, version = where.rpartition("/")
    package = group.removesuffix(".k8s.io").removesuffix(".authorization") or "core"
    return Kind(
        group=group,
        version=version,
        kind=kind,
        plural=plural_of(kind),
        type=f"{package.partition('.')[0]}.{version}.{kind}",
        namespaced=not cluster,
        short_names=tuple(short.split()),
        categories=("all",) if kind in _IN_ALL else ("api-extensions",) if group in _EXTENDS else (),
        subresources=below,
        asked=kind in _QUESTIONS,
        stored_as=more.get("stored_as", ""),
    )


def _knative(where: str, kind: str, short: str, *columns: tuple[str, ...], cluster: bool = False) -> Kind:
    group, _, version = where.partition("/")
    area = group.partition(".")[0]
    shown = [
        Column(
            name=name,
            type=type_,
            path=path.replace("{Ready}", ".status.conditions[?(@.type=='Ready')]"),
            priority=int(bool(wide)),
        )
        for name, type_, path, *wide in columns
    ]
    return Kind(
        group=group,
        version=version,
        kind=kind,
        plural=plural_of(kind),
        type=f"{where}/{kind}",
        namespaced=not cluster,
        short_names=tuple(short.split()),
        categories=("knative-internal", area) if ".internal." in group else ("all", "knative", area),
        subresources=("status",),
        custom=True,
        columns=tuple(shown),
    )


_IN_ALL: Final = ("Pod", "Service", "Deployment", "ReplicaSet", "DaemonSet")
_EXTENDS: Final = ("admissionregistration.k8s.io", "apiextensions.k8s.io")
_QUESTIONS: Final = ("SelfSubjectAccessReview", "SelfSubjectReview", "SelfSubjectRulesReview")
_ADMISSION: Final = "admissionregistration.k8s.io/v1"
_RBAC: Final = "rbac.authorization.k8s.io/v1"
_SERVING: Final = "serving.knative.dev/v1"
_EVENTING: Final = "eventing.knative.dev/v1"
_SCALING: Final = "autoscaling.internal.knative.dev/v1alpha1"
_NETWORKING: Final = "networking.internal.knative.dev/v1alpha1"
_AGE: Final = ("Age", "date", ".metadata.creationTimestamp")

BUILT_IN: Final = (
    _kind("v1", "ConfigMap", "cm"),
    _kind("v1", "Endpoints", "ep"),
    _kind("v1", "Event", "ev"),
    _kind("v1", "Namespace", "ns", "status", "finalize", cluster=True),
    _kind("v1", "Node", "no", "status", cluster=True),
    _kind("v1", "Pod", "po", "status", "log", "eviction", "binding"),
    _kind("v1", "ResourceQuota", "quota", "status"),
    _kind("v1", "Secret"),
    _kind("v1", "ServiceAccount", "sa"),
    _kind("v1", "Service", "svc", "status"),
    _kind("apps/v1", "DaemonSet", "ds", "status"),
    _kind("apps/v1", "Deployment", "deploy", "status", "scale"),
    _kind("apps/v1", "ReplicaSet", "rs", "status", "scale"),
    _kind("events.k8s.io/v1", "Event", "ev", stored_as="events"),
    _kind("coordination.k8s.io/v1", "Lease"),
    _kind("discovery.k8s.io/v1", "EndpointSlice"),
    _kind("networking.k8s.io/v1", "NetworkPolicy", "netpol"),
    _kind("policy/v1", "PodDisruptionBudget", "pdb", "status"),
    _kind("scheduling.k8s.io/v1", "PriorityClass", "pc", cluster=True),
    _kind("authentication.k8s.io/v1", "SelfSubjectReview", cluster=True),
    _kind("authorization.k8s.io/v1", "SelfSubjectAccessReview", cluster=True),
    _kind("authorization.k8s.io/v1", "SelfSubjectRulesReview", cluster=True),
    _kind(_RBAC, "ClusterRole", cluster=True),
    _kind(_RBAC, "ClusterRoleBinding", cluster=True),
    _kind(_RBAC, "Role"),
    _kind(_RBAC, "RoleBinding"),
    _kind(_ADMISSION, "MutatingWebhookConfiguration", cluster=True),
    _kind(_ADMISSION, "ValidatingWebhookConfiguration", cluster=True),
    _kind(_ADMISSION, "ValidatingAdmissionPolicy", "", "status", cluster=True),
    _kind(_ADMISSION, "ValidatingAdmissionPolicyBinding", cluster=True),
    _kind("apiextensions.k8s.io/v1", "CustomResourceDefinition", "crd crds", "status", cluster=True),
    _knative(
        _SERVING,
        "Service",
        "kservice ksvc",
        ("URL", "string", ".status.url"),
        ("LatestCreated", "string", ".status.latestCreatedRevisionName"),
        ("LatestReady", "string", ".status.latestReadyRevisionName"),
        *_READY,
    ),
    _knative(
        _SERVING,
        "Configuration",
        "config cfg",
        ("LatestCreated", "string", ".status.latestCreatedRevisionName"),
        ("LatestReady", "string", ".status.latestReadyRevisionName"),
        *_READY,
    ),
    _knative(
        _SERVING,
        "Revision",
        "rev",
        ("Config Name", "string", r".metadata.labels['serving\.knative\.dev/configuration']"),
        ("Generation", "string", r".metadata.labels['serving\.knative\.dev/configurationGeneration']"),
        *_READY,
        ("Actual Replicas", "integer", ".status.actualReplicas"),
        ("Desired Replicas", "integer", ".status.desiredReplicas"),
    ),
    _knative(_SERVING, "Route", "rt", ("URL", "string", ".status.url"), *_READY),
    _knative("serving.knative.dev/v1beta1", "DomainMapping", "dm", ("URL", "string", ".status.url"), *_READY),
    _knative(
        _SCALING,
        "PodAutoscaler",
        "kpa pa",
        ("DesiredScale", "integer", ".status.desiredScale"),
        ("ActualScale", "integer", ".status.actualScale"),
        *_READY,
    ),
    _knative(_SCALING, "Metric", "", *_READY),
    _knative(_NETWORKING, "Ingress", "kingress king", *_READY),
    _knative(
        _NETWORKING,
        "ServerlessService",
        "sks",
        ("Mode", "string", ".spec.mode"),
        ("Activators", "integer", ".spec.numActivators"),
        ("ServiceName", "string", ".status.serviceName"),
        ("PrivateServiceName", "string", ".status.privateServiceName"),
        *_READY,
    ),
    _knative(_NETWORKING, "Certificate", "kcert", *_READY),
    _knative(_NETWORKING, "ClusterDomainClaim", "cdc", cluster=True),
    _knative(
        _EVENTING,
        "Broker",
        "",
        ("URL", "string", ".status.address.url"),
        _AGE,
        *_READY,
        ("Class", "string", r".metadata.annotations['eventing\.knative\.dev/broker\.class']", "wide"),
    ),
    _knative(
        _EVENTING,
        "Trigger",
        "",
        ("Broker", "string", ".spec.broker"),
        ("Subscriber_URI", "string", ".status.subscriberUri"),
        _AGE,
        *_READY,
    ),
)
