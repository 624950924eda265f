"""Which pods count, and which goes first when there are too many.

Called by `replica_sets` and by whoever asks for a revision's ready pods. The order is ReplicaSet's: what serves nobody
goes before what serves, then what the mover marked as cheap (`controller.kubernetes.io/pod-deletion-cost`), then what
shares its node with others of its kind, then the younger.

The subtle thing is age: it counts in powers of two, and within one the uid decides, so that not always the newest goes.
"""

import re
from collections.abc import Sequence
from functools import cmp_to_key
from math import log2
from typing import Final

from knative_mig.adapters.kube.fields import seconds_of
from knative_mig.core.kpa import pods as kpa
from knative_mig.dev.serving import objects
from knative_mig.dev.serving.objects import Object

DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
_PHASES: Final = {"Pending": 0, "Unknown": 1, "Running": 2}
_AS_COUNTED: Final = {each.value: each for each in kpa.Phase}
_NANOSECONDS: Final = 1_000_000_000
_COST: Final = re.compile(r"0|-[0-9]+|[1-9][0-9]*")
_MOST_COST: Final = 2**31


def is_active(pod: Object) -> bool:
    return objects.status(pod).get("phase") not in ("Succeeded", "Failed") and not objects.is_ending(pod)


def is_ready(pod: Object) -> bool:
    """For requests, and so for the autoscaler."""
    phase = _AS_COUNTED.get(objects.status(pod).get("phase", ""), kpa.Phase.UNKNOWN)
    return kpa.counts(kpa.Pod(phase=phase, ready=says_ready(pod), ending=objects.is_ending(pod)))


def says_ready(pod: Object) -> bool:
    return objects.condition(pod, "Ready").get("status") == "True"


def first_to_go(pods: Sequence[Object], related: Sequence[Object], count: int, now: float) -> list[Object]:
    """`related`: pods of the same owner's other ReplicaSets too, which are company on a node as well."""
    if count >= len(pods):
        return list(pods)
    company: dict[str, int] = {}
    for each in related:
        if is_active(each):
            node = objects.spec(each).get("nodeName", "")
            company[node] = company.get(node, 0) + 1

    def order(one: Object, other: Object) -> int:
        return _order(one, other, company, now)

    return sorted(pods, key=cmp_to_key(order))[:count]


def _order(one: Object, other: Object, company: dict[str, int], now: float) -> int:
    """Below 0: `one` goes first."""
    for a, b in zip(_rank(one, company), _rank(other, company), strict=True):
        if a != b:
            return -1 if a < b else 1
    if says_ready(one) and says_ready(other):
        ready = [_time(objects.condition(each, "Ready").get("lastTransitionTime")) for each in (one, other)]
        if ready[0] != ready[1]:
            return _by_age(one, other, ready[0], ready[1], now)
    restarts = [_restarts(each) for each in (one, other)]
    if restarts[0] != restarts[1]:
        return -1 if restarts[0] > restarts[1] else 1
    born = [_time(each["metadata"].get("creationTimestamp")) for each in (one, other)]
    return _by_age(one, other, born[0], born[1], now) if born[0] != born[1] else 0


def _rank(pod: Object, company: dict[str, int]) -> tuple[int, ...]:
    node = objects.spec(pod).get("nodeName", "")
    phase = _PHASES.get(objects.status(pod).get("phase", ""), 0)
    return bool(node), phase, says_ready(pod), _cost(pod), -company.get(node, 0)


def _cost(pod: Object) -> int:
    text = objects.annotations(pod).get(DELETION_COST, "")
    return int(text) if _COST.fullmatch(text) and -_MOST_COST <= int(text) < _MOST_COST else 0


def _restarts(pod: Object) -> int:
    return max((each.get("restartCount", 0) for each in objects.status(pod).get("containerStatuses") or ()), default=0)


def _time(text: str | None) -> float:
    return seconds_of(text) if text else 0.0


def _by_age(one: Object, other: Object, first: float, second: float, now: float) -> int:
    if not first or not second:
        return -1 if not first else 1
    difference = _power(now - first) - _power(now - second)
    if difference == 0:
        return -1 if one["metadata"]["uid"] < other["metadata"]["uid"] else 1
    return difference


def _power(seconds: float) -> int:
    return int(log2(seconds * _NANOSECONDS)) if seconds > 0 else -1
