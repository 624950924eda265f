"""What Knative fills in on a Service, a Configuration, a Route or a Revision.

Called by `admission`. The subtle thing is an update that keeps the user's own name of the Revision: its template is
left as it was sent, or a newer default would be a change that the name does not allow.
"""

from collections.abc import Mapping
from typing import Any, Final

from knative_mig.adapters.kube.kinds import REVISION, Kind
from knative_mig.dev.serving import objects
from knative_mig.dev.serving.objects import CONFIGURATION, CREATOR, MODIFIER, ROUTE, SERVICE, Object
from knative_mig.dev.serving.settings import Settings

_WRITABLE: Final = ("emptyDir", "persistentVolumeClaim", "ephemeral")


def defaulted(kind: Kind, new: Object, old: Object | None, settings: Settings, user: str) -> Object:
    spec = dict(objects.spec(new))
    if kind in (SERVICE, CONFIGURATION):
        spec["template"] = _template(spec.get("template") or {}, old, settings)
    if kind in (SERVICE, ROUTE):
        traffic = spec.get("traffic") or ([{"percent": 100, "latestRevision": True}] if kind is SERVICE else [])
        if traffic or "traffic" in spec:
            spec["traffic"] = [_target(each) for each in traffic]
    if kind is REVISION and old is None:
        spec = _revision(spec, settings, is_new=True)
    found = {**new, "spec": spec} if spec or "spec" in new else new
    is_whole = kind is SERVICE or (kind in (CONFIGURATION, ROUTE) and not new["metadata"].get("ownerReferences"))
    return _signed(kind, found, old, settings, user) if is_whole else found


def _signed(kind: Kind, new: Object, old: Object | None, settings: Settings, user: str) -> Object:
    notes = dict(objects.annotations(new))
    if old is None:
        notes |= {CREATOR: user, MODIFIER: user}
    elif objects.spec(new) != objects.spec(defaulted_spec(kind, old, settings)):
        notes[MODIFIER] = user
    else:
        return new
    return {**new, "metadata": {**new["metadata"], "annotations": notes}}


def defaulted_spec(kind: Kind, old: Object, settings: Settings) -> Object:
    """What was kept before is compared as it would be sent now."""
    spec = dict(objects.spec(old))
    if kind in (SERVICE, CONFIGURATION):
        spec["template"] = _template(spec.get("template") or {}, old, settings)
    return {**old, "spec": spec}


def _template(template: Object, old: Object | None, settings: Settings) -> Object:
    name = (template.get("metadata") or {}).get("name", "")
    before = objects.spec(old).get("template") or {} if old is not None else {}
    if name and name == (before.get("metadata") or {}).get("name"):
        return template
    return {**template, "spec": _revision(template.get("spec") or {}, settings, is_new=old is None)}


def _target(target: Mapping[str, Any]) -> Object:
    found = dict(target)
    if found.get("latestRevision") is None:
        found["latestRevision"] = not found.get("revisionName")
    if found.get("percent") is None:
        found["percent"] = 0
    return found


def _revision(spec: Mapping[str, Any], settings: Settings, *, is_new: bool) -> Object:
    found = dict(spec)
    found["timeoutSeconds"] = timeout = found.get("timeoutSeconds") or settings.timeout_s
    for name, default in (
        ("idleTimeoutSeconds", settings.idle_s),
        ("responseStartTimeoutSeconds", settings.response_start_s),
    ):
        if found.get(name) is None and 0 != default < timeout:
            found[name] = default
    if found.get("containerConcurrency") is None:
        found["containerConcurrency"] = settings.concurrency
    containers = [dict(each) for each in found.get("containers") or ()]
    _name(containers, [*containers, *(found.get("initContainers") or ())], settings.container_name)
    writable = {
        each.get("name") for each in found.get("volumes") or () if any(each.get(how) is not None for how in _WRITABLE)
    }
    for each in containers:
        _container(each, settings, writable, serves=len(containers) == 1 or bool(each.get("ports")))
    if containers:
        found["containers"] = containers
        if found.get("enableServiceLinks") is None and is_new and settings.service_links is not None:
            found["enableServiceLinks"] = settings.service_links
    return found


def _name(containers: list[Object], every: list[Object], default: str) -> None:
    taken = {each.get("name", "") for each in every}
    number = 0
    for each in containers:
        if each.get("name"):
            continue
        name = default
        if len(containers) > 1 or name in taken:
            while (name := objects.child_name(default, f"-{number}")) in taken:
                number += 1
            number += 1
        each["name"] = name


def _container(container: Object, settings: Settings, writable: set[object], *, serves: bool) -> None:
    resources = dict(container.get("resources") or {})
    for part, amounts in (("requests", settings.requests), ("limits", settings.limits)):
        if amounts:
            resources[part] = {**dict(amounts), **(resources.get(part) or {})}
    container["resources"] = resources
    probes = {
        name: dict(container[name])
        for name in ("readinessProbe", "livenessProbe", "startupProbe")
        if container.get(name) is not None
    }
    if serves:
        readiness = probes.setdefault("readinessProbe", {})
        if not any(readiness.get(how) is not None for how in ("tcpSocket", "httpGet", "exec", "grpc")):
            readiness["tcpSocket"] = {"port": 0}
    if "readinessProbe" in probes:
        _readiness(probes["readinessProbe"])
    for name, probe in probes.items():
        if "grpc" in probe:
            probe["grpc"] = {"port": 0, "service": "", **(probe["grpc"] or {})}
        for how in ("httpGet", "tcpSocket"):
            if how in probe:
                probe[how] = {"port": 0, **(probe[how] or {})}
        container[name] = probe
    if mounts := container.get("volumeMounts"):
        container["volumeMounts"] = [
            each if each.get("name") in writable else {**each, "readOnly": True} for each in mounts
        ]


def _readiness(probe: Object) -> None:
    probe["successThreshold"] = probe.get("successThreshold") or 1
    if probe.get("periodSeconds"):
        probe["failureThreshold"] = probe.get("failureThreshold") or 3
        probe["timeoutSeconds"] = probe.get("timeoutSeconds") or 1
