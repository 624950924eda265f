"""What a pod asks of a node: the sum that the scheduler makes of its containers.

Called by `parse`. Init containers run one after the other before the others, so the largest counts, beside the sidecars
(init containers that are restarted always) begun before it; sidecars count with the containers; a pod's own requests
take the place of its containers' sum; overhead comes on top.
"""

import logging
from collections.abc import Iterable, Mapping
from fractions import Fraction
from functools import lru_cache
from math import ceil
from typing import Final

from knative_mig.adapters.kube.fields import Fields
from knative_mig.adapters.kube.quantity import exact
from knative_mig.core.cluster.objects import Resources
from knative_mig.core.errors import BadInput
from knative_mig.core.events import shown
from knative_mig.core.profile import RESOURCE_PREFIX, ProfileName

Amounts = dict[str, Fraction]

# What a pod can ask for as a whole; slices are a container's.
_OF_PODS: Final = frozenset({"cpu", "memory"})

# Longer ones name no profile, and a few of the webhook's size would fill the cache below with all of its memory.
_LONGEST_NAME: Final = 253

log = logging.getLogger(__name__)


def of_pod(spec: Fields) -> Amounts:
    running = _sum(of_container(each) for each in spec.children("containers"))
    sidecars: Amounts = {}
    starting: Amounts = {}
    for each in spec.children("initContainers"):
        asks = of_container(each)
        if each.text("restartPolicy") == "Always":
            sidecars = _sum((sidecars, asks))
            asks = sidecars
        else:
            asks = _sum((sidecars, asks))
        starting = _most(starting, asks)
    total = _most(_sum((running, sidecars)), starting)
    whole_pod = of_container(spec)
    total |= {name: amount for name, amount in whole_pod.items() if name in _OF_PODS}
    return _sum((total, amounts(spec.child("overhead"))))


def amounts(fields: Fields) -> Amounts:
    """A resource list. BadInput says which entry is no quantity."""
    found: Amounts = {}
    for name, value in fields.values.items():
        try:
            found[name] = exact(str(value))
        except BadInput as bad:
            raise BadInput(f"{fields.where(_shown(name))}: {bad}") from None
    return found


def resources(of: Mapping[str, Fraction], *, pods: int) -> Resources:
    return Resources(
        cpu_milli=ceil(of.get("cpu", Fraction(0)) * 1000), memory_bytes=ceil(of.get("memory", Fraction(0))), pods=pods
    )


def slices(of: Mapping[str, Fraction], prefix: str = "") -> dict[ProfileName, int]:
    """Its MIG resources, those of nothing too: a profile that a node serves with no slices is known there."""
    found = {}
    for name, amount in of.items():
        if name.startswith(prefix + RESOURCE_PREFIX) and len(name) <= _LONGEST_NAME:
            profile = _profile(name.removeprefix(prefix))
            if profile is not None:
                found[profile] = ceil(amount)
    return found


def _shown(name: str) -> str:
    """A resource's, of which nobody has seen yet whether it is one."""
    return name if name.isprintable() and len(name) <= _LONGEST_NAME else shown(name)


def of_container(container: Fields) -> Amounts:
    """Or what a pod asks for as a whole. A limit alone is a request too, though the API server has filled that in."""
    asked = container.child("resources")
    return amounts(asked.child("limits")) | amounts(asked.child("requests"))


def _sum(many: Iterable[Amounts]) -> Amounts:
    total: Amounts = {}
    for each in many:
        for name, amount in each.items():
            total[name] = total.get(name, Fraction(0)) + amount
    return total


def _most(one: Amounts, other: Amounts) -> Amounts:
    nothing = Fraction(0)
    return {name: max(one.get(name, nothing), other.get(name, nothing)) for name in one | other}


@lru_cache(maxsize=1024)  # and so each odd name is told once, not at each look at each pod
def _profile(resource: str) -> ProfileName | None:
    try:
        return ProfileName.from_resource(resource)
    except BadInput as bad:
        log.warning("A resource is left out: %s.", bad)
        return None
