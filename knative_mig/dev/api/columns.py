"""What `kubectl get` prints of the kinds that are not custom: column by column, as the real server reckons them.

Called by `tables`. A cell is a function of the object and of the time, which ages need.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

Json = dict[str, Any]
Cell = Callable[[Json, datetime], Any]


@dataclass(frozen=True, slots=True)
class Printed:
    name: str
    cell: Cell
    type: str = "string"
    priority: int = 0
    format: str = ""


def age(since: Any, now: datetime) -> str:
    """As kubectl has it: the two largest units while they tell something."""
    try:
        begun = datetime.fromisoformat(str(since))
    except ValueError:
        return "<unknown>"
    seconds = max(0, int((now - begun).total_seconds()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    return f"{days}d"


def _at(path: str, default: Any = "") -> Cell:
    steps = path.split(".")

    def cell(body: Json, _: datetime) -> Any:
        value: Any = body
        for step in steps:
            value = value.get(step) if isinstance(value, dict) else None
        return default if value is None else value

    return cell


def _count(path: str) -> Cell:
    value = _at(path, ())
    return lambda body, now: len(value(body, now) or ())


def _since(path: str) -> Cell:
    value = _at(path)
    return lambda body, now: age(value(body, now), now)


_NAME: Final = Printed("Name", _at("metadata.name"), format="name")
_AGE: Final = Printed("Age", _since("metadata.creationTimestamp"))
PLAIN: Final = (_NAME, Printed("Created At", _at("metadata.creationTimestamp"), "date"))
OF_CUSTOM: Final = (_NAME,)
AGE_OF_CUSTOM: Final = Printed("Age", _since("metadata.creationTimestamp"), "date")


def _pod_status(body: Json, _: datetime) -> str:
    status = body.get("status") or {}
    reason: str = status.get("reason") or status.get("phase") or "Unknown"
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            reason = "SchedulingGated"
    if begun := _begun(status):
        of = len((body.get("spec") or {}).get("initContainers") or ())
        told = _container_status(begun[-1])
        reason = f"Init:{told if told not in ('', 'PodInitializing') else f'{len(begun) - 1}/{of}'}"
    else:
        told_of = map(_container_status, status.get("containerStatuses") or ())
        reason = next(filter(None, told_of), reason)
    return "Terminating" if body["metadata"].get("deletionTimestamp") else reason


def _begun(status: Json) -> Sequence[Json]:
    """Its init containers up to the one that has not succeeded yet. Empty: all have."""
    containers = status.get("initContainerStatuses") or ()
    for n, each in enumerate(containers, 1):
        ended = (each.get("state") or {}).get("terminated")
        if ended is None or ended.get("exitCode"):
            return tuple(containers[:n])
    return ()


def _container_status(container: Json) -> str:
    """Empty: it runs."""
    state = container.get("state") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
    ends = f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode', 0)}"
    return waiting.get("reason") or ended.get("reason") or (ends if ended else "")


def _pod_ready(body: Json, _: datetime) -> str:
    containers = (body.get("spec") or {}).get("containers") or ()
    statuses = (body.get("status") or {}).get("containerStatuses") or ()
    return f"{sum(bool(each.get('ready')) for each in statuses)}/{len(containers)}"


def _pod_restarts(body: Json, now: datetime) -> str:
    status = body.get("status") or {}
    statuses = _begun(status) or status.get("containerStatuses") or ()
    ended = [
        each["lastState"]["terminated"]["finishedAt"]
        for each in statuses
        if ((each.get("lastState") or {}).get("terminated") or {}).get("finishedAt")
    ]
    count = sum(int(each.get("restartCount") or 0) for each in statuses)
    return f"{count} ({age(max(ended), now)} ago)" if count and ended else str(count)


def _node_status(body: Json, _: datetime) -> str:
    conditions = (body.get("status") or {}).get("conditions") or ()
    ready = next((each.get("status") for each in conditions if each.get("type") == "Ready"), None)
    told = "Unknown" if ready is None else "Ready" if ready == "True" else "NotReady"
    return f"{told},SchedulingDisabled" if (body.get("spec") or {}).get("unschedulable") else told


def _node_roles(body: Json, _: datetime) -> str:
    prefix = "node-role.kubernetes.io/"
    roles = [key.removeprefix(prefix) for key in body["metadata"].get("labels") or () if key.startswith(prefix)]
    return ",".join(sorted(filter(None, roles))) or "<none>"


def _node_address(type_: str) -> Cell:
    def cell(body: Json, _: datetime) -> str:
        for each in (body.get("status") or {}).get("addresses") or ():
            if each.get("type") == type_:
                return str(each.get("address"))
        return "<none>"

    return cell


def _ports(body: Json, _: datetime) -> str:
    ports = (body.get("spec") or {}).get("ports") or ()
    return ",".join(f"{each.get('port')}/{each.get('protocol', 'TCP')}" for each in ports) or "<none>"


def _endpoints(body: Json, _: datetime) -> str:
    found = []
    for subset in body.get("subsets") or ():
        ports: list[Json] = subset.get("ports") or [{}]
        found += [
            f"{address.get('ip')}:{port.get('port')}" for port in ports for address in subset.get("addresses") or ()
        ]
    return _few(found)


def _slice_ports(body: Json, _: datetime) -> str:
    return _few([str(each.get("port")) for each in body.get("ports") or ()], none="<unset>")


def _slice_addresses(body: Json, _: datetime) -> str:
    found = [each for endpoint in body.get("endpoints") or () for each in endpoint.get("addresses") or ()]
    return _few(found, none="<unset>")


def _few(found: list[str], none: str = "<none>") -> str:
    if not found:
        return none
    return ",".join(found[:3]) + (f" + {len(found) - 3} more..." if len(found) > 3 else "")


def _pairs(path: str, none: str = "<none>") -> Cell:
    value = _at(path, {})

    def cell(body: Json, now: datetime) -> str:
        return ",".join(f"{key}={each}" for key, each in sorted((value(body, now) or {}).items())) or none

    return cell


def _containers(field: str) -> Cell:
    value = _at("spec.template.spec.containers", ())
    return lambda body, now: ",".join(str(each.get(field)) for each in value(body, now))


def _last_seen(body: Json, now: datetime) -> str:
    series = body.get("series") or {}
    when = series.get("lastObservedTime") or body.get("lastTimestamp") or body.get("eventTime")
    return age(when or body["metadata"].get("creationTimestamp"), now)


def _event_about(body: Json, _: datetime) -> str:
    about = body.get("involvedObject") or {}
    return f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"


def _event_source(body: Json, _: datetime) -> str:
    source = body.get("source") or {}
    found = [source.get("component") or body.get("reportingComponent"), source.get("host")]
    return ", ".join(filter(None, found))


def _event_first(body: Json, now: datetime) -> str:
    return age(body.get("firstTimestamp") or body.get("eventTime") or body["metadata"].get("creationTimestamp"), now)


def _role(body: Json, _: datetime) -> str:
    about = body.get("roleRef") or {}
    return f"{about.get('kind')}/{about.get('name')}"


def _used(*, limits: bool) -> Cell:
    """Of a quota: what is used of what, of limits or of all else."""

    def cell(body: Json, _: datetime) -> str:
        status = body.get("status") or {}
        hard, used = status.get("hard") or {}, status.get("used") or {}
        names = [name for name in sorted(hard) if name.startswith("limits.") is limits]
        return ", ".join(f"{name}: {used.get(name, '0')}/{hard[name]}" for name in names)

    return cell


_WORKLOAD: Final = (
    Printed("Containers", _containers("name"), priority=1),
    Printed("Images", _containers("image"), priority=1),
    Printed("Selector", _pairs("spec.selector.matchLabels"), priority=1),
)
_HOLDER: Final = Printed("Holder", _at("spec.holderIdentity"))

COLUMNS: Final[Mapping[str, tuple[Printed, ...]]] = {
    "pods": (
        _NAME,
        Printed("Ready", _pod_ready),
        Printed("Status", _pod_status),
        Printed("Restarts", _pod_restarts),
        _AGE,
        Printed("IP", _at("status.podIP", "<none>"), priority=1),
        Printed("Node", _at("spec.nodeName", "<none>"), priority=1),
        Printed("Nominated Node", _at("status.nominatedNodeName", "<none>"), priority=1),
        Printed("Readiness Gates", lambda _body, _now: "<none>", priority=1),
    ),
    "nodes": (
        _NAME,
        Printed("Status", _node_status),
        Printed("Roles", _node_roles),
        _AGE,
        Printed("Version", _at("status.nodeInfo.kubeletVersion")),
        Printed("Internal-IP", _node_address("InternalIP"), priority=1),
        Printed("External-IP", _node_address("ExternalIP"), priority=1),
        Printed("OS-Image", _at("status.nodeInfo.osImage", "<unknown>"), priority=1),
        Printed("Kernel-Version", _at("status.nodeInfo.kernelVersion", "<unknown>"), priority=1),
        Printed("Container-Runtime", _at("status.nodeInfo.containerRuntimeVersion", "<unknown>"), priority=1),
    ),
    "namespaces": (_NAME, Printed("Status", _at("status.phase")), _AGE),
    "configmaps": (_NAME, Printed("Data", _count("data")), _AGE),
    "secrets": (_NAME, Printed("Type", _at("type")), Printed("Data", _count("data"), "integer"), _AGE),
    "resourcequotas": (
        _NAME,
        Printed("Request", _used(limits=False)),
        Printed("Limit", _used(limits=True)),
        _AGE,
    ),
    "serviceaccounts": (_NAME, _AGE),
    "services": (
        _NAME,
        Printed("Type", _at("spec.type")),
        Printed("Cluster-IP", _at("spec.clusterIP", "<none>")),
        Printed("External-IP", _at("spec.externalName", "<none>")),
        Printed("Port(s)", _ports),
        _AGE,
        Printed("Selector", _pairs("spec.selector"), priority=1),
    ),
    "endpoints": (_NAME, Printed("Endpoints", _endpoints), _AGE),
    "events": (
        Printed("Last Seen", _last_seen),
        Printed("Type", _at("type")),
        Printed("Reason", _at("reason")),
        Printed("Object", _event_about),
        Printed("Subobject", _at("involvedObject.fieldPath"), priority=1),
        Printed("Source", _event_source, priority=1),
        Printed("Message", lambda body, _: str(body.get("message") or "").strip()),
        Printed("First Seen", _event_first, priority=1),
        Printed("Count", _at("count", 1), priority=1),
        Printed("Name", _at("metadata.name"), priority=1, format="name"),
    ),
    "deployments.apps": (
        _NAME,
        Printed(
            "Ready",
            lambda body, now: f"{_at('status.readyReplicas', 0)(body, now)}/{_at('spec.replicas', 0)(body, now)}",
        ),
        Printed("Up-to-date", _at("status.updatedReplicas", 0)),
        Printed("Available", _at("status.availableReplicas", 0)),
        _AGE,
        *_WORKLOAD,
    ),
    "replicasets.apps": (
        _NAME,
        Printed("Desired", _at("spec.replicas", 0), "integer"),
        Printed("Current", _at("status.replicas", 0), "integer"),
        Printed("Ready", _at("status.readyReplicas", 0), "integer"),
        _AGE,
        *_WORKLOAD,
    ),
    "daemonsets.apps": (
        _NAME,
        Printed("Desired", _at("status.desiredNumberScheduled", 0), "integer"),
        Printed("Current", _at("status.currentNumberScheduled", 0), "integer"),
        Printed("Ready", _at("status.numberReady", 0), "integer"),
        Printed("Up-to-date", _at("status.updatedNumberScheduled", 0), "integer"),
        Printed("Available", _at("status.numberAvailable", 0), "integer"),
        Printed("Node Selector", _pairs("spec.template.spec.nodeSelector")),
        _AGE,
        *_WORKLOAD,
    ),
    "leases.coordination.k8s.io": (_NAME, _HOLDER, _AGE),
    "endpointslices.discovery.k8s.io": (
        _NAME,
        Printed("AddressType", _at("addressType")),
        Printed("Ports", _slice_ports),
        Printed("Endpoints", _slice_addresses),
        _AGE,
    ),
    "poddisruptionbudgets.policy": (
        _NAME,
        Printed("Min Available", _at("spec.minAvailable", "N/A")),
        Printed("Max Unavailable", _at("spec.maxUnavailable", "N/A")),
        Printed("Allowed Disruptions", _at("status.disruptionsAllowed", 0), "integer"),
        _AGE,
    ),
    "networkpolicies.networking.k8s.io": (_NAME, Printed("Pod-Selector", _pairs("spec.podSelector.matchLabels")), _AGE),
    "priorityclasses.scheduling.k8s.io": (
        _NAME,
        Printed("Value", _at("value"), "integer"),
        Printed("Global-Default", _at("globalDefault", default=False), "boolean"),
        _AGE,
        Printed("PreemptionPolicy", _at("preemptionPolicy")),
    ),
    "rolebindings.rbac.authorization.k8s.io": (_NAME, Printed("Role", _role), _AGE),
    "clusterrolebindings.rbac.authorization.k8s.io": (_NAME, Printed("Role", _role), _AGE),
    "mutatingwebhookconfigurations.admissionregistration.k8s.io": (
        _NAME,
        Printed("Webhooks", _count("webhooks"), "integer"),
        _AGE,
    ),
    "validatingwebhookconfigurations.admissionregistration.k8s.io": (
        _NAME,
        Printed("Webhooks", _count("webhooks"), "integer"),
        _AGE,
    ),
}
