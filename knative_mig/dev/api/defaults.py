"""What an object has that nobody wrote: the defaults of the kinds that are not custom, and what a new one begins with.

Called by `steps` and `updates` before admission. Fields are given where they are missing and nothing else is touched,
so that to write an object that was read changes nothing.
"""

import base64
import zlib
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, Final

from knative_mig.dev.api.schema import Schema, Types

Object = dict[str, Any]
DEFAULT_ACCOUNT: Final = "default"  # a pod's that names none
# By every pod: that its node is not ready or cannot be reached, for five minutes.
_TOLERATED: Final = tuple(
    {"key": f"node.kubernetes.io/{why}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    for why in ("not-ready", "unreachable")
)


def filled(value: Any, schema: Schema, types: Types) -> Any:
    """With the defaults that the types themselves name; what is filled in so has defaults of its own."""
    schema = types.of(schema)
    if isinstance(value, dict) and (schema.properties or schema.values):
        found = dict(value)
        for key, field in schema.properties.items():
            if field.default is not None and (key not in found or (found[key] is None and not field.nullable)):
                found[key] = deepcopy(field.default)
        return {
            key: filled(each, schema.properties.get(key) or schema.values or Schema(), types)
            for key, each in found.items()
        }
    if isinstance(value, list) and schema.items is not None:
        return [filled(each, schema.items, types) for each in value]
    return value


def completed(body: Object) -> Object:
    """With what the API server's own code fills in for the kind."""
    complete = _COMPLETE.get(f"{body['apiVersion']}/{body['kind']}")
    return complete(body) if complete else body


def joined(body: Object) -> Object:
    """With what an object has of its cluster, which adds it as a hook does: no writer is noted for it."""
    join = _JOIN.get(f"{body['apiVersion']}/{body['kind']}")
    return join(body) if join else body


def _given(value: Object | None, /, **defaults: Any) -> Object:
    return {**{key: each for key, each in defaults.items() if each is not None}, **(value or {})}


def _pod(body: Object) -> Object:
    return {**body, "spec": _given(_pod_spec(body.get("spec") or {}), enableServiceLinks=True)}


def _joined_pod(body: Object) -> Object:
    spec = _given(body.get("spec"), priority=0, preemptionPolicy="PreemptLowerPriority")
    account = spec.get("serviceAccountName") or spec.get("serviceAccount") or DEFAULT_ACCOUNT
    tolerations = [each for each in spec.get("tolerations") or () if isinstance(each, dict)]
    known = {each.get("key") for each in tolerations}
    if None not in known:  # else all is tolerated anyhow
        tolerations += [each for each in _TOLERATED if each["key"] not in known]
    return {
        **body,
        "spec": {**spec, "tolerations": tolerations, "serviceAccountName": account, "serviceAccount": account},
    }


def _pod_spec(spec: Object) -> Object:
    found = _given(
        spec,
        restartPolicy="Always",
        dnsPolicy="ClusterFirst",
        schedulerName="default-scheduler",
        securityContext={},
        terminationGracePeriodSeconds=30,
    )
    for key in ("containers", "initContainers"):
        if isinstance(found.get(key), list):
            found[key] = [_container(each) if isinstance(each, dict) else each for each in found[key]]
    return found


def _container(container: Object) -> Object:
    image = str(container.get("image") or "")
    tag = image.rpartition("/")[2].partition("@")[0].partition(":")[2]
    moving = "@" not in image and tag in ("", "latest")
    found = _given(
        container,
        imagePullPolicy="Always" if moving else "IfNotPresent",
        resources={},
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
    )
    resources = found["resources"] if isinstance(found["resources"], dict) else {}
    limits = resources.get("limits")
    if isinstance(limits, dict):
        found["resources"] = {**resources, "requests": {**limits, **(resources.get("requests") or {})}}
    for key in ("livenessProbe", "readinessProbe", "startupProbe"):
        if isinstance(found.get(key), dict):
            found[key] = _given(found[key], timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
    return found


def _template(spec: Object) -> Object:
    template = spec.get("template") or {}
    return {**spec, "template": {**template, "spec": _pod_spec(template.get("spec") or {})}}


def _deployment(body: Object) -> Object:
    rolling = {"maxUnavailable": "25%", "maxSurge": "25%"}
    spec = _given(
        body.get("spec"),
        replicas=1,
        revisionHistoryLimit=10,
        progressDeadlineSeconds=600,
        strategy={"type": "RollingUpdate", "rollingUpdate": rolling},
    )
    strategy = _given(spec["strategy"], type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        strategy["rollingUpdate"] = _given(strategy.get("rollingUpdate"), **rolling)
    return {**body, "spec": _template({**spec, "strategy": strategy})}


def _replica_set(body: Object) -> Object:
    return {**body, "spec": _template(_given(body.get("spec"), replicas=1))}


def _daemon_set(body: Object) -> Object:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}
    return {**body, "spec": _template(_given(body.get("spec"), revisionHistoryLimit=10, updateStrategy=strategy))}


def _service(body: Object) -> Object:
    spec = _given(body.get("spec"), type="ClusterIP", sessionAffinity="None")
    if spec["type"] != "ExternalName":
        spec = _given(spec, internalTrafficPolicy="Cluster")
    if isinstance(spec.get("ports"), list):
        spec["ports"] = [_given(each, targetPort=each.get("port")) for each in spec["ports"] if isinstance(each, dict)]
    return {**body, "spec": spec}


def _joined_service(body: Object) -> Object:
    spec = body.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return body
    # An address that is the service's own and leads nowhere: what is behind it is reached by its endpoints.
    seed = zlib.crc32(f"{body['metadata'].get('namespace')}/{body['metadata'].get('name')}".encode())
    address = spec.get("clusterIP") or f"10.96.{seed // 256 % 256}.{seed % 254 + 1}"
    spec = _given(
        {**spec, "clusterIP": address, "clusterIPs": spec.get("clusterIPs") or [address]},
        ipFamilies=["IPv4"],
        ipFamilyPolicy="SingleStack",
    )
    return {**body, "spec": spec}


def _secret(body: Object) -> Object:
    plain = body.get("stringData") or {}
    rest = {key: value for key, value in body.items() if key != "stringData"}
    if plain:
        packed = {key: base64.b64encode(str(value).encode()).decode() for key, value in plain.items()}
        rest["data"] = {**(rest.get("data") or {}), **packed}
    return _given(rest, type="Opaque")


def _namespace(body: Object) -> Object:
    about = body["metadata"]
    labels = _given(about.get("labels"))
    if name := about.get("name"):  # else it is generated, and this asked again
        labels["kubernetes.io/metadata.name"] = name
    spec = _given(body.get("spec"), finalizers=["kubernetes"])
    return {**body, "metadata": {**about, "labels": labels}, "spec": spec}


def _definition(body: Object) -> Object:
    spec = body.get("spec") or {}
    names = spec.get("names") or {}
    kind = str(names.get("kind", ""))
    full = _given(names, singular=kind.lower(), listKind=f"{kind}List")
    return {**body, "spec": _given({**spec, "names": full}, conversion={"strategy": "None"})}


def _webhooks(body: Object) -> Object:
    found = []
    for each in body.get("webhooks") or ():
        hook = _given(
            each,
            failurePolicy="Fail",
            matchPolicy="Equivalent",
            namespaceSelector={},
            objectSelector={},
            timeoutSeconds=10,
            reinvocationPolicy="Never" if body["kind"] == "MutatingWebhookConfiguration" else None,
        )
        hook["rules"] = [_given(rule, scope="*") for rule in hook.get("rules") or ()]
        found.append(hook)
    return {**body, "webhooks": found} if "webhooks" in body else body


_JOIN: Final[Mapping[str, Callable[[Object], Object]]] = {
    "v1/Pod": _joined_pod,
    "v1/Service": _joined_service,
}
_COMPLETE: Final[Mapping[str, Callable[[Object], Object]]] = {
    "v1/Pod": _pod,
    "v1/Service": _service,
    "v1/Secret": _secret,
    "v1/Namespace": _namespace,
    "apps/v1/Deployment": _deployment,
    "apps/v1/ReplicaSet": _replica_set,
    "apps/v1/DaemonSet": _daemon_set,
    "apiextensions.k8s.io/v1/CustomResourceDefinition": _definition,
    "admissionregistration.k8s.io/v1/MutatingWebhookConfiguration": _webhooks,
    "admissionregistration.k8s.io/v1/ValidatingWebhookConfiguration": _webhooks,
}


def first_status(body: Object, now: str) -> Object | None:
    """Of an object that begins its life; None: it has none until somebody writes it."""
    match f"{body['apiVersion']}/{body['kind']}":
        case "v1/Pod":
            return {"phase": "Pending", "qosClass": _quality(body.get("spec") or {})}
        case "v1/Namespace":
            return {"phase": "Active"}
        case "v1/Service":
            return {"loadBalancer": {}}
        case "apps/v1/Deployment":
            return {}
        case "apps/v1/ReplicaSet":
            return {"replicas": 0}
        case "apps/v1/DaemonSet":
            counts = ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady")
            return dict.fromkeys(counts, 0)
        case "apiextensions.k8s.io/v1/CustomResourceDefinition":
            spec = body["spec"]
            names = {"reason": "NoConflicts", "message": "no conflicts found"}
            ready = {"reason": "InitialNamesAccepted", "message": "the initial names have been accepted"}
            return {
                "conditions": [
                    {"type": "NamesAccepted", "status": "True", "lastTransitionTime": now, **names},
                    {"type": "Established", "status": "True", "lastTransitionTime": now, **ready},
                ],
                "acceptedNames": spec.get("names") or {},
                "storedVersions": [each.get("name") for each in spec.get("versions") or () if each.get("storage")],
            }
    return None


def _quality(spec: Object) -> str:
    every = [each.get("resources") or {} for each in spec.get("containers") or ()]
    plain = ("cpu", "memory")
    if not any(_only(each.get(part), plain) for each in every for part in ("requests", "limits")):
        return "BestEffort"
    whole = all(
        set(plain) <= set(each.get("limits") or {})
        and _only(each.get("requests"), plain) == _only(each.get("limits"), plain)
        for each in every
    )
    return "Guaranteed" if whole else "Burstable"


def _only(amounts: Object | None, names: tuple[str, ...]) -> Object:
    return {name: amount for name, amount in (amounts or {}).items() if name in names}
