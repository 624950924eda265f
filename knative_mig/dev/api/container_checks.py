"""Whether a container may be as it is: its name, ports, variables, mounts, probes and hooks, as a cluster judges them.

Called by `pod_checks`. What the kubelet stand-in would have to guess at is refused here, for a pod that cannot be read
is one that its user waits for. The words are those of pkg/apis/core/validation.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from knative_mig.dev.api import names
from knative_mig.dev.api.causes import duplicate, forbidden, invalid_value, not_found, required, unsupported
from knative_mig.dev.api.refusals import Cause

Json = dict[str, Any]
_HIGHEST_PORT: Final = 65535
_NOT_NEGATIVE: Final = "must be greater than or equal to 0"
_HANDLERS: Final = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
_PROBES: Final = ("livenessProbe", "readinessProbe", "startupProbe")
_PROBE_NUMBERS: Final = (
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
)
_SCHEMES: Final = ("HTTP", "HTTPS")
_MESSAGE_POLICIES: Final = ("File", "FallbackToLogsOnError")
_HEADER: Final = "[-A-Za-z0-9]+"
_IS_HEADER: Final = re.compile(_HEADER)
_IS_VARIABLE: Final = re.compile(r"[ -<>-~]+")
_VARIABLE_TEXT: Final = (
    "a valid environment variable name must consist only of printable ASCII characters other than '='"
)
_FIELDS: Final = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
_FIELDS_IN_FILES: Final = (
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
)
_IS_KEY_OF: Final = re.compile(r"metadata\.(labels|annotations)\['.*'\]")
_SHARES: Final = tuple(
    f"{of}.{what}" for of in ("limits", "requests") for what in ("cpu", "ephemeral-storage", "memory")
)
_HUGE_PAGES: Final = ("limits.hugepages-", "requests.hugepages-")
_ONE_OF: Final = (
    "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surrounds:
    """What a container may name of its pod."""

    volumes: frozenset[str]
    grace_s: int


def wrong(of: Json, at: str, has: Surrounds, *, starts: bool) -> Iterator[Cause]:
    """`starts`: it is one of those that come before the others."""
    if not (name := of.get("name")):
        yield required(f"{at}.name")
    else:
        yield from names.label(name, f"{at}.name")
    if not of.get("image"):
        yield required(f"{at}.image")
    policy = of.get("terminationMessagePolicy") or "File"
    if policy not in _MESSAGE_POLICIES:
        yield unsupported(f"{at}.terminationMessagePolicy", policy, _MESSAGE_POLICIES)
    yield from _ports(of.get("ports") or (), f"{at}.ports")
    for n, each in enumerate(of.get("env") or ()):
        yield from _variable(each, f"{at}.env[{n}]")
    for n, each in enumerate(of.get("envFrom") or ()):
        yield from _variables_from(each, f"{at}.envFrom[{n}]")
    yield from _mounts(of.get("volumeMounts") or (), f"{at}.volumeMounts", has)
    for kind in ("limits", "requests"):
        for resource, amount in ((of.get("resources") or {}).get(kind) or {}).items():
            if str(amount).startswith("-"):
                yield invalid_value(f"{at}.resources.{kind}[{resource}]", str(amount), _NOT_NEGATIVE)
    if starts and of.get("restartPolicy") != "Always":
        why = "may not be set for init containers without restartPolicy=Always"
        yield from (forbidden(f"{at}.{key}", why) for key in ("lifecycle", *_PROBES) if of.get(key) is not None)
        return
    for when in ("postStart", "preStop"):
        if (hook := (of.get("lifecycle") or {}).get(when)) is not None:
            yield from _handler(hook, f"{at}.lifecycle.{when}", has)
    for kind in _PROBES:
        if (probe := of.get(kind)) is not None:
            yield from _probe(probe, f"{at}.{kind}", has, asks_ready=kind == "readinessProbe")


def _ports(ports: Any, at: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for n, each in enumerate(ports):
        if name := each.get("name"):
            faults = list(_port_name(name, f"{at}[{n}].name"))
            yield from faults
            if not faults and name in seen:
                yield duplicate(f"{at}[{n}].name", name)
            seen.add(name)
        if not (number := each.get("containerPort") or 0):
            yield required(f"{at}[{n}].containerPort")
        else:
            yield from _port_number(number, f"{at}[{n}].containerPort")


def _port_number(number: int, at: str) -> Iterator[Cause]:
    if not 1 <= number <= _HIGHEST_PORT:
        yield invalid_value(at, number, f"must be between 1 and {_HIGHEST_PORT}, inclusive")


def _port_name(name: str, at: str) -> Iterator[Cause]:
    if len(name) > 15:
        yield invalid_value(at, name, "must be no more than 15 bytes")
    if not re.fullmatch("[-a-z0-9]+", name):
        yield invalid_value(at, name, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", name):
        yield invalid_value(at, name, "must contain at least one letter (a-z)")
    if "--" in name:
        yield invalid_value(at, name, "must not contain consecutive hyphens")
    if name.startswith("-") or name.endswith("-"):
        yield invalid_value(at, name, "must not begin or end with a hyphen")


def _port(of: Json, at: str) -> Iterator[Cause]:
    """By number or by name; a number that is a text is a name to a cluster."""
    port: int | str = of.get("port") or 0
    yield from _port_name(port, f"{at}.port") if isinstance(port, str) else _port_number(port, f"{at}.port")


def _handler(of: Json, at: str, has: Surrounds) -> Iterator[Cause]:
    found = [kind for kind in _HANDLERS if of.get(kind) is not None]
    if not found:
        yield required(at, "must specify a handler type")
        return
    yield from (forbidden(f"{at}.{each}", "may not specify more than 1 handler type") for each in found[1:])
    kind, place = found[0], f"{at}.{found[0]}"
    asked = of[kind]
    match kind:
        case "exec":
            if not asked.get("command"):
                yield required(f"{place}.command")
        case "sleep":
            seconds = asked.get("seconds") or 0
            if not 0 <= seconds <= has.grace_s:
                why = f"must be non-negative and less than terminationGracePeriodSeconds ({has.grace_s})"
                yield invalid_value(place, seconds, why)
        case "httpGet":
            yield from _port(asked, place)
            if (scheme := asked.get("scheme") or "HTTP") not in _SCHEMES:
                yield unsupported(f"{place}.scheme", scheme, _SCHEMES)
            for each in asked.get("httpHeaders") or ():
                if not _IS_HEADER.fullmatch(name := each.get("name") or ""):
                    form = f"(e.g. 'X-Header-Name', regex used for validation is '{_HEADER}')"
                    why = f"a valid HTTP header must consist of alphanumeric characters or '-' {form}"
                    yield invalid_value(f"{place}.httpHeaders", name, why)
        case _:
            yield from _port(asked, place)


def _probe(of: Json, at: str, has: Surrounds, *, asks_ready: bool) -> Iterator[Cause]:
    yield from _handler(of, at, has)
    for key in _PROBE_NUMBERS:
        if (number := of.get(key) or 0) < 0:
            yield invalid_value(f"{at}.{key}", number, _NOT_NEGATIVE)
    grace = of.get("terminationGracePeriodSeconds")
    if grace is not None and grace <= 0:
        yield invalid_value(f"{at}.terminationGracePeriodSeconds", grace, "must be greater than 0")
    if asks_ready and grace is not None:
        yield invalid_value(f"{at}.terminationGracePeriodSeconds", grace, "must not be set for readinessProbes")
    if not asks_ready and (successes := of.get("successThreshold") or 1) != 1:
        yield invalid_value(f"{at}.successThreshold", successes, "must be 1")


def _variable(of: Json, at: str) -> Iterator[Cause]:
    name, source, place = of.get("name") or "", of.get("valueFrom"), f"{at}.valueFrom"
    if not name:
        yield required(f"{at}.name")
    elif not _IS_VARIABLE.fullmatch(name):
        yield invalid_value(f"{at}.name", name, _VARIABLE_TEXT)
    if source is None:
        return
    given = [kind for kind, ref in source.items() if ref is not None]
    if not given:
        yield invalid_value(place, "", _ONE_OF)
    elif of.get("value"):
        yield invalid_value(place, "", "may not be specified when `value` is not empty")
    elif len(given) > 1:
        yield invalid_value(place, "", "may not have more than one field specified at a time")
    for kind in ("configMapKeyRef", "secretKeyRef"):
        if kind in given:
            yield from (required(f"{place}.{kind}.{key}") for key in ("name", "key") if not source[kind].get(key))
    yield from _told(source, place, _FIELDS)


def told_in_file(of: Json, at: str) -> Iterator[Cause]:
    """Of a pod, in a file of a volume."""
    if not of.get("path"):
        yield required(f"{at}.path")
    given = [kind for kind in ("fieldRef", "resourceFieldRef") if of.get(kind) is not None]
    if not given:
        yield required(at, "one of fieldRef and resourceFieldRef is required")
    elif len(given) > 1:
        yield invalid_value(at, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously")
    elif given == ["resourceFieldRef"] and not of["resourceFieldRef"].get("containerName"):
        yield required(f"{at}.resourceFieldRef.containerName")
    else:
        yield from _told(of, at, _FIELDS_IN_FILES)


def _told(of: Json, at: str, fields: Sequence[str]) -> Iterator[Cause]:
    if (field := of.get("fieldRef")) is not None:
        path = field.get("fieldPath") or ""
        if not path:
            yield required(f"{at}.fieldRef.fieldPath")
        elif path not in fields and not _IS_KEY_OF.fullmatch(path):
            yield unsupported(f"{at}.fieldRef.fieldPath", path, fields)
    if (share := of.get("resourceFieldRef")) is not None:
        resource = share.get("resource") or ""
        if not resource:
            yield required(f"{at}.resourceFieldRef.resource")
        elif resource not in _SHARES and not resource.startswith(_HUGE_PAGES):
            yield unsupported(f"{at}.resourceFieldRef.resource", resource, _SHARES)


def _variables_from(of: Json, at: str) -> Iterator[Cause]:
    if (prefix := of.get("prefix")) and not _IS_VARIABLE.fullmatch(prefix):
        yield invalid_value(f"{at}.prefix", prefix, _VARIABLE_TEXT)
    given = [kind for kind in ("configMapRef", "secretRef") if of.get(kind) is not None]
    yield from (required(f"{at}.{kind}.name") for kind in given if not of[kind].get("name"))
    if not given:
        yield invalid_value(at, "", "must specify one of: `configMapRef` or `secretRef`")
    elif len(given) > 1:
        yield invalid_value(at, "", "may not have more than one field specified at a time")


def _mounts(mounts: Any, at: str, has: Surrounds) -> Iterator[Cause]:
    paths: set[str] = set()
    for n, each in enumerate(mounts):
        name, path = each.get("name") or "", each.get("mountPath") or ""
        if not name:
            yield required(f"{at}[{n}].name")
        if name not in has.volumes:
            yield not_found(f"{at}[{n}].name", name)
        if not path:
            yield required(f"{at}[{n}].mountPath")
        if path in paths:
            yield invalid_value(f"{at}[{n}].mountPath", path, "must be unique")
        paths.add(path)
