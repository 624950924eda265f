"""Decides what a container's process finds around it: its environment, its arguments, and where its mounts lie.

Called by `container_start` before each start; what Secrets and ConfigMaps hold comes in as values. The subtle thing is
the mounts. Without root there is no root folder of its own to mount anything into, so a mount is a folder of this
machine, and the process is told where, in each way that programs can be told:

- wherever its environment or its arguments name the mount's path, they name the folder: a relay's secret file is found;
- KNATIVE_MIG_DEV_ROOT is a folder in which every mount lies at its path;
- what a relay looks for where nobody names it, its slice's socket, is named by the option that it has for that.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from typing import Final

from knative_mig.adapters.kube.quantity import exact, milli, whole
from knative_mig.core.errors import KnativeMigError
from knative_mig.dev.node.pod_spec import ContainerSpec, EnvSource, Pod, Share

ROOT_VARIABLE: Final = "KNATIVE_MIG_DEV_ROOT"
# Options of our services whose defaults are such paths, with the variables by which they are given.
NAMED_BY: Final[Mapping[str, str]] = {"/var/run/knative-mig/slice": "KNATIVE_MIG_RELAY_SLICE_DIR"}
_REFERENCE: Final = re.compile(r"\$\$|\$\(([-._a-zA-Z][-._a-zA-Z0-9]*)\)")


class CannotSetUp(KnativeMigError):
    """The container waits with CreateContainerConfigError, and is tried again: what it lacks may come."""

    reason = "CreateContainerConfigError"


class CannotMount(KnativeMigError):
    """The container is not made yet, and that is all that its status says: an Event says why."""

    reason = "FailedMount"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """What a namespace's Secrets and ConfigMaps hold, those that a pod names: (kind, name) -> key -> value."""

    of: Mapping[tuple[str, str], Mapping[str, bytes]] = field(default_factory=dict)

    def find(self, kind: str, name: str) -> Mapping[str, bytes] | None:
        return self.of.get((kind, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the pod is."""

    node: str
    node_ip: str
    pod_ip: str
    allocatable: Mapping[str, str] = field(default_factory=dict)  # of the node


def environment(
    pod: Pod, container: ContainerSpec, place: Place, entries: Entries, base: Mapping[str, str]
) -> dict[str, str]:
    """`base`: what is there before the pod's own words. Each value may name those before it. CannotSetUp."""
    found = dict(base)
    for each in container.env_from:
        held = entries.find(each.kind, each.name)
        if held is None and not each.optional:
            raise CannotSetUp(f'{each.kind.lower()} "{each.name}" not found')
        for key, content in (held or {}).items():
            found[each.prefix + key] = _text(content)
    for variable in container.env:
        if variable.source is None:
            found[variable.name] = expanded(variable.value, found)
        else:
            value = _sourced(variable.source, pod, container, place, entries)
            if value is not None:
                found[variable.name] = value
    return found


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """$(NAME) as Kubernetes has it: one that is not known stays as it is, and $$ is a $."""

    def one(match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else variables.get(match[1], match[0])

    return _REFERENCE.sub(one, text)


def moved(text: str, mounts: Mapping[str, str]) -> str:
    """With the folder's path where a mount's stands: whole, or the beginning of a path in it."""
    for path in sorted(mounts, key=len, reverse=True):
        plain = path.rstrip("/")
        if plain and plain in text:
            place = mounts[path]
            text = re.sub(rf"(?<![^\s=:,'\"]){re.escape(plain)}(?=$|[/\s:,'\"])", lambda _, to=place: to, text)  # type: ignore[misc]
    return text


def field_of(pod: Pod, path: str, place: Place) -> str | None:
    """Of the downward API. None: there is no such field."""
    if match := re.fullmatch(r"metadata\.(labels|annotations)\['([^']*)'\]", path):
        return (pod.labels if match[1] == "labels" else pod.annotations).get(match[2], "")
    return {
        "metadata.name": pod.key.name,
        "metadata.namespace": pod.key.namespace,
        "metadata.uid": pod.uid,
        "metadata.labels": _lines(pod.labels),
        "metadata.annotations": _lines(pod.annotations),
        "spec.nodeName": place.node,
        "spec.serviceAccountName": pod.service_account,
        "status.hostIP": place.node_ip,
        "status.hostIPs": place.node_ip,
        "status.podIP": place.pod_ip,
        "status.podIPs": place.pod_ip,
    }.get(path)


def share_of(pod: Pod, share: Share, place: Place, told: ContainerSpec | None = None) -> str:
    """Of the downward API. `told`: the container that is, where it names none. CannotSetUp, BadInput."""
    container = told
    if share.container:
        container = next((each for each in (*pod.containers, *pod.init) if each.name == share.container), None)
    if container is None:
        raise CannotSetUp(f"container {share.container} not found")
    kind, _, name = share.of.partition(".")
    amount = (container.requests if kind == "requests" else container.limits).get(name, "0")
    if kind == "limits" and not exact(amount):
        amount = place.allocatable.get(name, "0")  # what it is not held to it may take all of
    rounded = milli if name == "cpu" else whole
    return str(ceil(Fraction(rounded(amount), rounded(share.divisor) or rounded("1"))))


def _sourced(source: EnvSource, pod: Pod, container: ContainerSpec, place: Place, entries: Entries) -> str | None:
    if source.kind == "field":
        value = field_of(pod, source.key, place)
        if value is None:
            raise CannotSetUp(f"the pod has no field {source.key}")
        return value
    if source.share is not None:
        return share_of(pod, source.share, place, container)
    held = entries.find(source.kind, source.name)
    if held is not None and source.key in held:
        return _text(held[source.key])
    if source.optional:
        return None
    if held is None:
        raise CannotSetUp(f'{source.kind.lower()} "{source.name}" not found')
    return _missing_key(source, pod)


def _missing_key(source: EnvSource, pod: Pod) -> str:
    raise CannotSetUp(f"couldn't find key {source.key} in {source.kind} {pod.key.namespace}/{source.name}")


def wanted_entries(pod: Pod) -> frozenset[tuple[str, str]]:
    """The Secrets and ConfigMaps that it names, in its environment or as volumes: kind and name."""
    containers: Iterable[ContainerSpec] = (*pod.init, *pod.containers)
    found = {(each.kind, each.name) for container in containers for each in container.env_from}
    found |= {
        (each.source.kind, each.source.name)
        for container in containers
        for each in container.env
        if each.source is not None and each.source.kind in ("Secret", "ConfigMap")
    }
    found |= {
        (source.kind, source.name)
        for volume in pod.volumes
        for source in volume.sources
        if source.kind in ("Secret", "ConfigMap")
    }
    return frozenset(found)


def _text(value: bytes) -> str:
    """A null ends what a process can be told."""
    return value.decode("utf-8", errors="replace").replace("\0", "")


def _lines(of: Mapping[str, str]) -> str:
    return "\n".join(f'{key}="{value}"' for key, value in sorted(of.items()))
