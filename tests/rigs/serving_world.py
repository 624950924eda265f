"""A cluster in a dictionary with Serving's controllers over it, in virtual time, for stories about them.

Writes are kept as an API server keeps them (uids, generations, owners); pods do what the story says. `settle` lets
every controller look at everything until nobody wants anything more; `after` lets time pass, with what falls due in it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from knative_mig.adapters.kube.fields import time_text
from knative_mig.adapters.kube.kinds import POD, Kind
from knative_mig.core.kpa.reconcile import Mode
from knative_mig.core.kpa.status import Active, Activity
from knative_mig.dev.serving import objects
from knative_mig.dev.serving.cache import by_key
from knative_mig.dev.serving.controllers import KINDS, Name, Neighbours, Pass, deciders
from knative_mig.dev.serving.held_failures import HELD_S
from knative_mig.dev.serving.objects import SERVICE, WATCHED, Failure, Object, Seen
from knative_mig.dev.serving.scaling import Answer, Asked
from knative_mig.dev.serving.settings import Settings
from knative_mig.dev.serving.writes import Change, Create, Delete, Tell, difference
from knative_mig.ports.kube import Key
from tests.fake_api.patches import merged

START: Final = 1_800_000_000.0
_RETRY_S: Final = 5.0


@dataclass(slots=True)
class Script:
    """An autoscaler that wants what the story says: of each revision by its name, one pod where it says nothing."""

    wants: dict[str, int] = field(default_factory=dict)
    proxies: bool = True
    asked: dict[str, Asked] = field(default_factory=dict)
    forgotten: list[str] = field(default_factory=list)

    def answer(self, asked: Asked, now: float) -> Answer:
        name = asked.revision.name
        self.asked[name] = asked
        named = asked.way is not None and asked.way.named
        wants = self.wants.get(name, 1) if named else -1
        ready = asked.ready >= max(1, wants)
        if wants == 0:
            said = (Activity.INACTIVE, "NoTraffic", "The target is not receiving traffic.")
        elif ready:
            said = (Activity.ACTIVE, "", "")
        else:
            said = (Activity.ACTIVATING, "Queued", "Requests to the target are being buffered.")
        return Answer(
            active=Active(activity=said[0], reason=said[1], message=said[2], since=now),
            initialized=asked.initialized or (named and ready),
            desired=wants,
            actual=asked.ready,
            mode=Mode.PROXY if self.proxies else Mode.SERVE,
            activators=2,
            replicas=wants if wants not in (-1, asked.replicas) else None,
        )

    def forget(self, revision: Key) -> None:
        self.forgotten.append(revision.name)


@dataclass(slots=True)
class Door:
    """A gateway that has every Route at once, but for those in `shut`."""

    shut: set[str] = field(default_factory=set)

    def serves(self, route: Key, traffic: Sequence[Object]) -> bool:
        return bool(traffic) and route.name not in self.shut


@dataclass(slots=True)
class Shelf:
    """Images; those in `missing` cannot be had."""

    missing: set[str] = field(default_factory=set)

    def problem(self, image: str) -> str:
        return "no such image" if image in self.missing else ""


class ServingWorld:
    def __init__(self, settings: Settings | None = None) -> None:
        self.now = START
        self.settings = settings or Settings()
        self.objects: dict[Kind, dict[Key, Object]] = {kind: {} for kind in WATCHED}
        self.autoscaler = Script()
        self.gateway = Door()
        self.images = Shelf()
        self.told: list[Tell] = []
        self.wrote: list[Create | Change | Delete] = []
        self.refuses: Callable[[Kind, Object], str] = lambda _kind, _body: ""
        self._failures: dict[Pass, Failure] = {}
        self._due: dict[Pass, float] = {}
        self._deciders = deciders(Neighbours(autoscaler=self.autoscaler, gateway=self.gateway, images=self.images))
        self._count = 0

    # What users do.

    def apply(self, name: str, *, settle: bool = True, **template: Any) -> Object:
        """A Service with this template; `traffic`, `annotations` and `service_annotations` may be among its fields."""
        traffic = template.pop("traffic", [{"latestRevision": True, "percent": 100}])
        notes = template.pop("service_annotations", {})
        metadata = {"annotations": template.pop("annotations", {})}
        if "revision" in template:
            metadata["name"] = template.pop("revision")
        container = {"name": "user-container", "image": template.pop("image", "dev.local/llm")}
        spec = {"containerConcurrency": 0, "timeoutSeconds": 300, "containers": [container], **template}
        body = {
            "metadata": {"name": name, "namespace": "default", "annotations": notes},
            "spec": {"template": {"metadata": metadata, "spec": spec}, "traffic": traffic},
        }
        if (before := self.objects[SERVICE].get(Key("default", name))) is None:
            self.create(SERVICE, body)
        else:
            self.patch(SERVICE, before, {"spec": difference(before["spec"], body["spec"])})
        if settle:
            self.settle()
        return self.get(SERVICE, name)

    def get(self, kind: Kind, name: str) -> Object:
        return self.objects[kind][Key("default", name)]

    def names(self, kind: Kind) -> list[str]:
        return sorted(key.name for key in self.objects[kind])

    def condition(self, kind: Kind, name: str, type_: str = "Ready") -> tuple[str, str, str]:
        found = objects.condition(self.get(kind, name), type_)
        return found.get("status", ""), found.get("reason", ""), found.get("message", "")

    # What kubelets do.

    def pods(self, revision: str = "") -> list[Object]:
        every = [self.objects[POD][key] for key in sorted(self.objects[POD])]
        return [each for each in every if revision in ("", objects.labels(each)[objects.REVISION_LABEL])]

    def run_pods(self, revision: str = "") -> None:
        for each in self.pods(revision):
            self.run(each)
        self.settle()

    def run(self, pod: Object, **status: Any) -> None:
        """Ready from now on, or as `status` says."""
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": time_text(self.now)}
        self.put_status(POD, pod, {"phase": "Running", "conditions": [ready], **status})

    def put_status(self, kind: Kind, body: Object, status: Object) -> None:
        self._keep(kind, {**self.objects[kind][objects.key(body)], "status": status})

    # What the API server does.

    def create(self, kind: Kind, body: Object) -> Object:
        self._count += 1
        about = dict(body["metadata"])
        if "generateName" in about:
            about["name"] = f"{about.pop('generateName')}{self._count:05d}"
        about |= {"uid": f"uid-{self._count:05d}", "generation": 1, "creationTimestamp": time_text(self.now)}
        new = {"apiVersion": kind.group, "kind": kind.kind, **body, "metadata": about}
        if kind is POD:
            new["status"] = {"phase": "Pending"}
        assert objects.key(new) not in self.objects[kind], f"{kind.kind} {about['name']} is there already"
        self._keep(kind, new)
        return new

    def patch(self, kind: Kind, body: Object, patch: Object) -> None:
        self.put(kind, merged(self.objects[kind][objects.key(body)], patch))

    def put(self, kind: Kind, new: Object) -> None:
        old = self.objects[kind][objects.key(new)]
        if new.get("spec") != old.get("spec"):
            new["metadata"] = {**new["metadata"], "generation": old["metadata"]["generation"] + 1}
        self._keep(kind, new)

    def delete(self, kind: Kind, name: str) -> None:
        gone = self.objects[kind].pop(Key("default", name))
        for each_kind in WATCHED:
            for each in list(self.objects[each_kind].values()):
                if objects.is_owned(each, gone):
                    self.delete(each_kind, each["metadata"]["name"])

    def _keep(self, kind: Kind, body: Object) -> None:
        self.objects[kind] = {**self.objects[kind], objects.key(body): body}

    # What controllers do.

    def settle(self) -> None:
        """And a failure that is held for a moment is said."""
        self.rest()
        soon = self.now + HELD_S
        while due := [at for look, at in self._due.items() if look.controller is Name.SERVICE and at <= soon]:
            self.now = max(self.now, *due)
            self.rest()

    def rest(self) -> None:
        """In no time."""
        for _ in range(60):
            if not self._round():
                return
        raise AssertionError(f"the controllers do not come to rest: {self.wrote[-6:]}")

    def after(self, seconds: float) -> None:
        until = self.now + seconds
        while due := [at for at in self._due.values() if at <= until]:
            self.now = max(self.now, min(due))
            self._due = {look: at for look, at in self._due.items() if at > self.now}
            self.rest()
        self.now = until
        self.rest()

    def seen(self) -> Seen:
        objects_ = {kind: by_key(found) for kind, found in self.objects.items()}
        return Seen(objects=objects_, now=self.now, settings=self.settings)

    def _round(self) -> bool:
        wrote = False
        for name, kind in KINDS.items():
            keys = set(self.objects[kind]) | ({Key("default", "gone")} if name is Name.ROUTING_STATE else set())
            for key in sorted(keys):
                wrote |= self._pass(Pass(name, key))
        return wrote

    def _pass(self, look: Pass) -> bool:
        seen = replace(self.seen(), failure=self._failures.get(look))
        decided = self._deciders[look.controller](seen, look.key)
        self._due.pop(look, None)
        if decided.look_again_s is not None:
            self._due[look] = self.now + decided.look_again_s
        for write in decided.writes:
            if isinstance(write, Create) and (why := self.refuses(write.kind, write.body)):
                self._failures[look] = Failure(message=why, until=self.now + _RETRY_S)
                self._due[look] = self.now + _RETRY_S
                return True
            self._write(write)
        if look in self._failures and self._failures[look].until <= self.now:
            del self._failures[look]
            return True
        return any(not isinstance(each, Tell) for each in decided.writes)

    def _write(self, write: Create | Change | Delete | Tell) -> None:
        if isinstance(write, Tell):
            self.told.append(write)
            return
        self.wrote.append(write)
        match write:
            case Create():
                self.create(write.kind, write.body)
            case Change():
                body = self.objects[write.kind][write.key]
                assert body["metadata"]["uid"] == write.uid
                self.patch(write.kind, body, write.patch)
            case Delete():
                self.delete(write.kind, write.key.name)
