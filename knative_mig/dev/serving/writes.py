"""What a controller wants written, as values with their reasons.

Made by the deciding modules, carried out by `loop` in their order; the first that fails ends the pass, which is made
anew later. A change names the uid of the object it is meant for, so that it never meets a successor of that name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from knative_mig.adapters.kube.kinds import Kind
from knative_mig.dev.serving.objects import Object, status
from knative_mig.dev.serving.objects import key as key_of
from knative_mig.ports.kube import EventType, Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    kind: Kind
    namespace: str
    body: Object
    reason: str
    told: Object | None = None  # whose Event says that it was made, or why not


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A merge patch."""

    kind: Kind
    key: Key
    uid: str
    patch: Object
    below: str = ""  # "status": through that subresource
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    kind: Kind
    key: Key
    uid: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tell:
    """An Event about an object."""

    about: Object
    reason: str
    message: str
    type: EventType = EventType.NORMAL


Write = Create | Change | Delete | Tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    writes: tuple[Write, ...] = ()
    look_again_s: float | None = None


NOTHING = Decided()


@dataclass(slots=True)
class Wanted:
    """Collects what one pass wants."""

    writes: list[Write] = field(default_factory=list)
    again_s: float | None = None

    def create(self, kind: Kind, body: Object, reason: str, *, told: Object | None = None) -> None:
        body = {"apiVersion": kind.group, "kind": kind.kind, **body}
        namespace = body["metadata"]["namespace"]
        self.writes.append(Create(kind=kind, namespace=namespace, body=body, reason=reason, told=told))

    def change(self, kind: Kind, body: Object, new: Object, reason: str) -> None:
        """To what `new` has; nothing where that is so already."""
        self._change(kind, body, difference(body, new), "", reason)

    def status(self, kind: Kind, body: Object, new: Object, reason: str) -> None:
        if patch := difference(status(body), new):
            self._change(kind, body, {"status": patch}, "status", reason)

    def _change(self, kind: Kind, body: Object, patch: Object, below: str, reason: str) -> None:
        if patch:
            about = body["metadata"]
            self.writes.append(
                Change(kind=kind, key=key_of(body), uid=about["uid"], patch=patch, below=below, reason=reason)
            )

    def delete(self, kind: Kind, body: Object, reason: str) -> None:
        self.writes.append(Delete(kind=kind, key=key_of(body), uid=body["metadata"]["uid"], reason=reason))

    def tell(self, about: Object, reason: str, message: str, type_: EventType = EventType.NORMAL) -> None:
        self.writes.append(Tell(about=about, reason=reason, message=message, type=type_))

    def look_again(self, seconds: float | None) -> None:
        if seconds is not None:
            seconds = max(0.0, seconds)
            self.again_s = seconds if self.again_s is None else min(self.again_s, seconds)

    def decided(self) -> Decided:
        return Decided(writes=tuple(self.writes), look_again_s=self.again_s)


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> Object:
    """The merge patch from one to the other."""
    patch: Object = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            if inner := difference(before, value):
                patch[key] = inner
        elif key not in old or before != value:
            patch[key] = value
    return patch
