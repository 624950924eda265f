"""Which objects a list or a watch is about: label selectors and field selectors, parsed once and asked for each object.

Called by `reads`, `watches` and `deletion`, and wherever an object's LabelSelector is asked. Only the fields by which
the real server selects can be named: another is refused as it is there, so that no client comes to rely on it here.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from knative_mig.dev.api.kinds import Kind
from knative_mig.dev.api.refusals import bad_request

Object = dict[str, Any]
_SET: Final = re.compile(r"\s*(?P<key>[^\s,=!()]+)\s+(?P<word>in|notin)\s*\((?P<values>[^)]*)\)\s*")
_EQUAL: Final = re.compile(r"\s*(?P<key>[^\s,=!()]+)\s*(?P<mark>==|=|!=)\s*(?P<value>[^\s,()=!]*)\s*")
_THERE: Final = re.compile(r"\s*(?P<not>!)?\s*(?P<key>[^\s,=!()]+)\s*")
_EVERYWHERE: Final = ("metadata.name", "metadata.namespace")
_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "pods": (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ),
    "events": (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    "nodes": ("spec.unschedulable",),
    "namespaces": ("status.phase",),
    "secrets": ("type",),
    "replicasets.apps": ("status.replicas",),
}
_OF_EVENTS_GROUP: Final = {"regarding": "involvedObject", "reportingController": "reportingComponent"}


@dataclass(frozen=True, slots=True)
class Selector:
    """What must hold; empty: everything is selected."""

    tests: tuple[Callable[[Object], bool], ...]

    def takes(self, body: Object) -> bool:
        return all(test(body) for test in self.tests)


def of_query(query: Mapping[str, str], kind: Kind) -> Selector:
    return Selector((*_labels(query.get("labelSelector", "")), *_fields(query.get("fieldSelector", ""), kind)))


def of_labels(text: str) -> Selector:
    return Selector(tuple(_labels(text)))


def of_selector(selector: Object | None) -> Selector:
    """Of a LabelSelector, as the text that a list takes: one reading of labels for all."""
    terms = [f"{key}={value}" for key, value in ((selector or {}).get("matchLabels") or {}).items()]
    for each in (selector or {}).get("matchExpressions") or ():
        key, values = each.get("key"), ",".join(each.get("values") or ())
        match each.get("operator"):
            case "In":
                terms.append(f"{key} in ({values})")
            case "NotIn":
                terms.append(f"{key} notin ({values})")
            case "Exists":
                terms.append(str(key))
            case "DoesNotExist":
                terms.append(f"!{key}")
    return of_labels(",".join(terms))


def _labels(text: str) -> list[Callable[[Object], bool]]:
    found: list[Callable[[Object], bool]] = []
    at = 0
    while at < len(text):
        for pattern, make in ((_SET, _of_set), (_EQUAL, _of_equal), (_THERE, _of_there)):
            match = pattern.match(text, at)
            if match and text[match.end() : match.end() + 1] in ("", ","):
                found.append(make(match))
                at = match.end() + 1
                break
        else:
            raise bad_request(f"unable to parse requirement: {text[at:][:80]!r} of the label selector is none")
    return found


def _label(body: Object, key: str) -> Any:
    return (body["metadata"].get("labels") or {}).get(key)


def _of_set(match: re.Match[str]) -> Callable[[Object], bool]:
    key, wanted = match["key"], {each.strip() for each in match["values"].split(",")}
    if match["word"] == "in":
        return lambda body: _label(body, key) in wanted
    return lambda body: _label(body, key) not in wanted


def _of_equal(match: re.Match[str]) -> Callable[[Object], bool]:
    key, wanted = match["key"], match["value"]
    if match["mark"] == "!=":
        return lambda body: _label(body, key) != wanted
    return lambda body: _label(body, key) == wanted


def _of_there(match: re.Match[str]) -> Callable[[Object], bool]:
    key, wanted = match["key"], match["not"] is None
    return lambda body: (_label(body, key) is not None) is wanted


def _fields(text: str, kind: Kind) -> list[Callable[[Object], bool]]:
    found: list[Callable[[Object], bool]] = []
    for term in filter(None, text.split(",")):
        key, mark, wanted = term.partition("!=") if "!=" in term else term.partition("=")
        if not mark:
            raise bad_request(f"invalid selector: {text!r}; can't understand {term!r}")
        legal = (*_EVERYWHERE, *_FIELDS.get(kind.place, ()))
        if kind.stored_as:
            head, _, tail = key.partition(".")
            key = ".".join(filter(None, (_OF_EVENTS_GROUP.get(head, head), tail)))
        if key not in legal:
            raise bad_request(f"field label not supported: {key}")
        found.append(_of_field(key, wanted.removeprefix("="), is_wanted=mark == "="))
    return found


def _of_field(path: str, wanted: str, *, is_wanted: bool) -> Callable[[Object], bool]:
    steps = ("source", "component") if path == "source" else path.split(".")

    def test(body: Object) -> bool:
        found: Any = body
        for step in steps:
            found = found.get(step) if isinstance(found, dict) else None
        if isinstance(found, bool):
            found = str(found).lower()
        if found is None and path in ("spec.unschedulable", "spec.hostNetwork"):
            found = "false"
        return (str(found or "") == wanted) is is_wanted

    return test
