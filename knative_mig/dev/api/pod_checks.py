"""Whether a pod may be as it is, and what makes pods: what a cluster refuses of one that no kubelet could run or no
scheduler place. Called by `validation`; what a container says is judged by `container_checks`.

The subtle thing is a pod, or a Deployment, that was let in by an older version: it is not judged again while it stays
as it is, so that its status can still be told. The words are those of pkg/apis/core/validation.
"""

from collections.abc import Iterator
from typing import Any, Final

from knative_mig.dev.api import container_checks, names
from knative_mig.dev.api.causes import duplicate, forbidden, invalid_value, required, unsupported
from knative_mig.dev.api.refusals import Cause

Json = dict[str, Any]
EFFECTS: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_RESTARTS: Final = ("Always", "OnFailure", "Never")
_OPERATORS: Final = ("Equal", "Exists")
_LONGEST_DEADLINE_S: Final = 2**31 - 1
_CHANGEABLE: Final = ("image",)


def pod(spec: Json, old: Json | None) -> Iterator[Cause]:
    if old is None or spec != old:
        yield from _pod_spec(spec, "spec")
    if old is not None:
        yield from _pod_update(spec, old)


def _pod_spec(spec: Json, at: str) -> Iterator[Cause]:
    yield from _volumes(spec.get("volumes") or (), f"{at}.volumes")
    yield from _containers(spec, at)
    restarts = spec.get("restartPolicy") or "Always"
    if restarts not in _RESTARTS:
        yield unsupported(f"{at}.restartPolicy", restarts, _RESTARTS)
    yield from _chosen(spec.get("affinity") or {}, f"{at}.affinity")
    for n, gate in enumerate(spec.get("schedulingGates") or ()):
        yield from names.qualified(gate.get("name") or "", f"{at}.schedulingGates[{n}]")
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= _LONGEST_DEADLINE_S:
        message = f"must be between 1 and {_LONGEST_DEADLINE_S}, inclusive"
        yield invalid_value(f"{at}.activeDeadlineSeconds", deadline, message)
    for n, toleration in enumerate(spec.get("tolerations") or ()):
        yield from _toleration(toleration, f"{at}.tolerations[{n}]")


def _containers(spec: Json, at: str) -> Iterator[Cause]:
    if not spec.get("containers"):
        yield required(f"{at}.containers")
    has = container_checks.Surrounds(
        volumes=frozenset(each.get("name") for each in spec.get("volumes") or ()),
        grace_s=spec.get("terminationGracePeriodSeconds") or 0,
    )
    seen: set[str] = set()
    for kind in ("containers", "initContainers"):
        for n, each in enumerate(spec.get(kind) or ()):
            place = f"{at}.{kind}[{n}]"
            yield from container_checks.wrong(each, place, has, starts=kind == "initContainers")
            if (name := each.get("name")) and name in seen:
                yield duplicate(f"{place}.name", name)
            seen.add(name or "")


