"""Custom kinds: what a CustomResourceDefinition defines is served as long as the definition is there.

`Definitions` is made by `server` and hears of every change. GpuNode is defined by the manifest that installs it on a
cluster, and by nothing else; Knative's kinds stand in `kinds`, and here they get the definitions that a cluster lists.
"""

from collections.abc import Iterator
from typing import Any, Final

import yaml

from knative_mig.dev.api.kinds import BUILT_IN, Column, Kind, Kinds
from knative_mig.dev.api.schema import Schema, Types, parsed
from knative_mig.dev.api.store import Change, Key, Store
from knative_mig.dev.manifests import MANIFESTS

Object = dict[str, Any]
PLACE: Final = "customresourcedefinitions.apiextensions.k8s.io"
_GPU_NODE: Final = MANIFESTS / "core" / "300-gpunode.yaml"


def shipped() -> list[Object]:
    """The definitions that are there from the start."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found = yaml.load(_GPU_NODE.read_text(), Loader=loader)  # noqa: S506  a safe loader
    return [found, *(_definition_of(kind) for kind in BUILT_IN if kind.custom)]


class Definitions:
    def __init__(self, store: Store, kinds: Kinds, types: Types) -> None:
        self._store = store
        self._kinds = kinds
        self._types = types
        with store.held():
            for key, stored in store:
                self._heard(Change(stored.version, key, None, stored))
            store.listen(self._heard)

    def _heard(self, change: Change) -> None:
        """Under the store's lock: a kind is served before anybody can have seen that it is defined."""
        if change.key.place != PLACE:
            return
        before = set(_kinds_of(change.before.body)) if change.before else set()
        after = set(_kinds_of(change.after.body)) if change.after else set()
        built_in = {kind.type for kind in BUILT_IN}
        for kind in before - after:
            if kind.type not in built_in:
                self._kinds.remove(kind)
                self._types.add(kind.type, Schema(preserves=True))
        for kind in after - before:
            if kind.type not in built_in:
                self._kinds.add(kind)
        if change.after:
            for name, schema in _types_of(change.after.body):
                if name not in built_in:
                    self._types.add(name, schema)
        for kind in before if not after else ():
            for each in self._store.all(kind.place)[0]:
                about = each.body["metadata"]
                self._store.remove(Key(kind.place, about.get("namespace", ""), about["name"]), over=each.version)


def _kinds_of(body: Object) -> Iterator[Kind]:
    spec = body.get("spec") or {}
    names = spec.get("names") or {}
    for version in spec.get("versions") or ():
        if version.get("served"):
            below = version.get("subresources") or {}
            yield Kind(
                group=str(spec.get("group", "")),
                version=str(version["name"]),
                kind=str(names.get("kind", "")),
                plural=str(names.get("plural", "")),
                type=_type(spec, version),
                namespaced=spec.get("scope") != "Cluster",
                short_names=tuple(names.get("shortNames") or ()),
                categories=tuple(names.get("categories") or ()),
                subresources=tuple(each for each in ("status",) if each in below),
                custom=True,
                columns=tuple(
                    Column(
                        name=each["name"],
                        type=each.get("type", "string"),
                        path=each.get("jsonPath", ""),
                        priority=int(each.get("priority", 0)),
                        description=each.get("description", ""),
                    )
                    for each in version.get("additionalPrinterColumns") or ()
                ),
            )


def _types_of(body: Object) -> Iterator[tuple[str, Schema]]:
    spec = body.get("spec") or {}
    for version in spec.get("versions") or ():
        schema = parsed(
            (version.get("schema") or {}).get("openAPIV3Schema") or {"x-kubernetes-preserve-unknown-fields": True}
        )
        every = {
            "apiVersion": Schema(type="string"),
            "kind": Schema(type="string"),
            **schema.properties,
            "metadata": Schema(ref="meta.v1.ObjectMeta"),
        }
        yield (
            _type(spec, version),
            Schema(
                type="object",
                description=schema.description,
                properties=every,
                required=schema.required,
                preserves=schema.preserves,
                rules=schema.rules,
            ),
        )


def _type(spec: Object, version: Object) -> str:
    return f"{spec.get('group')}/{version['name']}/{(spec.get('names') or {}).get('kind')}"


def _definition_of(kind: Kind) -> Object:
    """As much of it as is asked for: names, scope and columns. Its schema is in `schemas`."""
    names = {
        "kind": kind.kind,
        "plural": kind.plural,
        "shortNames": list(kind.short_names),
        "categories": list(kind.categories),
    }
    columns = [{"name": each.name, "type": each.type, "jsonPath": each.path} for each in kind.columns]
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": kind.version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
        "additionalPrinterColumns": columns,
    }
    return {
        "kind": "CustomResourceDefinition",
        "apiVersion": "apiextensions.k8s.io/v1",
        "metadata": {"name": kind.resource},
        "spec": {
            "group": kind.group,
            "names": names,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [version],
        },
    }
