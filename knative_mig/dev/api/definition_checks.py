"""Whether a CustomResourceDefinition defines a kind that can be served: its names, its versions, and what may change.

Called by `validation`. What its schema may say is not looked at: of a schema that says nothing of sense objects are
held to the rest.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from knative_mig.dev.api.causes import invalid_value, required, unsupported
from knative_mig.dev.api.refusals import Cause

Json = dict[str, Any]
_LABEL: Final = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_IS_LABEL: Final = re.compile(_LABEL)
_LABEL_TEXT: Final = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    f"and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '{_LABEL}')"
)
_STAYS: Final = ("scope", "names.kind", "group", "names.plural")


def wrong(new: Json, old: Json | None) -> Iterator[Cause]:
    """Beside fields that are missing, which its type demands."""
    spec = new.get("spec") or {}
    group, plural, kind = (str(_at(spec, path) or "") for path in ("group", "names.plural", "names.kind"))
    if old is None and new["metadata"].get("name") != f"{plural}.{group}":
        yield invalid_value("metadata.name", new["metadata"].get("name"), 'must be spec.names.plural+"."+spec.group')
    if group and "." not in group:
        yield invalid_value("spec.group", group, "should be a domain with at least one dot")
    if spec.get("scope") not in (None, "Cluster", "Namespaced"):
        yield unsupported("spec.scope", spec["scope"], ("Cluster", "Namespaced"))
    if plural and not _is_label(plural):
        yield invalid_value("spec.names.plural", plural, _LABEL_TEXT)
    if kind and not _is_label(kind.lower()):
        yield invalid_value("spec.names.kind", kind, f"may have mixed case, but should otherwise match: {_LABEL_TEXT}")
    yield from _versions(spec.get("versions") or [])
    for path in _STAYS if old is not None else ():
        if (value := _at(spec, path)) != _at((old or {}).get("spec") or {}, path):
            yield invalid_value(f"spec.{path}", value, "field is immutable")


def _versions(versions: list[Json]) -> Iterator[Cause]:
    for n, each in enumerate(versions):
        if not (each.get("schema") or {}).get("openAPIV3Schema"):
            yield required(f"spec.versions[{n}].schema.openAPIV3Schema")
        if each.get("name") and not _is_label(each["name"]):
            yield invalid_value(f"spec.versions[{n}].name", each["name"], _LABEL_TEXT)
    if len({each.get("name") for each in versions}) != len(versions):
        yield invalid_value("spec.versions", versions, "must contain unique version names")
    if sum(bool(each.get("storage")) for each in versions) != 1:
        yield invalid_value("spec.versions", versions, "must have exactly one version marked as storage version")


def _at(spec: Json, path: str) -> Any:
    value: Any = spec
    for step in path.split("."):
        value = (value or {}).get(step)
    return value


def _is_label(text: str) -> bool:
    return len(text) <= 63 and _IS_LABEL.fullmatch(text) is not None
