"""The two webhooks of Knative Eventing for Brokers and Triggers, from the bytes of an AdmissionReview to its answer's.

Hung into the API server by `dev`'s process, the one that fills in before the one that refuses. The subtle thing is that
it is here that a Broker gets its delivery: ten repetitions, after 0.2 s and each twice as long as the one before.
"""

import logging
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from knative_mig.dev import reviews
from knative_mig.dev.eventing import periods
from knative_mig.dev.eventing.filters import DIALECTS
from knative_mig.dev.eventing.objects import BROKER, CLASS, CLASS_ANNOTATION, TRIGGER, Object, annotations
from knative_mig.dev.eventing.policies import BackOff
from knative_mig.dev.problems import Problems

_log = logging.getLogger(__name__)
DEFAULTING: Final = "webhook.eventing.knative.dev"
VALIDATING: Final = "validation.webhook.eventing.knative.dev"
KINDS: Final = (BROKER, TRIGGER)
RESOURCES: Final = tuple(f"{kind.plural}.eventing.knative.dev" for kind in KINDS)
_CREATOR: Final = "eventing.knative.dev/creator"
_MODIFIER: Final = "eventing.knative.dev/lastModifier"
_BROKER_LABEL: Final = "eventing.knative.dev/broker"
_CONFIG: Final = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "name": "config-br-default-channel",
    "namespace": "knative-eventing",
}
_DELIVERY: Final = {"retry": 10, "backoffPolicy": "exponential", "backoffDelay": "PT0.2S"}
_REFERENCE: Final = {"kind": "Kind", "namespace": "Namespace", "name": "Name", "apiVersion": "APIVersion"}
_CHANGED: Final = "Immutable fields changed (-old +new)"
_NAME: Final = re.compile(r"[a-z][a-z0-9]*", re.ASCII)
_BAD_NAME: Final = "Attribute name must start with a letter and can only contain lowercase alphanumeric"


def default(review: bytes) -> bytes:
    request = reviews.request_of(review)
    new = _looked_at(request)
    if new is None:
        return reviews.let_in(request)
    user = (request.get("userInfo") or {}).get("username", "")
    try:
        found = defaulted(new, request.get("oldObject"), user)
    except reviews.OF_ANOTHER_FORM as error:
        _log.info("nothing is filled in on %s %s: %s", new["kind"], new["metadata"].get("name", ""), error)
        return reviews.let_in(request)
    return reviews.filled_in(request, new, found)


def validate(review: bytes) -> bytes:
    request = reviews.request_of(review)
    new = _looked_at(request)
    if new is None or new["metadata"].get("deletionTimestamp"):
        return reviews.let_in(request)
    problems = Problems()
    (_check_broker if new["kind"] == BROKER.kind else _check_trigger)(new, request.get("oldObject"), problems)
    return reviews.judged(request, problems.refusal())


def _looked_at(request: Object) -> Object | None:
    """A status that a controller writes passes by: it is nobody's mistake."""
    is_ours = request["kind"]["kind"] in {kind.kind for kind in KINDS} and not request.get("subResource")
    return {"kind": request["kind"]["kind"], **request["object"]} if is_ours and request.get("object") else None


# -- what is filled in -------------------------------------------------------------------------------------------------


def defaulted(new: Object, old: Object | None, user: str) -> Object:
    about, spec = dict(new["metadata"]), dict(new.get("spec") or {})
    namespace, notes = about.get("namespace", ""), dict(annotations(new))
    if new["kind"] == BROKER.kind:
        notes.setdefault(CLASS_ANNOTATION, CLASS)
        spec["config"] = {"namespace": namespace, **(_CONFIG if spec.get("config") is None else spec["config"])}
        spec["delivery"] = _delivery(_DELIVERY if spec.get("delivery") is None else spec["delivery"], namespace)
    else:
        if spec.get("broker"):
            about["labels"] = {**(about.get("labels") or {}), _BROKER_LABEL: spec["broker"]}
        spec["filter"] = spec.get("filter") or {}
        if "subscriber" in spec:
            spec["subscriber"] = _destination(spec["subscriber"], namespace)
        if spec.get("delivery"):
            spec["delivery"] = _delivery(spec["delivery"], namespace)
    if old is None:
        notes |= {_CREATOR: user, _MODIFIER: user}
    elif spec != (old.get("spec") or {}):
        notes[_MODIFIER] = user
    return {**new, "metadata": {**about, "annotations": notes}, "spec": spec}


def _delivery(delivery: Mapping[str, Any], namespace: str) -> Object:
    sink = delivery.get("deadLetterSink")
    return {**delivery, **({"deadLetterSink": _destination(sink, namespace)} if sink else {})}


def _destination(destination: Mapping[str, Any] | None, namespace: str) -> Object:
    found = dict(destination or {})
    if found.get("ref") is not None:
        found["ref"] = {**found["ref"], "namespace": found["ref"].get("namespace") or namespace}
    return found


# -- what is refused ---------------------------------------------------------------------------------------------------


