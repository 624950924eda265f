"""Whether a Service, a Configuration, a Route or a Revision is one that Knative keeps.

Called by `admission` with the object as it is after all defaults. The subtle thing is an update: who made an object is
never changed, a Revision's spec neither, and a template that keeps its name keeps all else.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from knative_mig.adapters.kube.kinds import REVISION, Kind
from knative_mig.dev.problems import Problems
from knative_mig.dev.serving import objects
from knative_mig.dev.serving.objects import (
    AUTOSCALING,
    CONFIGURATION,
    CONFIGURATION_LABEL,
    CREATOR,
    MODIFIER,
    ROUTE,
    SERVICE,
    SERVICE_LABEL,
    Object,
)
from knative_mig.dev.serving.settings import Settings
from knative_mig.dev.serving.webhook.scaling_checks import check_deadline, check_rollout, check_scaling
from knative_mig.dev.serving.webhook.template_checks import check_template_spec
from knative_mig.dev.serving.writes import difference

_LABEL: Final = "[a-z]([-a-z0-9]*[a-z0-9])?"
_LABEL_TOLD: Final = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character,"
    " and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is"
    f" '{_LABEL}')"
)


def checked(kind: Kind, new: Object, old: Object | None, settings: Settings) -> Problems:
    problems = Problems()
    _metadata(kind, new, settings, problems.below("metadata"))
    spec = objects.spec(new)
    if kind in (SERVICE, CONFIGURATION):
        _template(spec.get("template") or {}, new, settings, problems.below("spec", "template"))
    if kind in (SERVICE, ROUTE):
        _traffic(spec.get("traffic") or (), problems.below("spec", "traffic"), of_service=kind is SERVICE)
    if kind is REVISION and old is None:
        check_template_spec(spec, settings, problems.below("spec"))
    if old is not None:
        _update(kind, new, old, problems)
    return problems


def _metadata(kind: Kind, new: Object, settings: Settings, problems: Problems) -> None:
    about, notes = new["metadata"], objects.annotations(new)
    name, beginning = about.get("name", ""), about.get("generateName", "")
    if beginning and (told := _no_label(beginning.rstrip("-") or beginning)):
        problems.say(f"not a DNS 1035 label prefix: [{told}]", "generateName")
    if name and (told := _no_label(name)):
        problems.say(f"not a DNS 1035 label: [{told}]", "name")
    if not name and not beginning:
        problems.say("name or generateName is required", "name")
    if kind is REVISION:
        check_scaling(notes, settings, problems.below("annotations"))
        _owned_by(CONFIGURATION, CONFIGURATION_LABEL, new, problems)
        return
    for each in sorted(notes):
        if each.startswith(AUTOSCALING):
            where = 'autoscaling annotations must be put under "spec.template.metadata.annotations" to work'
            problems.below("annotations").say(f'invalid key name "{each}"', details=where)
    if kind in (SERVICE, ROUTE):
        check_rollout(notes, problems.below("annotations"))
    if kind in (CONFIGURATION, ROUTE):
        _owned_by(SERVICE, SERVICE_LABEL, new, problems)


def _owned_by(owner: Kind, label: str, new: Object, problems: Problems) -> None:
    """Nobody belongs to somebody by saying so."""
    text = objects.labels(new).get(label)
    references = new["metadata"].get("ownerReferences") or ()
    if text is not None and not any((each.get("kind"), each.get("name")) == (owner.kind, text) for each in references):
        problems.below("labels").missing(label)


def _template(template: Mapping[str, Any], new: Object, settings: Settings, problems: Problems) -> None:
    check_template_spec(template.get("spec") or {}, settings, problems.below("spec"))
    about = template.get("metadata") or {}
    notes = about.get("annotations") or {}
    check_scaling(notes, settings, problems.below("metadata", "annotations"))
    check_deadline(notes, problems.below("metadata", "annotations"))
    name, owner = about.get("name", ""), new["metadata"].get("name", "")
    if name and (told := _no_label(name)):
        problems.invalid(f"not a DNS 1035 label: [{told}]", "metadata.name")
    elif name and not owner and new["metadata"].get("generateName"):
        problems.disallowed("metadata.name")
    elif name and not name.startswith(f"{owner}-"):
        problems.invalid(f'"{name}" must have prefix "{owner}-"', "metadata.name")


def _traffic(traffic: Sequence[Mapping[str, Any]], problems: Problems, *, of_service: bool) -> None:
    tags: dict[str, int] = {}
    for at, target in enumerate(traffic):
        place = problems.below(at)
        _target(target, place, of_service=of_service)
        tag = target.get("tag", "")
        if tag and (told := _no_label(tag)):
            problems.invalid(f"not a DNS 1035 label: [{told}]", f"tag[{at}]")
        if tag in tags:
            problems.say(f'Multiple definitions for "{tag}"', f"[{at}].tag", f"[{tags[tag]}].tag")
        elif tag:
            tags[tag] = at
    total = sum(each.get("percent") or 0 for each in traffic)
    if total != 100:
        problems.say(f"Traffic targets sum to {total}, want 100")


def _target(target: Mapping[str, Any], problems: Problems, *, of_service: bool) -> None:
    revision, configuration = target.get("revisionName", ""), target.get("configurationName", "")
    latest, percent = target.get("latestRevision"), target.get("percent") or 0
    if latest is not None and latest == bool(revision):
        told = f'may not set revisionName "{revision}" when latestRevision is {str(latest).lower()}'
        problems.say(told, "latestRevision")
    if of_service and configuration:
        problems.disallowed("configurationName")
    elif revision and configuration:
        problems.both("revisionName", "configurationName")
    elif not of_service and not revision and not configuration:
        problems.neither("revisionName", "configurationName")
    if not 0 <= percent <= 100:
        problems.out_of_bounds(percent, 0, 100, "percent")
    if target.get("url"):
        problems.disallowed("url")


def _update(kind: Kind, new: Object, old: Object, problems: Problems) -> None:
    spec, before = objects.spec(new), objects.spec(old)
    if kind is REVISION:
        if spec != before:
            changes = json.dumps(difference(before, spec), sort_keys=True)
            problems.say("Immutable fields changed (-old +new)", "spec", details=changes)
        return
    if kind is SERVICE or not new["metadata"].get("ownerReferences"):
        notes, were = objects.annotations(new), objects.annotations(old)
        place = problems.below("metadata", "annotations")
        if notes.get(CREATOR) != were.get(CREATOR):
            place.say("annotation value is immutable", CREATOR)
        if spec == before and notes.get(MODIFIER) != were.get(MODIFIER):
            place.invalid(notes.get(MODIFIER, ""), MODIFIER)
    if kind in (SERVICE, CONFIGURATION):
        template, was = spec.get("template") or {}, before.get("template") or {}
        name = (template.get("metadata") or {}).get("name", "")
        if name and name == (was.get("metadata") or {}).get("name") and template != was:
            changes = json.dumps(difference(was, template), sort_keys=True)
            told = "Saw the following changes without a name change (-old +new)"
            problems.below("spec", "template").say(told, "metadata.name", details=changes)


def _no_label(name: str) -> str:
    told = [] if len(name) <= 63 else ["must be no more than 63 characters"]
    return " ".join(told if re.fullmatch(_LABEL, name) else [*told, _LABEL_TOLD])
