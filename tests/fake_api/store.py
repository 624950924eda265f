"""The objects, their versions and their history: what etcd and the generic registry are to the real one.

Called by `server` on its request threads and by the tests; one lock over all of it.
"""

import copy
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tests.fake_api import managed, rules
from tests.fake_api.refusals import Refusal, conflict, expired, not_found, too_new

Body = dict[str, Any]

_WITH_STATUS: Final = frozenset(  # written through a subresource
    {
        *("gpunodes", "pods", "nodes", "resourcequotas", "deployments", "replicasets"),
        *("services", "configurations", "routes", "revisions", "podautoscalers", "serverlessservices"),
        *("brokers", "triggers"),
    }
)


@dataclass(frozen=True, slots=True, order=True)
class Id:
    plural: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Change:
    version: int
    id: Id
    before: Body | None
    after: Body | None


class Store:
    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.version = 1
        self.oldest = 0  # a watch from before this is refused
        self.objects: dict[Id, Body] = {}
        self.history: list[Change] = []

    def read(self, at: Id) -> Body:
        with self.changed:
            if at not in self.objects:
                raise not_found(at.plural, at.name)
            return copy.deepcopy(self.objects[at])

    def all(self, plural: str, namespace: str = "") -> tuple[list[Body], int]:
        with self.changed:
            found = [
                copy.deepcopy(body)
                for at, body in sorted(self.objects.items())
                if at.plural == plural and namespace in ("", at.namespace)
            ]
            return found, self.version

    def create(self, at: Id, body: Body, *, trusted: bool = False, manager: str = "") -> Body:
        """`trusted`: with its status and without rules, as tests put things there."""
        with self.changed:
            if at in self.objects:
                raise Refusal(409, "AlreadyExists", f'{at.plural} "{at.name}" already exists')
            new = copy.deepcopy(body)
            if not trusted:
                rules.check(at.plural, new, None)
                if at.plural in _WITH_STATUS:
                    new.pop("status", None)
            about = new.setdefault("metadata", {})
            about.setdefault("name", at.name)
            if at.namespace:
                about.setdefault("namespace", at.namespace)
            about.setdefault("uid", str(uuid.uuid4()))
            about.setdefault("creationTimestamp", _now())
            if not trusted:
                about |= managed.annotations(about.get("annotations"), {}, manager)
            about["generation"] = 1
            return self._put(at, new)

    def update(
        self,
        at: Id,
        change: Callable[[Body], Body],
        *,
        status: bool = False,
        trusted: bool = False,
        manager: str = "",
    ) -> Body:
        with self.changed:
            old = self.read(at)
            new = change(copy.deepcopy(old))
            about, was = new.setdefault("metadata", {}), old["metadata"]
            for key, code in (("uid", "Precondition failed: UID"), ("resourceVersion", "the object has been modified")):
                if about.get(key, was[key]) != was[key]:
                    raise conflict(f"{at.plural} {at.name}: {code}")
            if status:
                new = {**old, "status": new.get("status", {})}
            else:
                if at.plural in _WITH_STATUS and not trusted:
                    new.pop("status", None)
                    new |= {"status": old["status"]} if "status" in old else {}
                if not trusted:
                    rules.check(at.plural, new, old)
                new["metadata"] = {**about, **{key: was[key] for key in ("uid", "creationTimestamp", "generation")}}
                if not trusted:
                    new["metadata"] |= managed.annotations(about.get("annotations"), was, manager)
                if new.get("spec") != old.get("spec"):
                    new["metadata"]["generation"] = was["generation"] + 1
            return old if new == old else self._put(at, new)

    def delete(self, at: Id, options: Body | None = None) -> None:
        """`options`: DeleteOptions."""
        options = options or {}
        uid = (options.get("preconditions") or {}).get("uid")
        with self.changed:
            old = self.read(at)
            if uid not in (None, old["metadata"]["uid"]):
                raise conflict(f"Precondition failed: UID in precondition: {uid}")
            own = old.get("spec", {}).get("terminationGracePeriodSeconds", 30)
            grace = options.get("gracePeriodSeconds", own)
            if at.plural == "pods" and old.get("spec", {}).get("nodeName") and grace:
                # It stays until its kubelet is done with it; another deletion can only shorten that.
                if grace < old["metadata"].get("deletionGracePeriodSeconds", grace + 1):
                    old["metadata"] |= {"deletionTimestamp": _now(grace), "deletionGracePeriodSeconds": grace}
                    self._put(at, old)
                return
            self.remove(at)

    def remove(self, at: Id) -> None:
        with self.changed:
            old = self.objects.pop(at)
            self.version += 1
            gone = copy.deepcopy(old)
            gone["metadata"]["resourceVersion"] = str(self.version)
            self.history.append(Change(self.version, at, gone, None))
            self.changed.notify_all()

    def compact(self) -> None:
        """Nothing is known any more of how it came to be so: whoever has not seen the newest is told so."""
        with self.changed:
            self.oldest = self.version
            self.history.clear()

    def begin_anew(self) -> None:
        """It counts from the start: an etcd that was restored from an older copy, or another server at its address."""
        with self.changed:
            self.version, self.oldest = 1, 0
            self.history.clear()

    def since(self, version: int) -> list[Change]:
        with self.changed:
            if version < self.oldest:
                raise expired()
            if version > self.version:
                raise too_new(version, self.version)
            return [each for each in self.history if each.version > version]

    def _put(self, at: Id, new: Body) -> Body:
        self.version += 1
        new["metadata"]["resourceVersion"] = str(self.version)
        before = self.objects.get(at)
        self.objects[at] = new
        self.history.append(Change(self.version, at, before, new))
        self.changed.notify_all()
        return copy.deepcopy(new)


def _now(later_s: float = 0) -> str:
    return (datetime.now(UTC) + timedelta(seconds=later_s)).strftime("%Y-%m-%dT%H:%M:%SZ")
