"""Writes knative_mig/dev/api/schemas/*.types: which fields the objects of Kubernetes and Knative have.

Run by hand for a new release, with the Go module cache that has what the test cluster is built from (its versions stand
in `tests/cluster/testbed/versions.toml`, Knative's networking in serving's own go.mod):

    python tests/data/generate_api_types.py MODULES

Facts alone are taken, a line a field: its type, its number in protobuf, how lists merge, what is refused; no text. What
Knative's CRDs say at several places, like the pod of a template, becomes one named type; what they leave open beside
fields that they name is closed, for Knative's webhooks refuse what they do not know.
"""

import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from knative_mig.dev.api.kinds import BUILT_IN

Json = dict[str, Any]
_PREFIXES: Final = (
    "io.k8s.api.",
    "io.k8s.apimachinery.pkg.apis.",
    "io.k8s.apimachinery.pkg.",
    "io.k8s.apiextensions-apiserver.pkg.apis.",
)
_FLAGS: Final = {
    "x-kubernetes-patch-merge-key": "key",
    "x-kubernetes-patch-strategy": "patch",
    "x-kubernetes-list-type": "list",
    "x-kubernetes-map-type": "map",
    "pattern": "pattern",
    "minimum": "min",
    "maximum": "max",
    "minLength": "shortest",
    "maxLength": "longest",
    "maxItems": "most",
    "minItems": "least",
}
_BESIDE: Final = (
    "meta.v1.Status",
    "meta.v1.DeleteOptions",
    "autoscaling.v1.Scale",
    "policy.v1.Eviction",
    "core.v1.Binding",
    "meta.v1.Preconditions",
)
_ROOT: Final = Path(__file__).parents[2]
_HERE: Final = _ROOT / "knative_mig" / "dev" / "api" / "schemas"


def short(name: str) -> str:
    return next((name.removeprefix(each) for each in _PREFIXES if name.startswith(each)), name)


Wires = dict[str, dict[str, str]]  # type, field, and its number as the tables have it
_STRUCT: Final = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_TAGGED: Final = re.compile(r'^\s+(?:(\w+)\s+)?(\S+)\s+`.*?json:"([^"]*)".*?protobuf:"[a-z0-9]+,(\d+),', re.MULTILINE)


def wires(modules: Path, release: str) -> Wires:
    """Of Go's own structs, which know what no document tells: a number, and whether nothing differs from zero (*)."""
    found: dict[str, list[tuple[str, str, str, str]]] = {}
    places: list[tuple[Path, str, Callable[[Path], str]]] = [
        (modules / f"k8s.io/api@{release}", "*/v1/types.go", lambda file: f"{file.parts[-3]}.v1"),
        (modules / f"k8s.io/apimachinery@{release}/pkg/apis", "meta/v1/types.go", lambda _: "meta.v1"),
        (
            modules / f"k8s.io/apiextensions-apiserver@{release}/pkg/apis",
            "apiextensions/v1/types*.go",
            lambda _: "apiextensions.v1",
        ),
    ]
    for folder, pattern, package in places:
        for file in sorted(folder.glob(pattern)):
            for struct in _STRUCT.finditer(file.read_text()):
                found[f"{package(file)}.{struct[1]}"] = _TAGGED.findall(struct[2])

    def of(name: str) -> dict[str, str]:
        fields: dict[str, str] = {}
        for _, kind, json_tag, number in found.get(name, ()):
            field, _, options = json_tag.partition(",")
            if field:
                fields[field] = number + ("*" if kind.startswith("*") else "")
            elif "inline" in options:
                package = "meta.v1" if kind.startswith("metav1.") else name.rpartition(".")[0]
                inner = of(f"{package}.{kind.rpartition('.')[2]}")
                fields |= {each: f"{number}.{wire}" for each, wire in inner.items()}
        return fields

    return {name: of(name) for name in found}


