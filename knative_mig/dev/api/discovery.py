"""Which kinds there are, told to clients: the aggregated document that kubectl asks for first, and the older ones.

Called by `service`. All of it is made of `kinds`, hence true also of a custom kind that was defined a moment ago.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from knative_mig.dev.api.kinds import VERBS_BELOW, Kind, Kinds
from knative_mig.dev.api.negotiation import ranges

Object = dict[str, Any]
AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
GIT_VERSION: Final = "v1.36.3"
# What a subresource takes, where that is not its object.
_TAKES: Final[Mapping[str, Object]] = {
    "scale": {"group": "autoscaling", "version": "v1", "kind": "Scale"},
    "eviction": {"group": "policy", "version": "v1", "kind": "Eviction"},
    "binding": {"group": "", "version": "v1", "kind": "Binding"},
}


def version() -> Object:
    major, minor = GIT_VERSION.removeprefix("v").split(".")[:2]
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"{GIT_VERSION}+dev",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "",
        "platform": "linux/amd64",
        "emulationMajor": major,
        "emulationMinor": minor,
        "minCompatibilityMajor": major,
        "minCompatibilityMinor": minor,
    }


def wants_aggregated(accept: str) -> bool:
    return any(
        (each.parameters.get("as"), each.parameters.get("v")) == ("APIGroupDiscoveryList", "v2")
        for each in ranges(accept)
    )


def aggregated(kinds: Kinds, *, core: bool) -> Object:
    """Of /api where it is the core group's, else of /apis."""
    items = [
        {
            "metadata": {"name": group} if group else {"creationTimestamp": None},
            "versions": [_version(kinds, group, each) for each in versions],
        }
        for group, versions in kinds.groups().items()
        if (group == "") is core
    ]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _version(kinds: Kinds, group: str, version: str) -> Object:
    resources = [_aggregated(each) for each in _of(kinds, group, version)]
    return {"version": version, "resources": resources, "freshness": "Current"}


def _of(kinds: Kinds, group: str, version: str) -> Sequence[Kind]:
    return [each for each in kinds if (each.group, each.version) == (group, version)]


def _gvk(kind: Kind) -> Object:
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


def _aggregated(kind: Kind) -> Object:
    found: Object = {
        "resource": kind.plural,
        "responseKind": _gvk(kind),
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        found["shortNames"] = list(kind.short_names)
    if kind.categories:
        found["categories"] = list(kind.categories)
    if kind.subresources:
        found["subresources"] = [
            {"subresource": each, "responseKind": _TAKES.get(each) or _gvk(kind), "verbs": list(VERBS_BELOW[each])}
            for each in kind.subresources
        ]
    return found


def groups(kinds: Kinds) -> Object:
    """The older answer of /apis."""
    found = [group(kinds, each) for each in kinds.groups() if each]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": found}


def group(kinds: Kinds, name: str) -> Object:
    versions = [{"groupVersion": f"{name}/{each}", "version": each} for each in kinds.groups().get(name, ())]
    return {"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": versions, "preferredVersion": versions[0]}


def core_versions(address: str) -> Object:
    """The older answer of /api."""
    addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}


def resources(kinds: Kinds, group_: str, version: str) -> Object | None:
    """The older answer of /api/v1 and /apis/GROUP/VERSION; None: there is none of that."""
    found = _of(kinds, group_, version)
    if not found:
        return None
    name = f"{group_}/{version}" if group_ else version
    listed = [entry for kind in found for entry in _listed(kind)]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": listed}


def _listed(kind: Kind) -> list[Object]:
    entry: Object = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    below = [
        {
            "name": f"{kind.plural}/{each}",
            "singularName": "",
            "namespaced": kind.namespaced,
            **(_TAKES.get(each) or {"kind": kind.kind}),
            "verbs": list(VERBS_BELOW[each]),
        }
        for each in kind.subresources
    ]
    return [entry, *below]
