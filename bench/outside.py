"""The kubelet and the API server of the node that `bench.one_node` measures, in a process of their own, as in life.

`with Outside(folder) as outside:` starts them; what happened there is asked for over a pipe, whose other end is
`python -m bench.outside`. The subtle thing is the clock: monotonic time is one for all processes of a machine, so a
moment noted there is compared with those of the agent.
"""

import contextlib
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from kubernetes.client import Configuration

from knative_mig.adapters.kube.client import KubeClient
from knative_mig.core.inventory import NodeName
from knative_mig.core.profile import ProfileName
from tests.contract.fake_kubelet import FakeKubelet
from tests.fake_api import FakeApi
from tests.fake_api.store import Body, Id

KEPT_CHANGES: Final = 200  # of the API server's history, which would slow its watches down
NOTED: Final = ("nodes", "gpunodes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """By the API server: what, and when, monotonic."""

    plural: str
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
        return KubeClient(lambda: Configuration(host=self._url), user_agent="knative-mig-bench")

    def stored(self) -> list[Stored]:
        """Of Nodes and GpuNodes, since `forget`."""
        return [Stored(plural=plural, at=at, body=body) for plural, at, body in self._ask("stored")]

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
        self._stored: list[tuple[str, float, Body]] = []
        put = api.store._put  # noqa: SLF001 - the one place where the fake stores anything

        def noted(at: Id, new: Body) -> Body:
            body = put(at, new)
            if at.plural in NOTED:
                self._stored.append((at.plural, time.monotonic(), body))
            return body

        api.store._put = noted  # type: ignore[method-assign]  # noqa: SLF001 - likewise

    def stored(self) -> list[tuple[str, float, Body]]:
        return list(self._stored)

    def pushed_at(self, profile: ProfileName) -> float:
        return self._kubelet.pushes(profile)[1]

    def forget(self) -> None:
        self._stored.clear()
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
