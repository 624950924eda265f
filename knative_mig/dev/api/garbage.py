"""Deletes what nobody owns any more, and what is in namespaces that go: a cluster's garbage collector.

Made by `server`, which runs its sweep. It is told of every change, and looks only at what that change may have made
garbage: those whose owner is gone, and those that wait for what they own.
"""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from knative_mig.dev.api import namespace_ends, refusals
from knative_mig.dev.api.deletion import FOREGROUND, ORPHAN, Options, delete
from knative_mig.dev.api.kinds import Kind
from knative_mig.dev.api.routes import Asked
from knative_mig.dev.api.steps import World
from knative_mig.dev.api.store import Change, Key, Outdated, Stored
from knative_mig.dev.api.sweeps import Sweep

Object = dict[str, Any]


class Collector:
    """Deletes what nobody owns any more, and what is in namespaces that go."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._by_uid: dict[str, Key] = {}
        self._owned: dict[str, set[Key]] = {}  # by their owner's uid
        self.sweep = Sweep(world.store, self._concerned, self._look_at)

    def _concerned(self, change: Change) -> Iterator[Key]:
        """Under the store's lock."""
        before, after = _about(change.before), _about(change.after)
        for owner in before.get("ownerReferences") or ():
            self._disowned(owner.get("uid"), change.key)
        for owner in after.get("ownerReferences") or ():
            self._owned.setdefault(owner.get("uid"), set()).add(change.key)
        if after:
            self._by_uid[after["uid"]] = change.key
        if after.get("ownerReferences") and after.get("ownerReferences") != before.get("ownerReferences"):
            yield change.key
        if after.get("deletionTimestamp"):
            yield change.key
        if before and not after:
            self._by_uid.pop(before["uid"], None)
            yield from self._owned.get(before["uid"], ())
            # Those that waited for it: its owners, and its namespace.
            owners = (self._by_uid.get(each.get("uid")) for each in before.get("ownerReferences") or ())
            yield from (key for key in owners if key is not None)
            if change.key.namespace:
                yield Key("namespaces", "", change.key.namespace)

    def _disowned(self, owner: str, key: Key) -> None:
        owned = self._owned.get(owner, set())
        owned.discard(key)
        if not owned:
            self._owned.pop(owner, None)

    def _look_at(self, key: Key) -> None:
        stored = self._world.store.read(key)
        if stored is None:
            return
        about = stored.body["metadata"]
        if about.get("deletionTimestamp"):
            if key.place == "namespaces":
                self._empty(key, stored)
            for finalizer in (FOREGROUND, ORPHAN):
                if finalizer in (about.get("finalizers") or ()):
                    self._finalize(key, stored, finalizer)
            return
        owners = about.get("ownerReferences") or ()
        if owners and not any(each.get("uid") in self._by_uid for each in owners):
            self._delete(key, Options(uid=about["uid"]))

    def _delete(self, key: Key, options: Options) -> str:
        """Why it is refused, if it is."""
        kind = self._kind(key)
        if kind is not None:
            asked = Asked(verb="delete", kind=kind, namespace=key.namespace, name=key.name)
            try:
                delete(self._world, asked, options)
            except refusals.Refusal as refused:
                # Gone meanwhile, or refused by a hook: the next change of it brings it here again.
                return "" if refused.code == HTTPStatus.NOT_FOUND else refused.message
        return ""

    def _kind(self, key: Key) -> Kind | None:
        return next((each for each in self._world.kinds if each.resource == key.place), None)

    def _empty(self, key: Key, stored: Stored) -> None:
        inside = [each for each, _ in self._world.store if each.namespace == key.name]
        refused = [why for each in inside if (why := self._delete(each, Options()))]
        left = [self._left(each, found) for each, found in self._world.store if each.namespace == key.name]
        status = stored.body.get("status") or {}
        told = namespace_ends.conditions(status.get("conditions") or (), left, refused, self._world.timestamp())
        body = {**stored.body, "status": {**status, "conditions": told}}
        if left:
            self._put(key, stored, body)
            return
        body["spec"] = {**(stored.body.get("spec") or {}), "finalizers": []}
        self._put_or_remove(key, stored, body)

    def _left(self, key: Key, stored: Stored) -> namespace_ends.Left:
        kind = self._kind(key)
        resource = f"{kind.plural}.{kind.group}" if kind is not None else key.place
        return namespace_ends.Left(resource=resource, finalizers=_about(stored).get("finalizers") or ())

    def _finalize(self, key: Key, stored: Stored, finalizer: str) -> None:
        about = stored.body["metadata"]
        with self._world.store.held():
            owned = sorted(self._owned.get(about["uid"], ()))
        for each in owned:
            if finalizer == ORPHAN:
                self._let_go(each, about["uid"])
            else:
                self._delete(each, Options(policy="Foreground" if self._owns(each) else "Background"))
        with self._world.store.held():
            left = sorted(self._owned.get(about["uid"], ()))
        if finalizer == FOREGROUND and any(self._is_blocking(each, about["uid"]) for each in left):
            return
        rest = [each for each in about.get("finalizers") or () if each != finalizer]
        new = {key_: value for key_, value in about.items() if key_ != "finalizers"} | (
            {"finalizers": rest} if rest else {}
        )
        self._put_or_remove(key, stored, {**stored.body, "metadata": new})

    def _owns(self, key: Key) -> bool:
        stored = self._world.store.read(key)
        return stored is not None and bool(self._owned.get(stored.body["metadata"]["uid"]))

    def _is_blocking(self, key: Key, owner: str) -> bool:
        stored = self._world.store.read(key)
        owners = _about(stored).get("ownerReferences") or ()
        return any(each.get("uid") == owner and each.get("blockOwnerDeletion") for each in owners)

    def _let_go(self, key: Key, owner: str) -> None:
        stored = self._world.store.read(key)
        if stored is None:
            return
        about = stored.body["metadata"]
        rest = [each for each in about.get("ownerReferences") or () if each.get("uid") != owner]
        new = {name: value for name, value in about.items() if name != "ownerReferences"}
        self._put(key, stored, {**stored.body, "metadata": new | ({"ownerReferences": rest} if rest else {})})

    def _put_or_remove(self, key: Key, stored: Stored, body: Object) -> None:
        if body["metadata"].get("finalizers") or body["metadata"].get("deletionGracePeriodSeconds"):
            self._put(key, stored, body)
            return
        try:
            self._world.store.remove(key, over=stored.version)
        except Outdated:
            self.sweep.again(key)

    def _put(self, key: Key, stored: Stored, body: Object) -> None:
        if body == stored.body:  # to write it would bring it here again, and again
            return
        try:
            self._world.store.put(key, body, over=stored.version)
        except Outdated:
            self.sweep.again(key)


def _about(stored: Stored | None) -> Mapping[str, Any]:
    return stored.body["metadata"] if stored is not None else {}
