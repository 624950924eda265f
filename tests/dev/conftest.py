"""One API server for all of these tests, a namespace for each, and the real clients, run as a person runs them."""

import os
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from knative_mig.adapters.kube.client import KubeClient
from knative_mig.dev.api.ports import LogsWanted
from knative_mig.dev.api.server import ApiServer
from knative_mig.dev.loop import Loop
from tests.dev import binaries


class SaidLogs:
    """Of each container the lines that a test has said; a pod of which nothing was said has not started."""

    def __init__(self) -> None:
        self.of_pod: dict[str, list[str]] = {}

    def lines(self, wanted: LogsWanted) -> AsyncIterator[bytes] | None:
        said = self.of_pod.get(wanted.pod)
        return None if said is None else _each(said[-wanted.tail_lines :] if wanted.tail_lines else said)


async def _each(lines: list[str]) -> AsyncIterator[bytes]:
    for line in lines:
        yield f"{line}\n".encode()


@dataclass(frozen=True, slots=True)
class Client:
    binary: Path
    home: Path
    namespace: str

    @property
    def command(self) -> list[str]:
        return [str(self.binary)]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "HOME": str(self.home), "KUBECONFIG": str(self.home / self.namespace)}

    def __call__(self, *words: str, stdin: str = "") -> str:
        """What it prints; fails the test with what it says where it fails."""
        done = self.run(*words, stdin=stdin)
        assert done.returncode == 0, f"{self.binary.name} {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def fails(self, *words: str, stdin: str = "") -> str:
        """What it says to that."""
        done = self.run(*words, stdin=stdin)
        assert done.returncode != 0, f"{self.binary.name} {' '.join(words)}: {done.stdout}"
        return done.stderr

    def run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.command, *words],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


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
    (folder / namespace).write_text(
        f"""apiVersion: v1
kind: Config
clusters: [{{name: dev, cluster: {{server: "{api.url}"}}}}]
users: [{{name: dev, user: {{}}}}]
contexts: [{{name: dev, context: {{cluster: dev, user: dev, namespace: {namespace}}}}}]
current-context: dev
"""
    )
    return folder


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
def kn(home: Path, namespace: str) -> Client:
    return _client("kn", home, namespace)


def _client(name: str, home: Path, namespace: str) -> Client:
    binary = binaries.found(name)
    if binary is None:
        pytest.skip(f"{name} is not built: `make clients` builds it (Go, some minutes)")
    return Client(binary, home, namespace)
