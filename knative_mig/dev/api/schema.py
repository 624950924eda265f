"""What an object of a kind may hold: one value for a field's type, whether a table of ours or a CRD says it.

Made by `types` of the committed tables and by `crds` of CustomResourceDefinitions; read by `validation`,
`strategic_merge`, `field_sets`, `apply` and `openapi`. A type may name another one; `Types` knows them all and follows
the name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An `x-kubernetes-validations` entry: a CEL expression that must hold."""

    expression: str
    message: str
    field_path: str = ""
    reason: str = "FieldValueInvalid"

    @property
    def asks_of_old(self) -> bool:
        """Of a transition: there is nothing to ask of an object that is new."""
        return "oldSelf" in self.expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """Where a field is in the protobuf form: its number, below those of what is no field of its own in JSON."""

    numbers: tuple[int, ...]
    tells_zero: bool  # 0 or "" is a value there, and not how nothing is told


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    type: str = ""  # object | array | string | integer | number | boolean; empty: anything
    format: str = ""
    ref: str = ""  # the type stands under this name
    description: str = ""
    properties: Mapping[str, "Schema"] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    items: "Schema | None" = None
    values: "Schema | None" = None  # of a map
    preserves: bool = False  # fields that it does not name are kept
    int_or_string: bool = False
    nullable: bool = False
    list_type: str = ""  # atomic | set | map
    list_keys: tuple[str, ...] = ()
    atomic: bool = False  # a map that one manager owns as a whole
    merge_key: str = ""  # of a strategic merge patch
    merge_strategy: str = ""  # merge | retainKeys | merge,retainKeys
    default: Any = None  # None: none
    enum: tuple[Any, ...] = ()
    pattern: str = ""
    minimum: float | None = None
    maximum: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    min_items: int | None = None
    max_items: int | None = None
    rules: tuple[Rule, ...] = ()
    wires: Mapping[str, Wire] = field(default_factory=dict)

    @property
    def is_free(self) -> bool:
        """It says nothing about what is in it."""
        return self.type in ("", "object") and not (self.properties or self.values or self.ref or self.int_or_string)


ANYTHING: Final = Schema(preserves=True)


class Types:
    """By name; `loaders` find those that are not yet parsed."""

    def __init__(self, *loaders: Callable[[str], Schema | None]) -> None:
        self._known: dict[str, Schema] = {}
        self._loaders = loaders

    def add(self, name: str, schema: Schema) -> None:
        self._known[name] = schema

    def named(self, name: str) -> Schema:
        found = self._known.get(name)
        if found is None:
            found = next((each for load in self._loaders if (each := load(name)) is not None), ANYTHING)
            self._known[name] = found
        return found

    def of(self, schema: Schema) -> Schema:
        """The type itself, where only its name stands there; how its place merges stays the place's to say."""
        if not schema.ref:
            return schema
        named = self.named(schema.ref)
        if schema.atomic or schema.default is not None or schema.merge_strategy:
            return replace(
                named,
                atomic=schema.atomic or named.atomic,
                default=schema.default,
                merge_strategy=schema.merge_strategy,
                merge_key=schema.merge_key,
            )
        return named


# The words of OpenAPI that are a field here as they are.
_PLAIN: Final = {
    "type": "type",
    "format": "format",
    "description": "description",
    "pattern": "pattern",
    "nullable": "nullable",
    "minimum": "minimum",
    "maximum": "maximum",
    "minLength": "min_length",
    "maxLength": "max_length",
    "minItems": "min_items",
    "maxItems": "max_items",
    "default": "default",
    "x-kubernetes-list-type": "list_type",
    "x-kubernetes-preserve-unknown-fields": "preserves",
    "x-kubernetes-int-or-string": "int_or_string",
    "x-kubernetes-patch-merge-key": "merge_key",
    "x-kubernetes-patch-strategy": "merge_strategy",
}
_NAMES: Final = {
    "core": "io.k8s.api.core",
    "meta": "io.k8s.apimachinery.pkg.apis.meta",
    "api": "io.k8s.apimachinery.pkg.api",
    "util": "io.k8s.apimachinery.pkg.util",
    "apiextensions": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions",
}


def parsed(json: Json) -> Schema:
    """Of a CustomResourceDefinition's `openAPIV3Schema`."""
    known: dict[str, Any] = {ours: json[theirs] for theirs, ours in _PLAIN.items() if theirs in json}
    values = json.get("additionalProperties")
    return Schema(
        **known,
        properties={name: parsed(each) for name, each in (json.get("properties") or {}).items()},
        required=tuple(json.get("required") or ()),
        items=parsed(json["items"]) if isinstance(json.get("items"), dict) else None,
        values=parsed(values) if isinstance(values, dict) else None,
        list_keys=tuple(json.get("x-kubernetes-list-map-keys") or ()),
        atomic=json.get("x-kubernetes-map-type") == "atomic",
        enum=tuple(json.get("enum") or ()),
        rules=tuple(
            Rule(
                expression=each["rule"],
                message=each.get("message") or f"failed rule: {each['rule']}",
                field_path=each.get("fieldPath", ""),
                reason=each.get("reason", "FieldValueInvalid"),
            )
            for each in json.get("x-kubernetes-validations") or ()
        ),
    )


def written(schema: Schema, root: str) -> Json:
    """As OpenAPI has it. `root`: where named types are, like #/components/schemas/."""
    if schema.ref:
        json: Json = {"$ref": root + public_name(schema.ref)}
    else:
        json = {
            theirs: value
            for theirs, ours in _PLAIN.items()
            if (value := getattr(schema, ours)) not in ("", None, False)
        }
        json |= {"enum": list(schema.enum)} if schema.enum else {}
        if schema.int_or_string:
            json |= {"oneOf": [{"type": "integer"}, {"type": "string"}]}
        if schema.properties:
            json["properties"] = {name: written(each, root) for name, each in schema.properties.items()}
        if schema.required:
            json["required"] = list(schema.required)
        if schema.items:
            json["items"] = written(schema.items, root)
        if schema.values:
            json["additionalProperties"] = written(schema.values, root)
        if schema.list_keys:
            json["x-kubernetes-list-map-keys"] = list(schema.list_keys)
    if schema.atomic:
        json["x-kubernetes-map-type"] = "atomic"
    if schema.ref and (schema.merge_key or schema.merge_strategy):
        json |= {"x-kubernetes-patch-strategy": schema.merge_strategy}
    return json


def public_name(name: str) -> str:
    """As OpenAPI documents of the real one name a type."""
    if "/" in name:
        group, version, rest = name.split("/", 2)
        return f"{'.'.join(reversed(group.split('.')))}.{version}.{rest}"
    package, _, rest = name.partition(".")
    return f"{_NAMES.get(package, f'io.k8s.api.{package}')}.{rest}"


def references(schema: Schema) -> set[str]:
    """The names that it mentions, one step deep."""
    found = {schema.ref} if schema.ref else set()
    for each in (*schema.properties.values(), schema.items, schema.values):
        if each is not None:
            found |= references(each)
    return found
