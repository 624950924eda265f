"""The cluster as the mirrors have it, and over them what was written here and has not come back yet.

Made by `loop`, for its one thread. Without the second a ReplicaSet would look for its new pods before the watch brings
them, and make them twice. A write of ours counts until the mirror has that version or a later one, or until it should
long have had it: then it is gone again, and the mirror is right.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from knative_mig.adapters.kube.kinds import Kind
from knative_mig.dev.serving import objects
from knative_mig.dev.serving.objects import Object
from knative_mig.ports.kube import Key, KeyedMirror

AWAITED_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Own:
    body: Object | None  # None: deleted
    uid: str
    version: int
    until: float
    new: bool = False  # made here: until it has come the mirror knows nothing of it


@dataclass(frozen=True, slots=True)
class _InOrder:
    """What a mirror had, and the same by key: in order once for each change, and not in each pass."""

    found: Mapping[Key, Object]
    ordered: Mapping[Key, Object]


class Cache:
    def __init__(self, mirrors: Mapping[Kind, KeyedMirror[Object]], clock: Callable[[], float]) -> None:
        self._mirrors = mirrors
        self._clock = clock
        self._own: dict[Kind, dict[Key, _Own]] = {kind: {} for kind in mirrors}
        self._in_order: dict[Kind, _InOrder] = {}

    def wrote(self, kind: Kind, body: Object, *, new: bool = False) -> None:
        """As the API server answered."""
        key = objects.key(body)
        before = self._own[kind].get(key)
        self._own[kind][key] = _Own(
            body=body,
            uid=body["metadata"]["uid"],
            version=version(body),
            until=self._clock() + AWAITED_S,
            new=new or (before is not None and before.new),
        )

    def deleted(self, kind: Kind, key: Key, uid: str) -> None:
        """It may stay for its grace; to those who count it is gone."""
        self._own[kind][key] = _Own(body=None, uid=uid, version=0, until=self._clock() + AWAITED_S)

    def gone(self, kind: Kind, key: Key) -> None:
        """The mirror had it and has it no more."""
        own = self._own[kind].get(key)
        if own is not None and own.body is not None:
            del self._own[kind][key]

    def objects(self) -> Mapping[Kind, Mapping[Key, Object]]:
        """Each kind's in the order of their keys."""
        return {kind: self._all(kind) for kind in self._mirrors}

    def _all(self, kind: Kind) -> Mapping[Key, Object]:
        found = self._mirrors[kind].snapshot()
        known = self._in_order.get(kind)
        if known is None or known.found is not found:
            known = self._in_order[kind] = _InOrder(found, by_key(found))
        if not self._own[kind]:
            return known.ordered
        merged = dict(known.ordered)
        for key in list(self._own[kind]):
            body = self._of(kind, key, found.get(key))
            if body is None:
                merged.pop(key, None)
            else:
                merged[key] = body
        return by_key(merged)

    def _of(self, kind: Kind, key: Key, mirrored: Object | None) -> Object | None:
        own = self._own[kind].get(key)
        if own is None:
            return mirrored
        if self._has_come(own, mirrored) or self._clock() >= own.until:
            del self._own[kind][key]
            return mirrored
        return own.body

    @staticmethod
    def _has_come(own: _Own, mirrored: Object | None) -> bool:
        if own.body is None:
            # Gone, on its way, or another one of its name.
            return mirrored is None or mirrored["metadata"]["uid"] != own.uid or objects.is_ending(mirrored)
        return not own.new if mirrored is None else version(mirrored) >= own.version


def by_key(found: Mapping[Key, Object]) -> Mapping[Key, Object]:
    return {key: found[key] for key in sorted(found)}


def version(body: Object) -> int:
    text = str(body["metadata"].get("resourceVersion", ""))
    return int(text) if text.isdigit() else 0
