"""One API server for all of these tests, a namespace for each, and the real clients, run as a person runs them."""

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from knative_mig.adapters.kube.client import KubeClient
from knative_mig.dev.api.ports import LogsWanted
from knative_mig.dev.api.server import ApiServer
from knative_mig.dev.api.store import Store
from knative_mig.dev.loop import Loop
from knative_mig.dev.serving.settings import Settings
from knative_mig.dev.serving.webhook.admission import Webhooks
from knative_mig.dev.whole.admission import Admission
from tests.dev import binaries
from tests.dev.client import Client


class SaidLogs:
    """Of each container the lines that a test has said."""

    def __init__(self) -> None:
        self.of_pod: dict[str, list[str]] = {}

    async def lines(self, wanted: LogsWanted) -> AsyncIterator[bytes]:
        said = self.of_pod.get(wanted.pod, [])
        for line in said[-wanted.tail_lines :] if wanted.tail_lines else said:
            yield f"{line}\n".encode()


@pytest.fixture(scope="session")
def logs() -> SaidLogs:
    return SaidLogs()


@pytest.fixture(scope="session")
def api(logs: SaidLogs) -> Iterator[ApiServer]:
    with Loop() as loop:
        server = ApiServer(logs=logs)
        loop.run(server.start())
        yield server
        loop.run(server.stop())


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def home(api: ApiServer, folder: Path, namespace: str) -> Path:
    """With a kubeconfig that has the test's namespace for its own."""
    _configure(folder, api, namespace)
    return folder


def _configure(folder: Path, api: ApiServer, namespace: str) -> None:
    (folder / namespace).write_text(
        f"""apiVersion: v1
kind: Config
clusters: [{{name: dev, cluster: {{server: "{api.url}"}}}}]
users: [{{name: dev, user: {{}}}}]
contexts: [{{name: dev, context: {{cluster: dev, user: dev, namespace: {namespace}}}}}]
current-context: dev
"""
    )


@pytest.fixture
def client(api: ApiServer) -> KubeClient:
    return KubeClient.of_url(api.url)


@pytest.fixture
def namespace(api: ApiServer) -> str:
    name = f"test-{uuid.uuid4().hex[:8]}"
    api.put({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}})
    return name


@pytest.fixture
def kubectl(home: Path, namespace: str) -> Client:
    return _client("kubectl", home, namespace)


@pytest.fixture
def kubectl_with_knative(logs: SaidLogs, tmp_path: Path) -> Iterator[Client]:
    """For an API server of its own, which asks what stands for Knative's webhooks."""
    store = Store()
    hooks = Admission(store, {}, Webhooks(Settings)).hooks
    with Loop() as loop:
        server = ApiServer(logs=logs, hooks=hooks, store=store)
        loop.run(server.start())
        _configure(tmp_path, server, "default")
        yield _client("kubectl", tmp_path, "default")
        loop.run(server.stop())


@pytest.fixture
def kn(home: Path, namespace: str) -> Client:
    return _client("kn", home, namespace)


def _client(name: str, home: Path, namespace: str) -> Client:
    binary = binaries.found(name)
    if binary is None:
        pytest.skip(f"{name} is not built: `make clients` builds it (Go, some minutes)")
    return Client(binary, home, namespace)
