"""The kubelet and the API server of the node that `bench.one_node` measures, in a process of their own, as in life.

`with Outside(folder) as outside:` starts them; what happened there is asked for over a pipe, whose other end is
`python -m bench.outside`. The subtle thing is the clock: monotonic time is one for all processes of a machine, so a
moment noted there is compared with those of the agent.
"""

import contextlib
import math
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.kinds import GPU_NODE, NODE, Kind
from knative_mig.core.inventory import NodeName
from knative_mig.core.profile import ProfileName
from tests.contract.fake_kubelet import FakeKubelet
from tests.fake_api import FakeApi
from tests.fake_api.store import Body, Id

KEPT_CHANGES: Final = 200  # of the API server's history, which would slow its watches down
NOTED: Final = (NODE.plural, GPU_NODE.plural)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """By the API server, and when, monotonic."""

    at: float
    body: Body


class Outside:
    def __init__(self, folder: Path, node: NodeName) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bench.outside", str(theirs.fileno()), str(folder), node],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )
        self._pipe = Connection(ours.detach())

    def __enter__(self) -> Self:
        self._url = str(self._pipe.recv())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pipe.close()
        self._process.wait()

    def client(self) -> KubeClient:
        return KubeClient.of_url(self._url, user_agent="knative-mig-bench")

    def stored(self, kind: Kind) -> list[Stored]:
        """Since `forget`; of Nodes or GpuNodes."""
        return [Stored(at=at, body=body) for at, body in self._ask("stored", kind.plural)]

    def last_stored_at(self) -> float:
        """Whatever of both it was; infinite: nothing since `forget`."""
        return float(self._ask("last_stored_at"))

    def pushed_at(self, profile: ProfileName) -> float:
        """When the kubelet had the last list of devices."""
        return float(self._ask("pushed_at", profile))

    def forget(self) -> None:
        self._ask("forget")

    def _ask(self, *question: object) -> Any:
        self._pipe.send(question)
        return self._pipe.recv()


class _There:
    def __init__(self, api: FakeApi, kubelet: FakeKubelet) -> None:
        self._api, self._kubelet = api, kubelet
        self._stored: dict[str, list[tuple[float, Body]]] = {plural: [] for plural in NOTED}
        put = api.store._put  # noqa: SLF001 - the one place where the fake stores anything

        def noted(at: Id, new: Body) -> Body:
            body = put(at, new)
            if at.plural in NOTED:
                self._stored[at.plural].append((time.monotonic(), body))
            return body

        api.store._put = noted  # type: ignore[method-assign]  # noqa: SLF001 - likewise

    def stored(self, plural: str) -> list[tuple[float, Body]]:
        return list(self._stored[plural])

    def last_stored_at(self) -> float:
        return max((at for stored in self._stored.values() for at, _ in stored), default=math.inf)

    def pushed_at(self, profile: ProfileName) -> float:
        return self._kubelet.pushes(profile)[1]

    def forget(self) -> None:
        for stored in self._stored.values():
            stored.clear()
        with self._api.store.changed:
            del self._api.store.history[:-KEPT_CHANGES]


def main(handle: int, folder: Path, node: str) -> None:
    pipe = Connection(handle)
    with FakeApi() as api, FakeKubelet(folder) as kubelet, contextlib.suppress(EOFError):
        api.put_object({"kind": "Node", "metadata": {"name": node, "uid": "node-uid"}, "status": {}})
        there = _There(api, kubelet)
        pipe.send(api.url)
        while True:
            method, *arguments = pipe.recv()
            pipe.send(getattr(there, method)(*arguments))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
