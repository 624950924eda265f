"""The API server as a whole: its parts, the port, and the threads beside it: one for each of a cluster's controllers
that it has, and one that forgets old Events.

Made by `whole.cluster` (and by tests), on whose event loop it runs. What it takes from others is handed in: who is
asked before a write, who has the logs, the clock. Namespaces and definitions are there from the start; what else is to
be there its maker says by `put`.
"""

import socket
import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Final

from knative_mig.dev.api import crds, namespace_begins, quotas, service, types, writes
from knative_mig.dev.api.admission import Hook
from knative_mig.dev.api.garbage import Collector
from knative_mig.dev.api.kinds import BUILT_IN, Kinds
from knative_mig.dev.api.old_events import OldEvents
from knative_mig.dev.api.openapi import Documents
from knative_mig.dev.api.ports import Logs
from knative_mig.dev.api.routes import Asked
from knative_mig.dev.api.service import Service
from knative_mig.dev.api.steps import World
from knative_mig.dev.api.store import Key, Store, encoded
from knative_mig.dev.api.watches import Watches
from knative_mig.dev.http.server import Bounds, HttpServer

HOST: Final = "127.0.0.1"
LARGEST_BODY: Final = 3 * 1024 * 1024  # as the real one
# Most work takes less than a millisecond; but who waits for a webhook of this very process waits for its requests too.
WORKERS: Final = 32
NAMESPACES: Final = ("default", "kube-system", "kube-public", "kube-node-lease", "knative-serving", "knative-eventing")


class ApiServer:
    def __init__(
        self,
        *,
        logs: Logs,
        hooks: Callable[[], Sequence[Hook]] = tuple,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        store: Store | None = None,
    ) -> None:
        self.store = store or Store()
        kinds, known = Kinds(), types.committed()
        for kind in BUILT_IN:
            kinds.add(kind)
        crds.Definitions(self.store, kinds, known)
        self.world = World(
            store=self.store, kinds=kinds, types=known, hooks=hooks, now=now, new_uid=lambda: str(uuid.uuid4())
        )
        self._seed()
        self.watches = Watches(self.store, now)
        self.garbage = Collector(self.world).sweep
        self.usage = quotas.usage(self.store)
        self.beginnings = namespace_begins.beginnings(self.store, self.put)
        self.old_events = OldEvents(self.store, now)
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="api")
        self.service = Service(
            world=self.world,
            watches=self.watches,
            documents=Documents(kinds, known),
            logs=logs,
            workers=self._workers,
        )
        self._http = HttpServer(self.service.answer, service.of_http, Bounds(largest_body=LARGEST_BODY))
        self._beside = (
            threading.Thread(target=self.garbage.run, name="garbage collector", daemon=True),
            threading.Thread(target=self.usage.run, name="quotas", daemon=True),
            threading.Thread(target=self.beginnings.run, name="namespaces", daemon=True),
            threading.Thread(target=self.old_events.run, name="old events", daemon=True),
        )
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    async def start(self, port: int = 0, *, bound: socket.socket | None = None) -> None:
        """On `bound`, where it is given. OSError: the port is taken."""
        self.port = await (self._http.listen_on(bound) if bound is not None else self._http.listen(HOST, port))
        for each in self._beside:
            each.start()

    async def stop(self, drain_s: float = 1.0) -> None:
        self.watches.end()
        await self._http.close(drain_s)
        self.garbage.stop()
        self.usage.stop()
        self.beginnings.stop()
        self.old_events.stop()
        for each in self._beside:
            if each.is_alive():
                each.join()
        self._workers.shutdown(wait=False, cancel_futures=True)

    def put(self, body: dict[str, Any]) -> None:
        """What is to be there, where it is not yet."""
        kind = self.world.kinds.of_object(body["apiVersion"], body["kind"])
        assert kind is not None, body["kind"]
        about = body["metadata"]
        asked = Asked(
            verb="create",
            kind=kind,
            namespace=about.get("namespace", ""),
            query={"fieldManager": "knative-mig-dev", "fieldValidation": "Strict"},
            body=encoded(body),
        )
        if self.store.read(Key(kind.place, asked.namespace, about["name"])) is None:
            writes.create(self.world, asked)

    def _seed(self) -> None:
        for name in NAMESPACES:
            self.put({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}})
        for each in crds.shipped():
            self.put(each)