class Writer:
    def __init__(self, wires: Wires) -> None:
        self._wires = wires
        self.types: dict[str, list[str]] = {}
        self._names: dict[str, str] = {}  # of an inline object's fields

    def define(self, name: str, schema: Json, *, inline: bool) -> None:
        flags = " ".join(self._flags(schema))
        self.types[name] = []  # its place is before those of its fields
        if "properties" in schema:
            head = f"{name} {flags}".strip()
        else:
            head = f"{name} = {self._expression(schema, name, inline=inline)} {flags}".strip()
        required = schema.get("required", ())
        lines = []
        for field, about in schema.get("properties", {}).items():
            wire = self._wires.get(name, {}).get(field, "")
            mark = (f"@{wire}" if wire else "") + ("!" if field in required else "")
            kind = self._expression(about, f"{name}.{field}", inline=inline)
            lines.append(f"  {field}{mark} {kind} {' '.join(self._flags(about))}".rstrip())
        self.types[name] = [head, *lines]

    def _flags(self, schema: Json) -> Iterator[str]:
        for key, flag in _FLAGS.items():
            if key in schema:
                value = str(schema[key])
                assert " " not in value, schema
                yield f"{flag}={value}"
        if keys := schema.get("x-kubernetes-list-map-keys"):
            yield f"keys={','.join(keys)}"
        if schema.get("enum"):
            yield f"enum={json.dumps(schema['enum'], separators=(',', ':'))}"
        if schema.get("default") not in (None, "", {}, 0, False):
            yield f"default={json.dumps(schema['default'], separators=(',', ':'))}"
        if schema.get("nullable"):
            yield "nullable"

    def _expression(self, schema: Json, at: str, *, inline: bool) -> str:
        if "allOf" in schema:  # how OpenAPI v3 puts a default beside a reference
            schema = schema["allOf"][0]
        if "$ref" in schema:
            return short(schema["$ref"].split("/")[-1])
        if schema.get("x-kubernetes-int-or-string") or schema.get("format") == "int-or-string":
            return "int-or-string"
        match schema.get("type"):
            case "array":
                return f"[{self._expression(schema['items'], at, inline=inline)}]"
            case "object" if at.endswith(".template.metadata"):
                return "meta.v1.ObjectMeta"
            case "object" if "properties" in schema:
                assert inline, at
                return self._named(schema, at)
            case "object" if isinstance(schema.get("additionalProperties"), dict):
                return f"{{{self._expression(schema['additionalProperties'], at, inline=inline)}}}"
            case "object":
                return "object" if inline and not schema.get("x-kubernetes-preserve-unknown-fields") else "free"
            case None:
                return "any"
            case plain:
                return f"{plain}/{schema['format']}" if schema.get("format") else str(plain)

    def _named(self, schema: Json, at: str) -> str:
        text = json.dumps(_bare(schema), sort_keys=True)
        if text not in self._names:
            self._names[text] = at
            self.define(at, schema, inline=True)
        return self._names[text]

    def write(self, file: Path, of: str) -> None:
        lines = [
            f"# {of}: a type a block, a field a line. Written by tests/data/generate_api_types.py.",
            *(line for block in self.types.values() for line in block),
        ]
        file.write_text("\n".join(lines) + "\n")
        print(f"{file}: {len(self.types)} types, {len(lines)} lines, {file.stat().st_size} bytes")


def _bare(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {k: _bare(v) for k, v in schema.items() if k != "description" or not isinstance(v, str)}
    return [_bare(each) for each in schema] if isinstance(schema, list) else schema


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref" and isinstance(value, str):
                yield value.split("/")[-1]
            else:
                yield from _references(value)
    elif isinstance(schema, list):
        for each in schema:
            yield from _references(each)


def kubernetes(module: Path, modules: Path, release: str) -> None:
    found: Json = {}
    for file in sorted((module / "api" / "openapi-spec" / "v3").glob("*.json")):
        found |= json.loads(file.read_text())["components"].get("schemas", {})
    patches = json.loads((module / "api" / "openapi-spec" / "swagger.json").read_text())["definitions"]
    writer = Writer(wires(modules, release))
    wanted = {*(kind.type for kind in BUILT_IN), *_BESIDE}
    todo = [name for name in found if short(name) in wanted]
    seen = set()
    for name in todo:
        if name not in seen:
            seen.add(name)
            todo += sorted(_references(found[name]))
            about = found[name]
            if "properties" not in about:
                about = {key: value for key, value in about.items() if key not in ("oneOf", "allOf")}
            # Version 3 has the defaults, version 2 alone says how a patch merges.
            for field, of_patch in patches.get(name, {}).get("properties", {}).items():
                about["properties"][field] |= {k: v for k, v in of_patch.items() if k.startswith("x-kubernetes-patch")}
            writer.define(short(name), about, inline=False)
    writer.write(_HERE / "kubernetes.types", f"Kubernetes {module.name.partition('@')[2]}")


def knative(folders: list[Path]) -> None:
    writer = Writer({})
    for folder in folders:
        for file in sorted(folder.rglob("config/**/*.yaml")):
            for crd in filter(None, yaml.safe_load_all(file.read_text())):
                if not isinstance(crd, dict) or crd.get("kind") != "CustomResourceDefinition":
                    continue
                names = crd["spec"]["names"]
                for version in crd["spec"]["versions"]:
                    name = f"{crd['spec']['group']}/{version['name']}/{names['kind']}"
                    if name in {kind.type for kind in BUILT_IN}:
                        schema = version["schema"]["openAPIV3Schema"]
                        every = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}}
                        every["metadata"] = {"$ref": "meta.v1.ObjectMeta"}
                        schema["properties"] = every | schema.get("properties", {}) | {"metadata": every["metadata"]}
                        writer.define(name, schema, inline=True)
    writer.write(_HERE / "knative.types", ", ".join(each.name.replace("@", " ") for each in folders))


def main(modules: Path) -> None:
    versions = tomllib.loads((_ROOT / "tests" / "cluster" / "testbed" / "versions.toml").read_text())["components"]
    of = {
        name: f"{versions[name]['module']}@{versions[name]['version']}"
        for name in ("kubernetes", "serving", "eventing")
    }
    needed = (modules / of["serving"] / "go.mod").read_text()
    networking = re.search(r"knative.dev/networking (v\S+)", needed)
    assert networking
    kubernetes(modules / of["kubernetes"], modules, versions["kubernetes"]["staging"])
    knative([modules / of["serving"], modules / f"knative.dev/networking@{networking[1]}", modules / of["eventing"]])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
