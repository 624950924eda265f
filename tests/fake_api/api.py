"""`with FakeApi() as api:` an API server on a port of its own; `api.client()` speaks with it, `api.faults` break it."""

import threading
from types import TracebackType
from typing import Self

from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.kinds import EVENT, GPU_NODE, LEASE, NODE, POD, RESOURCE_QUOTA, Kind
from knative_mig.ports.kube import Key
from tests.fake_api.faults import Faults
from tests.fake_api.server import Server
from tests.fake_api.store import Body, Id, Store

_PLURALS = {each.kind: each.plural for each in (GPU_NODE, NODE, POD, RESOURCE_QUOTA, EVENT, LEASE)}


class FakeApi:
    def __init__(self) -> None:
        self.store = Store()
        self.faults = Faults()
        self.server = Server(self.store, self.faults)
        self._thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, name="fake API", daemon=True
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    @property
    def requests(self) -> list[tuple[str, str]]:
        return list(self.server.requests)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self.store.changed:
            self.server.stopping = True
            self.store.changed.notify_all()
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()

    def client(self) -> KubeClient:
        return KubeClient.of_url(self.url, user_agent="knative-mig-tests")

    def put_object(self, body: Body) -> Body:
        """Made, or replaced whole, status and all, past every rule."""
        about = body["metadata"]
        at = Id(_plural(body["kind"]), about.get("namespace", ""), about["name"])
        if at not in self.store.objects:
            return self.store.create(at, body, trusted=True)
        return self.store.update(at, lambda _: body, trusted=True)

    def remove_object(self, kind: Kind, key: Key) -> None:
        """At once, whatever its grace."""
        self.store.remove(Id(kind.plural, key.namespace, key.name))

    def objects(self, kind: Kind) -> list[Body]:
        return self.store.all(kind.plural)[0]

    def hold_up_evictions_of(self, key: Key) -> None:
        self.server.held_up.add((key.namespace, key.name))

    def allow_evictions_of(self, key: Key) -> None:
        self.server.held_up.discard((key.namespace, key.name))

    def drop_watches(self) -> None:
        """Their connections end without a word."""
        with self.store.changed:
            self.server.ended_watches += 1
            self.store.changed.notify_all()

    def wait_for_watches(self, count: int, timeout_s: float = 60.0) -> None:
        """Until so many have begun since the start."""
        with self.store.changed:
            assert self.store.changed.wait_for(lambda: self.server.watches >= count, timeout_s)

    def bookmark(self, timeout_s: float = 60.0) -> None:
        """To all that watch; back when the first has it on its way. Somebody must be watching."""
        server = self.server
        with self.store.changed:
            server.bookmarks += 1
            sent = server.bookmarks_sent
            self.store.changed.notify_all()
            assert self.store.changed.wait_for(lambda: server.bookmarks_sent > sent, timeout_s)

    def compact(self) -> None:
        """Whoever has yet to see something is told 410."""
        self.store.compact()


def _plural(kind: str) -> str:
    return _PLURALS.get(kind) or f"{kind.lower()}s"
