"""One `knative-mig dev` for all tests, those of other workers too; a namespace for each; and the real clients.

`python -m tests.dev_suite` starts it and names it to us; pytest on a file alone starts one for that run.
"""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.api import NAMESPACE, Api
from tests.cluster.function import Function
from tests.dev import binaries
from tests.dev.client import Client
from tests.dev_suite import FLEET, SHARED_VARIABLE
from tests.dev_suite.running import At, started

ANSWERING = Path(__file__).parent / "answering.py"
# A program of this machine in place of an image, and times that a test can wait for: its timeout is its pods' grace.
PYTHON = sys.executable
QUICK = ("--image", "none", "--cmd", PYTHON, "--arg", str(ANSWERING), "--scale-window", "6s", "--timeout", "15")
TINY = ("--image", "dev.local/tiny-llm", "--scale-window", "6s")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What waits longest begins first, so that no worker is alone with it in the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "long: waits for functions to go to zero, or for probes to fail, so it begins first"
    )


def pytest_sessionstart() -> None:
    """One line where the clients are not built, instead of a failure for each test."""
    missing = [name for name in binaries.COMPONENT_OF if binaries.found(name) is None]
    if missing:
        raise pytest.UsageError(f"{' and '.join(missing)}: not built; `make clients` builds them")


@pytest.fixture(scope="session")
def dev() -> Iterator[At]:
    """Shared: nothing of it is broken, and no test counts on having all of its GPUs."""
    if shared := os.environ.get(SHARED_VARIABLE):
        yield At.read(Path(shared))
        return
    with started(*FLEET) as one:
        yield At.of(one)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def api(dev: At) -> Api:
    return Api.of_kubeconfig(dev.kubeconfig)


@pytest.fixture
def namespace(api: Api) -> Iterator[str]:
    name = f"test-{uuid.uuid4().hex[:8]}"
    api.create(NAMESPACE, {"metadata": {"name": name}})
    yield name
    api.delete(NAMESPACE, name)


@pytest.fixture
def kubectl(dev: At, home: Path, namespace: str) -> Client:
    return client("kubectl", dev, home, namespace)


@pytest.fixture
def kn(dev: At, home: Path, namespace: str) -> Client:
    return client("kn", dev, home, namespace)


def client(name: str, dev: At, home: Path, namespace: str) -> Client:
    """With a kubeconfig that has the test's namespace for its own."""
    config = json.loads(dev.kubeconfig.read_text())
    config["contexts"][0]["context"]["namespace"] = namespace
    (home / namespace).write_text(json.dumps(config))
    binary = binaries.found(name)
    assert binary is not None
    return Client(binary, home, namespace)


@pytest.fixture
def handle(dev: At, api: Api, namespace: str) -> Callable[[str], Function]:
    """A function of the test's namespace, by its name, that kn or kubectl has deployed."""
    return lambda name: Function(name=name, namespace=namespace, api=api, gateway=dev.gateway, domain="localhost")


@pytest.fixture
def curl() -> Callable[..., str]:
    """What it prints; fails the test where it fails."""

    def run(*words: str) -> str:
        done = subprocess.run(["curl", "-sS", *words], capture_output=True, text=True, timeout=90, check=False)
        assert done.returncode == 0, f"curl {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    return run
