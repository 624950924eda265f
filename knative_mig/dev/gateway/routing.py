"""Which revision a request is for: the Host header against what the Routes say.

Called by `hall`. A Route answers at NAME.NAMESPACE.DOMAIN and at the names that it has inside a cluster; each of its
tags at TAG-NAME in their place. The subtle thing is that a tag's URL has all of its revision's traffic, whatever its
percentage in the Route's own; and that a Route whose traffic is all tags has no URL of its own.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from knative_mig.core.events import shown
from knative_mig.dev.gateway.facts import RouteFacts
from knative_mig.ports.kube import Key

_CLUSTER: Final = "cluster.local"
_HOST: Final = re.compile(r"(?![^:]{254})[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?\.?|\[[0-9a-f:.]{2,45}\]")
_PORT: Final = re.compile(r":[0-9]{0,5}")


@dataclass(frozen=True, slots=True)
class Share:
    revision: Key
    percent: int


Table = Mapping[str, tuple[Share, ...]]  # by host


def table_of(routes: Mapping[Key, RouteFacts], domain: str) -> Table:
    """Where two tags and names read the same, the Route that is first in the alphabet has the URL."""
    table: dict[str, tuple[Share, ...]] = {}
    for key, route in sorted(routes.items()):
        for name, shares in _targets(key, route):
            for host in _hosts(name, key.namespace, domain, is_local=route.is_local):
                table.setdefault(host, shares)
    return table


def _targets(key: Key, route: RouteFacts) -> Iterator[tuple[str, tuple[Share, ...]]]:
    own = tuple(Share(Key(key.namespace, each.revision), each.percent) for each in route.traffic if each.percent > 0)
    if own:
        yield key.name, own
    for each in route.traffic:
        if each.tag:
            yield f"{each.tag}-{key.name}", (Share(Key(key.namespace, each.revision), 100),)


def _hosts(name: str, namespace: str, domain: str, *, is_local: bool) -> Iterator[str]:
    inside = f"{name}.{namespace}"
    if not is_local:
        yield f"{inside}.{domain}"
    yield from (inside, f"{inside}.svc", f"{inside}.svc.{_CLUSTER}")


def host_of(header: str) -> str | None:
    """The name alone; None: it is none."""
    named = _HOST.match(lowered := header.lower())
    if named is None or not (named.end() == len(lowered) or _PORT.fullmatch(lowered, named.end())):
        return None
    return named[0]


def function_at(host: str, domain: str) -> Key | None:
    """Whose it is by its form, whether there is one or not; a tag's looks the same."""
    for ending in (f".{domain}", f".svc.{_CLUSTER}", ".svc", ""):
        name, _, namespace = host.removesuffix(ending).partition(".")
        if host.endswith(ending):
            return Key(namespace, name) if namespace and "." not in namespace else None
    return None


def chosen(shares: Sequence[Share], drawn: float) -> Key:
    """`drawn` is evenly from 0 to 1."""
    at = drawn * sum(each.percent for each in shares)
    for each in shares:
        at -= each.percent
        if at < 0:
            return each.revision
    return shares[-1].revision


def unknown(host: str, routes: Mapping[Key, RouteFacts], table: Table, domain: str) -> str:
    """Why nobody answers there, in a line. `table`: of these routes."""
    for key, route in sorted(routes.items()):
        if host in _hosts(key.name, key.namespace, domain, is_local=False):
            return f"{key.namespace}/{key.name} is there, but {_but(key, route, domain)}"
    return f"no function has the host {shown(host)}: {_there(host, routes, table, domain)}"


def _but(key: Key, route: RouteFacts, domain: str) -> str:
    names = [name for name, _ in _targets(key, route)]
    if not names:
        return "nothing of it is ready yet: knative-mig ls shows why"
    if key.name in names:
        return f"cluster-local: it has {key.name}.{key.namespace}.svc.{_CLUSTER}"
    hosts = (next(_hosts(name, key.namespace, domain, is_local=route.is_local)) for name in names)
    return f"all its traffic is by tags: it has {', '.join(hosts)}"


def _there(host: str, routes: Mapping[Key, RouteFacts], table: Table, domain: str) -> str:
    if host.endswith(".") and host[:-1] in table:
        return f"there is {host[:-1]}, without the dot at its end"
    public = sorted(each for each in table if each.endswith(f".{domain}"))
    match public:
        case []:
            waits = any(not route.traffic for route in routes.values())
            return "none is ready yet, and knative-mig ls shows why" if waits else "there is none"
        case [only]:
            return f"there is {only}"
        case _:
            return f"there are {', '.join(public[:5])}{' and more' if len(public) > 5 else ''}"
