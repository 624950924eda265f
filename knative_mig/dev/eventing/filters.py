"""Whether a Trigger wants an event: `spec.filters` where there are some, else `spec.filter`, else all events.

Read by `triggers`, asked by `post`. The subtle thing is the empty value: in `filter.attributes` it stands for any that
is not empty, in the dialects of `filters` the webhook refuses it. And what says nothing (`all` of nothing) is neither a
yes nor a no: `not` leaves it as it is, and at the end it lets the event through.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from knative_mig.adapters.kube.fields import Fields
from knative_mig.dev.eventing.events import Event

_BY_ATTRIBUTES: Final = ("exact", "prefix", "suffix")
_BY_OTHERS: Final = ("all", "any", "not")
DIALECTS: Final = (*_BY_ATTRIBUTES, *_BY_OTHERS)  # `cesql` is not stood in for
_NO_TIME: Final = "0001-01-01T00:00:00Z"  # as Go has it, which makes it one
_OLD: Final = "attributes"  # of `filter`


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    dialect: str
    attributes: tuple[tuple[str, str], ...] = ()
    of: "tuple[Filter, ...]" = ()


class _Verdict(Enum):
    YES = auto()
    NO = auto()
    NOTHING = auto()


def filter_of(spec: Fields) -> Filter:
    """Of a Trigger's. BadInput: what the webhook would have refused."""
    if filters := spec.children("filters"):
        return Filter(dialect="all", of=_dialects(filters))
    return Filter(dialect=_OLD, attributes=tuple(spec.child("filter").labels(_OLD).items()))


def wants(asked: Filter, event: Event) -> bool:
    return _verdict(asked, event) is not _Verdict.NO


def _dialects(filters: Sequence[Fields]) -> tuple[Filter, ...]:
    return tuple(found for each in filters if (found := _dialect(each)) is not None)


def _dialect(asked: Fields) -> Filter | None:
    """The first that it has; one without any is passed over."""
    for name in _BY_ATTRIBUTES:
        if asked.has(name):
            return Filter(dialect=name, attributes=tuple(asked.labels(name).items()))
    for name in ("all", "any"):
        if asked.has(name):
            return Filter(dialect=name, of=_dialects(asked.children(name)))
    if asked.values.get("not") is not None:
        return Filter(dialect="not", of=_dialects([asked.child("not")]))
    return None


def _verdict(asked: Filter, event: Event) -> _Verdict:
    match asked.dialect:
        case "all":
            return _together(asked, event, decides=_Verdict.NO)
        case "any":
            return _together(asked, event, decides=_Verdict.YES)
        case "not":
            found = _together(asked, event, decides=_Verdict.NO)
            return {_Verdict.YES: _Verdict.NO, _Verdict.NO: _Verdict.YES}.get(found, found)
        case _:
            fits = all(_fits(asked.dialect, _attribute(event, name), value) for name, value in asked.attributes)
            return _Verdict.YES if fits else _Verdict.NO


def _together(asked: Filter, event: Event, *, decides: _Verdict) -> _Verdict:
    """The one that decides wherever it is, else the last."""
    verdict = _Verdict.NOTHING
    for each in asked.of:
        verdict = _verdict(each, event)
        if verdict is decides:
            break
    return verdict


def _fits(dialect: str, found: str | None, wanted: str) -> bool:
    match dialect:
        case _ if found is None:
            return False
        case "prefix":
            return found.startswith(wanted)
        case "suffix":
            return found.endswith(wanted)
        case "attributes" if not wanted:
            return bool(found)
        case _:
            return found == wanted


def _attribute(event: Event, name: str) -> str | None:
    """None: an extension that the event has not. What the specification names is there, if empty."""
    match name:
        case "specversion" | "id" | "source" | "type" | "subject" | "dataschema":
            return str(getattr(event, name))
        case "time":
            return event.time.replace("+00:00", "Z") or _NO_TIME
        case "datacontenttype":
            return event.content_type
        case "datamediatype":
            return event.content_type.partition(";")[0].strip()
        case _:
            return event.extensions.get(name)
