"""Serving's stand-ins on their threads over an API server, with an autoscaler and a gateway that do as a test says, and
a kubelet that has every pod ready at once.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.fields import time_text
from knative_mig.adapters.kube.kinds import POD, Kind
from knative_mig.dev.serving import objects
from knative_mig.dev.serving.controllers import Name, Neighbours
from knative_mig.dev.serving.loop import Loop, mirrors_of
from knative_mig.dev.serving.objects import SERVICE, Object
from knative_mig.ports.kube import EventType, Key, Subject
from tests.fake_api import FakeApi
from tests.rigs.serving_world import Door, Script, Shelf

WITHIN_S: Final = 60.0


class Told:
    """Events, in a list."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, str]] = []

    def record(self, subject: Subject, kind: EventType, reason: str, message: str) -> None:
        del kind
        self.events.append((subject.kind, reason, message))


class ServingRig:
    loop: Loop

    def __init__(self, api: FakeApi) -> None:
        self.api = api
        self.client: KubeClient = api.client()
        self.autoscaler = Script()
        self.gateway = Door()
        self.told = Told()

    def apply(self, name: str, image: str = "dev.local/llm") -> None:
        """As the API server keeps it after the webhooks."""
        template = {"spec": {"containerConcurrency": 0, "containers": [{"name": "user-container", "image": image}]}}
        spec = {"template": template, "traffic": [{"latestRevision": True, "percent": 100}]}
        key = Key("default", name)
        if any(each["metadata"]["name"] == name for each in self.api.objects(SERVICE)):
            self.client.merge(SERVICE, key, {"spec": spec})
        else:
            metadata = {"name": name, "namespace": "default"}
            body = {"apiVersion": SERVICE.group, "kind": "Service", "metadata": metadata, "spec": spec}
            self.client.create(SERVICE, "default", body)

    def wants(self, revision: str, pods: int) -> None:
        self.autoscaler.wants[revision] = pods
        self.loop.poke(Name.AUTOSCALER, Key("default", revision))

    def opens(self, route: str) -> None:
        self.gateway.shut.discard(route)
        self.loop.poke(Name.ROUTE, Key("default", route))

    def get(self, kind: Kind, name: str) -> Object:
        found = [each for each in self.api.objects(kind) if each["metadata"]["name"] == name]
        return found[0] if found else {}

    def is_ready(self, name: str) -> bool:
        body = self.get(SERVICE, name)
        return bool(body) and objects.is_ready(body)

    def pods(self) -> list[Object]:
        return self.api.objects(POD)

    def until(self, what: Callable[[], Any]) -> None:
        with self.api.store.changed:
            assert self.api.store.changed.wait_for(what, WITHIN_S), f"not so within {WITHIN_S} s"

    def quiet(self) -> int:
        """Once nothing is written any more: the version."""
        seen, since = -1, time.monotonic()
        while time.monotonic() - since < WITHIN_S:
            version = self.api.store.version
            if version == seen:
                return version
            seen = version
            threading.Event().wait(0.5)
        raise AssertionError("the controllers do not come to rest")

    def runs_pods(self, stop: threading.Event) -> None:
        """A kubelet's part, until `stop`."""
        while not stop.is_set():
            with self.api.store.changed:
                self.api.store.changed.wait_for(lambda: stop.is_set() or self._waiting(), 0.2)
                waiting = self._waiting()
            for each in waiting:
                ready = {"type": "Ready", "status": "True", "lastTransitionTime": time_text(int(time.time()))}
                self.api.put_object({**each, "status": {"phase": "Running", "conditions": [ready]}})

    def _waiting(self) -> list[Object]:
        return [each for each in self.pods() if "phase" not in (each.get("status") or {})]


@contextmanager
def serving(api: FakeApi, *, watch_s: float = 30.0) -> Iterator[ServingRig]:
    rig = ServingRig(api)
    mirrors = mirrors_of(api.client(), watch_s)
    neighbours = Neighbours(autoscaler=rig.autoscaler, gateway=rig.gateway, images=Shelf())
    rig.loop = Loop(rig.client, mirrors, neighbours, rig.told)
    stop = threading.Event()
    runs = [*(mirror.run for mirror in mirrors.values()), rig.loop.run, rig.runs_pods]
    threads = [threading.Thread(target=run, args=(stop,), daemon=True) for run in runs]
    for thread in threads:
        thread.start()
    try:
        yield rig
    finally:
        stop.set()
        rig.loop.interrupt()
        for mirror in mirrors.values():
            mirror.interrupt()
        for thread in threads:
            thread.join(WITHIN_S)
            assert not thread.is_alive()