def _check_broker(new: Object, old: Object | None, problems: Problems) -> None:
    spec = new.get("spec") or {}
    if not annotations(new).get(CLASS_ANNOTATION):
        problems.missing(CLASS_ANNOTATION)
    if spec.get("config") is not None:
        _check_reference(spec["config"], problems.below("spec", "config"))
    _check_delivery(spec.get("delivery"), problems.below("spec", "delivery"))
    if old is None:
        return
    was, now = ((each.get("spec") or {}).get("config") or {} for each in (old, new))
    changed = [
        _changed(was.get(name, ""), now.get(name, ""), f"{{v1.BrokerSpec}}.Config.{field}")
        for name, field in _REFERENCE.items()
        if was.get(name, "") != now.get(name, "")
    ]
    before, class_ = (annotations(each).get(CLASS_ANNOTATION, "") for each in (old, new))
    if changed:
        problems.say(_CHANGED, "spec", details="".join(changed))
    elif before != class_:
        problems.say("Immutable annotations changed (-old +new)", "annotations", details=_changed(before, class_))


def _changed(before: str, now: str, what: str = "{string}") -> str:
    return f'{what}:\n\t-: "{before}"\n\t+: "{now}"\n'


def _check_trigger(new: Object, old: Object | None, problems: Problems) -> None:
    spec, here = new.get("spec") or {}, problems.below("spec")
    if not spec.get("broker"):
        here.missing("broker")
    _check_names((spec.get("filter") or {}).get("attributes"), here.below("filter", "attributes"))
    for at, each in enumerate(spec.get("filters") or ()):
        _check_dialect(each, here.below("filters", at))
    _check_destination(spec.get("subscriber") or {}, here.below("subscriber"))
    _check_delivery(spec.get("delivery"), here.below("delivery"))
    before, broker = ((each or {}).get("broker", "") for each in ((old or new).get("spec"), spec))
    if before != broker:
        problems.say(_CHANGED, "spec", "broker", details=_changed(before, broker))


def _check_dialect(asked: Mapping[str, Any], problems: Problems) -> None:
    found = [each for each in DIALECTS if asked.get(each) or (each == "not" and asked.get(each) is not None)]
    if asked.get("cesql"):
        problems.say("must not set the field(s)", "cesql", details="there is no CESQL here: use the other dialects")
    if len(found) > 1:
        problems.say_placeless("multiple dialects found, filters can have only one dialect set")
    for each in ("exact", "prefix", "suffix"):
        _check_names(asked.get(each), problems.below(each))
    for each in ("all", "any"):
        for at, inner in enumerate(asked.get(each) or ()):
            _check_dialect(inner, problems.below(each, at))
    if asked.get("not"):
        _check_dialect(asked["not"], problems.below("not"))


def _check_names(attributes: Mapping[str, str] | None, problems: Problems) -> None:
    for name in attributes or ():
        if not _NAME.fullmatch(name):
            problems.say(f'invalid key name "{name}"', f"[{name}]", details=_BAD_NAME)


def _check_destination(destination: Mapping[str, Any], problems: Problems) -> None:
    ref, uri = destination.get("ref"), destination.get("uri") or ""
    parts = urlsplit(uri)
    if not ref and not uri:
        problems.say("expected at least one, got none", "ref", "uri")
    elif ref and parts.scheme:
        both = "Absolute URI is not allowed when Ref or [apiVersion, kind, name] is present"
        problems.say(both, "[apiVersion, kind, name]", "ref", "uri")
    elif not ref and not (parts.scheme and parts.netloc):
        problems.invalid("Relative URI is not allowed when Ref and [apiVersion, kind, name] is absent", "uri")
    elif ref and not uri:
        _check_reference(ref, problems.below("ref"))


def _check_reference(ref: Mapping[str, Any], problems: Problems) -> None:
    if lacking := [each for each in ("name", "apiVersion", "kind") if not ref.get(each)]:
        problems.missing(*lacking)


def _check_delivery(delivery: Mapping[str, Any] | None, problems: Problems) -> None:
    if delivery is None:
        return
    if (sink := delivery.get("deadLetterSink")) is not None:
        _check_destination(sink, problems.below("deadLetterSink"))
    if (delivery.get("retry") or 0) < 0:
        problems.invalid(delivery["retry"], "retry")
    if (policy := delivery.get("backoffPolicy")) is not None and policy not in set(BackOff):
        problems.invalid(policy, "backoffPolicy")
    for name in ("backoffDelay", "timeout"):
        text = delivery.get(name)
        if text is not None and not _is_period(text, is_positive=name == "timeout"):
            problems.invalid(text, name)
    if delivery.get("format") not in (None, "binary"):
        problems.say("must not set the field(s)", "format", details="events are delivered in binary mode here")
    if delivery.get("retryAfterMax") is not None:
        problems.disallowed("retryAfterMax")


def _is_period(text: str, *, is_positive: bool) -> bool:
    try:
        return periods.seconds(text) > 0 or not is_positive
    except ValueError:
        return False
