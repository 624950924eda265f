"""What is wrong with a function, in lines that say where, what and what is legal; and what is only odd.

Called by the validating webhook. The subtle thing is the ratchet: rules get stricter with versions, and objects that
were accepted once must stay writable, or nobody could set a label on them, or delete them. So a line that the stored
object has already is not told again, and an object that is being deleted passes.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from knative_mig.core.admission.annotations import CHOSEN, KNOWN, PREFIX, PROFILES, effective, profiles_in
from knative_mig.core.admission.function import Asks, Function, is_one
from knative_mig.core.errors import BadInput
from knative_mig.core.profile import RESOURCE_PREFIX, ProfileName

_ON_SERVICE: Final = "metadata.annotations"
_ON_TEMPLATE: Final = "spec.template.metadata.annotations"
_SHOWN: Final = 60  # characters of what somebody wrote


def refusals(new: Function, old: Function | None) -> list[str]:
    """`old`: what is there now, None for a function that is made. Empty: it is accepted."""
    if new.deleting:
        return []
    known = set(_problems(old)) if old else set()
    return [each for each in dict.fromkeys(_problems(new)) if each not in known]


def warnings(function: Function, fleet: frozenset[ProfileName] | None) -> list[str]:
    """`fleet`: the profiles that the cluster's GPUs can be cut into; None or empty while that is not known."""
    if function.deleting:
        return []
    return [*_not_in(function, fleet or frozenset()), *_differing(function), *_sliceless(function)]


def _problems(function: Function) -> Iterable[str]:
    template = {key: value for key, value in function.template_annotations().items() if key != CHOSEN}
    yield from _annotations(_ON_SERVICE, function.annotations)
    yield from _annotations(_ON_TEMPLATE, template)
    for at, asks in enumerate(function.containers):
        yield from _container(f"spec.template.spec.containers[{at}].resources", asks)
    for at, asks in enumerate(function.init_containers):
        where = f"spec.template.spec.initContainers[{at}].resources"
        yield from _container(where, asks)
        yield from _handed_on(where, asks, function)
    asking = [asks.name or f"[{at}]" for at, asks in enumerate(function.containers) if asks.slices]
    if len(asking) > 1:
        yield (
            f"spec.template.spec.containers: the containers {', '.join(asking)} ask for a slice each: "
            "legal is one slice a pod"
        )


def _annotations(where: str, annotations: Mapping[str, str]) -> Iterable[str]:
    for key, value in sorted(annotations.items()):
        if not key.startswith(PREFIX):
            continue
        if key not in KNOWN:
            known = ", ".join(each.removeprefix(PREFIX) for each in KNOWN)
            yield f"{where}: {_bare(key)} is not known, legal under {PREFIX} are {known}"
        elif not KNOWN[key][0](value):
            yield f"{where}: {key} is {_shown(value)}, legal is {KNOWN[key][1]}"


def _container(where: str, asks: Asks) -> Iterable[str]:
    slices = asks.slices
    if len(slices) > 1:
        yield f"{where} asks for {' and '.join(map(_bare, sorted(slices)))}: legal is one slice"
    for resource, amount in sorted(slices.items()):
        try:
            ProfileName.from_resource(resource)
        except BadInput as bad:
            yield f"{where}: {bad}"
        if not is_one(amount):
            yield (
                f"{where}: {_bare(resource)} is {_shown(amount)}, legal is 1: a bigger profile has more memory, "
                "more replicas have more throughput"
            )
        if resource not in asks.limits:
            yield f"{where}: {_bare(resource)} stands in requests: legal is in limits"


def _handed_on(where: str, asks: Asks, function: Function) -> Iterable[str]:
    """The kubelet gives a container the devices of the init containers before it: one slice does for a pod."""
    kept = {resource for resource, _ in function.slices}
    for resource in sorted(asks.slices):
        if resource not in kept:
            legal = " and ".join(map(_bare, sorted(kept))) or "none, as no container asks for one"
            yield f"{where} asks for {_bare(resource)}: legal is the slice of a container, {legal}"


def _not_in(function: Function, fleet: frozenset[ProfileName]) -> Iterable[str]:
    asked: list[ProfileName] = []
    for resource, _ in function.slices:
        try:
            asked.append(ProfileName.from_resource(resource))
        except BadInput:
            continue
    allowed = profiles_in(effective(function).get(PROFILES, "")) or ()
    missing = [each for each in asked if each not in fleet]
    if not asked and not fleet.intersection(allowed):
        missing = list(allowed)
    if fleet and missing:
        names = " or ".join(map(str, dict.fromkeys(missing)))
        yield f"no GPU of this cluster can be cut into {names}: legal today are {', '.join(map(str, sorted(fleet)))}"


def _differing(function: Function) -> Iterable[str]:
    template = function.template_annotations()
    for key, value in sorted(function.annotations.items()):
        if key in KNOWN and template.get(key, value) != value:
            yield f"{key} is {_shown(value)} on the Service and {_shown(template[key])} on its template, which counts"


def _sliceless(function: Function) -> Iterable[str]:
    if effective(function) and not function.slices:
        yield f"the function asks for no slice: a slice is asked for by a limit, like {RESOURCE_PREFIX}3g.20gb: 1"


def _shown(text: str) -> str:
    return ascii(text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}...")


def _bare(name: str) -> str:
    """A key or a resource, which Kubernetes has not looked at yet."""
    return _shown(name)[1:-1]
