"""Which URL a destination stands for: a `uri` itself, or what a `ref` is addressed by.

Called by `brokers` and `triggers`. The subtle thing is a plain Service of Kubernetes: its URL is its name inside a
cluster, whether anything answers there or not; all other kinds have theirs in their status.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from knative_mig.adapters.kube.kinds import FUNCTION
from knative_mig.dev.eventing.objects import BROKER, SERVICE, Seen
from knative_mig.ports.kube import Key

_ADDRESSED: Final = {(kind.group, kind.kind): kind for kind in (BROKER, FUNCTION)}


@dataclass(frozen=True, slots=True)
class Unresolved:
    why: str


def url_of(destination: Mapping[str, Any], namespace: str, seen: Seen) -> str | Unresolved:
    """`namespace`: where a `ref` that names none looks."""
    ref, uri = destination.get("ref"), str(destination.get("uri") or "")
    if not ref:
        return _absolute(uri) if uri else Unresolved("destination missing Ref and URI, expected at least one")
    base = _addressed(ref, Key(ref.get("namespace") or namespace, ref.get("name", "")), seen)
    if isinstance(base, Unresolved) or not uri:
        return base
    if urlsplit(uri).scheme:
        return Unresolved("absolute URI is not allowed when Ref or [apiVersion, kind, name] exists")
    return urljoin(base, uri)


def _absolute(uri: str) -> str | Unresolved:
    parts = urlsplit(uri)
    if not parts.scheme or not parts.hostname:
        return Unresolved(f'URI is not absolute (both scheme and host should be non-empty): "{uri}"')
    return uri


def _addressed(ref: Mapping[str, Any], key: Key, seen: Seen) -> str | Unresolved:
    group, kind_name = ref.get("apiVersion", ""), ref.get("kind", "")
    if (group, kind_name) == (SERVICE.group, SERVICE.kind):
        if key not in seen[SERVICE]:
            return _missing(key, "services")
        return f"http://{key.name}.{key.namespace}.svc.cluster.local"
    kind = _ADDRESSED.get((group, kind_name))
    if kind is None:
        return Unresolved(f"nothing here has the address of a {kind_name} of {group}: legal are Services and Brokers")
    body = seen[kind].get(key)
    if body is None:
        return _missing(key, f"{kind.plural}.{kind.group.partition('/')[0]}")
    url = ((body.get("status") or {}).get("address") or {}).get("url")
    return str(url) if url else Unresolved(f"address not set for {kind.kind} {key.namespace}/{key.name}")


def _missing(key: Key, resource: str) -> Unresolved:
    return Unresolved(f'failed to get object {key.namespace}/{key.name}: {resource} "{key.name}" not found')
