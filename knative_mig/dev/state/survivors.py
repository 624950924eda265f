"""Decides which of the objects that were kept a start takes over: all but what speaks for processes that have ended.

Called by whoever composes `dev`, between reading the objects and giving them to the store. No controller sees what is
left out go: it is as if it had gone while nobody looked, which is what controllers are made for.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from knative_mig.adapters.kube.fields import seconds_of
from knative_mig.dev.api.old_events import LAST_S
from knative_mig.dev.state.object_log import Name, Object

_OURS: Final = ("knative.dev", "knative-mig.dev")


@dataclass(frozen=True, slots=True, kw_only=True)
class Survivors:
    """`left_out`: why, by name; what was changed is among the objects."""

    objects: Mapping[Name, Object]
    left_out: Mapping[Name, str]


def of(objects: Mapping[Name, Object], now: float) -> Survivors:
    """`now`: seconds since the epoch."""
    left_out = dict(_left_out(objects, now))
    taken = {name: _as_taken_over(name, body) for name, body in objects.items() if name not in left_out}
    return Survivors(objects=taken, left_out=left_out)


def _left_out(objects: Mapping[Name, Object], now: float) -> Iterator[tuple[Name, str]]:
    for name, body in objects.items():
        match name.place:
            case "pods":
                # A container ends with the process that ran it. A pod that stayed would say that it is ready.
                yield name, "its processes have ended: its ReplicaSet makes a new one"
            case "events" if now - _last_seen(body) > LAST_S:
                yield name, "it is older than Events are kept"
            case "customresourcedefinitions.apiextensions.k8s.io" if _is_ours(body):
                yield name, "this release brings its own, which may be newer"


def _as_taken_over(name: Name, body: Object) -> Object:
    match name.place:
        case "leases.coordination.k8s.io":
            # Its holder has ended: who leads next does not wait until its time has run out. The rest stays, for the
            # fencing token in it only grows.
            return {
                **body,
                "spec": {key: each for key, each in body.get("spec", {}).items() if key != "holderIdentity"},
            }
        case "nodes":
            # It stays, for its GpuNode belongs to it by its uid. But nobody is to be put there before its kubelet has
            # said anew that it is ready, and what it has.
            return {key: each for key, each in body.items() if key != "status"}
        case _:
            return body


def _is_ours(definition: Object) -> bool:
    group = str(definition.get("spec", {}).get("group", ""))
    return any(group == each or group.endswith(f".{each}") for each in _OURS)


def _last_seen(event: Mapping[str, Any]) -> float:
    """What has no time that can be read is as old as can be."""
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    for text in (*times, event["metadata"].get("creationTimestamp")):
        if isinstance(text, str):
            try:
                return seconds_of(text)
            except ValueError:
                continue
    return 0.0