def _volumes(volumes: Any, at: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for n, each in enumerate(volumes):
        name, place = each.get("name") or "", f"{at}[{n}]"
        yield from _source(each, place, secret_name="secretName")  # noqa: S106  a field's name
        for m, part in enumerate((each.get("projected") or {}).get("sources") or ()):
            yield from _source(part, f"{place}.projected.sources[{m}]", secret_name="name")  # noqa: S106  as above
        if not name:
            yield required(f"{place}.name")
        else:
            yield from names.label(name, f"{place}.name")
        if name in seen:
            yield duplicate(f"{place}.name", name)
        seen.add(name)


def _source(of: Json, at: str, *, secret_name: str) -> Iterator[Cause]:
    for kind, key in (("secret", secret_name), ("configMap", "name")):
        if (source := of.get(kind)) is not None:
            if not source.get(key):
                yield required(f"{at}.{kind}.{key}")
            for n, item in enumerate(source.get("items") or ()):
                yield from (
                    required(f"{at}.{kind}.items[{n}].{each}") for each in ("key", "path") if not item.get(each)
                )
    for n, item in enumerate((of.get("downwardAPI") or {}).get("items") or ()):
        yield from container_checks.told_in_file(item, f"{at}.downwardAPI.items[{n}]")


def _toleration(of: Json, at: str) -> Iterator[Cause]:
    key, operator, effect = of.get("key"), of.get("operator") or "", of.get("effect") or ""
    if key:
        yield from names.qualified(key, f"{at}.key")
    elif operator != "Exists":
        message = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        yield invalid_value(f"{at}.operator", operator, message)
    if of.get("tolerationSeconds") is not None and effect != "NoExecute":
        yield invalid_value(f"{at}.effect", effect, "effect must be 'NoExecute' when `tolerationSeconds` is set")
    if operator and operator not in _OPERATORS:
        yield unsupported(f"{at}.operator", operator, _OPERATORS)
    if effect and effect not in EFFECTS:
        yield unsupported(f"{at}.effect", effect, EFFECTS)


def _chosen(affinity: Json, at: str) -> Iterator[Cause]:
    needed = "requiredDuringSchedulingIgnoredDuringExecution"
    terms = (((affinity.get("nodeAffinity") or {}).get(needed)) or {}).get("nodeSelectorTerms") or ()
    for n, term in enumerate(terms):
        place = f"{at}.nodeAffinity.{needed}.nodeSelectorTerms[{n}]"
        for m, each in enumerate(term.get("matchExpressions") or ()):
            yield from _requirement(each, f"{place}.matchExpressions[{m}]")
        for m, each in enumerate(term.get("matchFields") or ()):
            yield from _of_field(each, f"{place}.matchFields[{m}]")


def _requirement(of: Json, at: str) -> Iterator[Cause]:
    values = of.get("values") or ()
    match of.get("operator") or "":
        case "In" | "NotIn":
            if not values:
                yield required(f"{at}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        case "Exists" | "DoesNotExist":
            if values:
                why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                yield forbidden(f"{at}.values", why)
        case "Gt" | "Lt":
            if len(values) != 1:
                yield required(f"{at}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'")
        case other:
            yield invalid_value(f"{at}.operator", other, "not a valid selector operator")
    yield from names.qualified(of.get("key") or "", f"{at}.key")


def _of_field(of: Json, at: str) -> Iterator[Cause]:
    operator, key = of.get("operator") or "", of.get("key") or ""
    if operator not in ("In", "NotIn"):
        yield invalid_value(f"{at}.operator", operator, "not a valid selector operator")
    elif len(of.get("values") or ()) != 1:
        why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        yield required(f"{at}.values", why)
    if key != "metadata.name":
        yield invalid_value(f"{at}.key", key, "not a valid field selector key")


def workload(spec: Json, old: Json | None) -> Iterator[Cause]:
    wanted = ((spec.get("selector") or {}).get("matchLabels")) or {}
    template = spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    if not spec.get("selector"):
        yield required("spec.selector")
    elif not wanted.items() <= labels.items():
        yield invalid_value("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    if old is None or old.get("template") != spec.get("template"):
        yield from _pod_spec(template.get("spec") or {}, "spec.template.spec")
    if old is not None and old.get("selector") != spec.get("selector"):
        yield invalid_value("spec.selector", spec.get("selector"), "field is immutable")


def _pod_update(new: Json, old: Json) -> Iterator[Cause]:
    """A pod's spec is as it was, but for its images, tolerations that come, a deadline, and what waits at a gate."""
    before, after = old.get("nodeSelector") or {}, new.get("nodeSelector") or {}
    gates_before, gates = old.get("schedulingGates") or [], new.get("schedulingGates") or []
    if any(gate not in gates_before for gate in gates):
        message = "Forbidden: only deletion is allowed, but found new scheduling gate"
        yield Cause(reason="FieldValueForbidden", field="spec.schedulingGates", message=message)
    if before != after and not (gates_before and before.items() <= after.items()):
        message = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
        yield invalid_value("spec.nodeSelector", after, message)
    free = {"schedulingGates", "nodeSelector", "tolerations", "activeDeadlineSeconds", "terminationGracePeriodSeconds"}
    if _fixed(new, free) != _fixed(old, free):
        message = (
            "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
            "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing"
            " tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
        )
        yield Cause(reason="FieldValueForbidden", field="spec", message=message)


def _fixed(spec: Json, free: set[str]) -> Json:
    found = {key: value for key, value in spec.items() if key not in free}
    for key in ("containers", "initContainers"):
        if key in found:
            found[key] = [{k: v for k, v in each.items() if k not in _CHANGEABLE} for each in found[key]]
    return found
