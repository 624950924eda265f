"""What the objects look like, told to clients: OpenAPI v3 for kubectl's validation and explain, v2 for older ones.

Called by `service`; made of `types` when somebody asks, a document a group and version, and kept by what it was made
of. A document has the paths that kubectl looks for, and every type that they lead to.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from knative_mig.dev.api import openapi_protobuf
from knative_mig.dev.api.discovery import GIT_VERSION
from knative_mig.dev.api.kinds import Kind, Kinds
from knative_mig.dev.api.schema import Schema, Types, public_name, references, written
from knative_mig.dev.api.store import encoded

Object = dict[str, Any]
_V3: Final = "#/components/schemas/"
_V2: Final = "#/definitions/"
_WRITING: Final = ("dryRun", "fieldManager", "fieldValidation")
_CONTENT: Final = "application/json"
_OPTIONS: Final = "meta.v1.DeleteOptions"


class Documents:
    def __init__(self, kinds: Kinds, types: Types) -> None:
        self._kinds = kinds
        self._types = types
        self._made: dict[str, tuple[object, bytes]] = {}

    def index(self) -> Object:
        """Of /openapi/v3: where a group's document is. Its hash lets clients keep it."""
        paths = {}
        for group, versions in self._kinds.groups().items():
            for version in versions:
                root = f"apis/{group}/{version}" if group else f"api/{version}"
                digest = hashlib.sha256(self.of(root) or b"").hexdigest().upper()
                paths[root] = {"serverRelativeURL": f"/openapi/v3/{root}?hash={digest}"}
        return {"paths": paths}

    def of(self, root: str) -> bytes | None:
        """`root`: like apis/apps/v1. None: nothing is served there."""
        kinds = [each for each in self._kinds if each.root == f"/{root}"]
        if not kinds:
            return None
        return self._kept(root, kinds, lambda: encoded(self._third(kinds)))

    def second(self) -> bytes:
        """All of it in the form of version 2."""
        kinds = list(self._kinds)
        return self._kept("v2", kinds, lambda: encoded(self._second(kinds)))

    def second_as_protobuf(self) -> bytes:
        kinds = list(self._kinds)
        return self._kept("v2 protobuf", kinds, lambda: openapi_protobuf.written(self._second(kinds)))

    def _kept(self, name: str, kinds: Sequence[Kind], make: Callable[[], bytes]) -> bytes:
        # A type that was defined anew is another value, under the same name.
        of = [(kind, self._types.named(kind.type)) for kind in kinds]
        made = self._made.get(name)
        if made is None or made[0] != of:
            made = self._made[name] = (of, make())
        return made[1]

    def _third(self, kinds: list[Kind]) -> Object:
        return {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": GIT_VERSION},
            "paths": {path: item for kind in kinds for path, item in _paths(kind, _third_body).items()},
            "components": {"schemas": self._definitions(kinds, _V3)},
        }

    def _second(self, kinds: list[Kind]) -> Object:
        return {
            "swagger": "2.0",
            "info": {"title": "Kubernetes", "version": GIT_VERSION},
            "paths": {path: item for kind in kinds for path, item in _paths(kind, _second_body).items()},
            "definitions": self._definitions(kinds, _V2),
        }

    def _definitions(self, kinds: list[Kind], root: str) -> Object:
        found: Object = {}
        todo = [*(kind.type for kind in kinds), _OPTIONS]
        kinds_of = {kind.type: kind for kind in kinds}
        while todo:
            name = todo.pop()
            public = public_name(name)
            if public in found:
                continue
            schema = self._as_defined(name)
            found[public] = written(schema, root)
            if name in kinds_of:
                found[public]["x-kubernetes-group-version-kind"] = [_gvk(kinds_of[name])]
            todo += references(schema)
        for kind in kinds:
            found[f"{public_name(kind.type)}List"] = _list(kind, root)
        return found

    def _as_defined(self, name: str) -> Schema:
        """What is below a type of a CustomResourceDefinition is told within it: there it has no name."""
        schema = self._types.named(name)
        if "/" not in name:  # as types of Kubernetes are called
            return schema
        whole = {key: each if key == "metadata" else self._whole(each) for key, each in schema.properties.items()}
        return replace(schema, properties=whole)

    def _whole(self, schema: Schema) -> Schema:
        found = self._types.of(schema)
        return replace(
            found,
            properties={key: self._whole(each) for key, each in found.properties.items()},
            items=found.items and self._whole(found.items),
            values=found.values and self._whole(found.values),
        )


def _gvk(kind: Kind) -> Object:
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


def _list(kind: Kind, root: str) -> Object:
    return {
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "items": {"type": "array", "items": {"$ref": root + public_name(kind.type)}},
        },
        "x-kubernetes-group-version-kind": [{**_gvk(kind), "kind": f"{kind.kind}List"}],
    }


def _third_body(kind: Kind) -> Object:
    return {"requestBody": {"content": {_CONTENT: {"schema": {"$ref": _V3 + public_name(kind.type)}}}}}


def _second_body(kind: Kind) -> Object:
    return {"x-body": {"$ref": _V2 + public_name(kind.type)}}


def _paths(kind: Kind, body: Any) -> Object:
    where = f"{kind.root}/namespaces/{{namespace}}/{kind.plural}" if kind.namespaced else f"{kind.root}/{kind.plural}"
    names = ["name", *(["namespace"] if kind.namespaced else [])]

    def operation(action: str, *, writes: bool = False) -> Object:
        parameters = (
            [{"name": each, "in": "query", "schema": {"type": "string"}} for each in _WRITING] if writes else []
        )
        return {
            "operationId": f"{action}_{kind.version}_{kind.plural}",
            "parameters": parameters,
            "responses": {"200": {"description": "OK"}},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": _gvk(kind),
            **(body(kind) if writes else {}),
        }

    patch = operation("patch", writes=True)
    if "requestBody" in patch:
        taken = ["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"]
        taken += [] if kind.custom else ["application/strategic-merge-patch+json"]
        patch["requestBody"] = {"content": {each: {"schema": {"type": "object"}} for each in taken}}
    in_path = [{"name": each, "in": "path", "required": True, "schema": {"type": "string"}} for each in names]
    if kind.asked:
        return {where: {"post": operation("post", writes=True), "parameters": in_path[1:]}}
    return {
        where: {"get": operation("list"), "post": operation("post", writes=True), "parameters": in_path[1:]},
        f"{where}/{{name}}": {
            "get": operation("get"),
            "put": operation("put", writes=True),
            "patch": patch,
            "delete": operation("delete"),
            "parameters": in_path,
        },
    }
