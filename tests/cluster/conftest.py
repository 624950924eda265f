"""Fixtures of the suite that runs on a real cluster: `make e2e`, or pytest on a file while `make cluster-up` is up.

Each test has a namespace of its own, so tests run side by side; one that breaks the cluster or times it is marked
`alone`: it runs last, by itself, and what it broke is mended. Nothing here skips: what is missing fails.
"""

import contextlib
import os
import re
import time
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import evidence, figures, slices, system
from tests.cluster.api import NAMESPACE, NODE, SERVICE, SERVICE_ACCOUNT, Api
from tests.cluster.driver import Cluster, attach
from tests.cluster.first_look import first_look
from tests.cluster.function import Function, manifest
from tests.cluster.gpu_node import GpuNode
from tests.cluster.kn import Kn
from tests.cluster.order import dealt
from tests.cluster.pauses import Pauses
from tests.cluster.testbed import faults, lifecycle, status
from tests.cluster.testbed.errors import ClusterError
from tests.cluster.testbed.kubectl import Kubectl
from tests.cluster.testbed.progress import Progress
from tests.cluster.turns import Turn
from tests.cluster.waits import until

DeployFunction = Callable[..., Function]
_GPU_NODES = 2
_WORKERS_VARIABLE = "PYTEST_XDIST_WORKER_COUNT"
_PAUSES = Pauses()  # of this process
_TEST_SECONDS = 240  # of the test itself; waiting for its turn does not count


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "alone: breaks the cluster on purpose or times it, so it runs last and by itself"
    )
    config.addinivalue_line("markers", "slow(seconds): how long it takes about, so that the longest start first")
    config.addinivalue_line("markers", "claims_a_node: has one GPU node's slices to itself, whichever node is free")
    config.addinivalue_line("markers", "testbed_only: needs the nodes' processes or their network; not there on kind")
    config.option.durations = config.option.durations or 10


def pytest_sessionstart() -> None:
    """One line where no cluster is up, instead of a failure for each test."""
    _PAUSES.watch()
    try:
        attach()
    except ClusterError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_report_header() -> list[str]:
    return list(attach().about)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_TEST_SECONDS, func_only=True))
    # Slow starters first, so that the last worker does not end alone with one; those that need silence at the end.
    items.sort(key=lambda item: (item.get_closest_marker("alone") is not None, -_weight(item)))
    _spread(items)


def _spread(items: list[pytest.Item]) -> None:
    """Of those that claim a GPU node no more run at once than there are nodes, and one that waits for its claim would
    hold a worker up. So they are spread among the others.
    """
    beside = [item for item in items if item.get_closest_marker("alone") is None]
    claiming = [item for item in beside if item.get_closest_marker("claims_a_node")]
    others = [item for item in beside if item not in claiming]
    place = {item: (number + 1) / len(others) for number, item in enumerate(others)}
    place |= {item: number // _GPU_NODES * _GPU_NODES / len(claiming) for number, item in enumerate(claiming)}
    spread = sorted(beside, key=lambda item: place[item])
    items[: len(beside)] = dealt(spread, _weight, workers=int(os.environ.get(_WORKERS_VARIABLE, "1")))


def _weight(item: pytest.Item) -> int:
    marker = item.get_closest_marker("slow")
    return int(marker.args[0]) if marker else 0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        now = time.monotonic()
        place = str(item.funcargs["namespace"]) if "namespace" in item.funcargs else None
        seen = [_PAUSES.told(now - call.duration, now), *_looked_at(place)]
        folder = evidence.collect(item.name, place, str(report.longrepr))
        report.sections.append(("evidence", "\n".join((str(folder), *seen, *evidence.panics(folder)))))
    if isinstance(item, pytest.Function) and isinstance(turn := item.funcargs.get("turn"), Turn):
        report.duration -= turn.waited  # the ten slowest are those that are slow, not those that waited
        turn.waited = 0
    return report


def _looked_at(namespace: str | None) -> list[str]:
    try:
        return first_look(attach().connect(), namespace)
    except ClusterError as error:
        return [f"no first look: {error}"]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A suite that skipped did not pass."""
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None and terminal.stats.get("skipped") and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    figures.print_all(terminalreporter)


# ---------------------------------------------------------------- the cluster


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    return attach()


@pytest.fixture(scope="session")
def api(cluster: Cluster) -> Api:
    return cluster.connect()


@pytest.fixture(scope="session")
def kubectl(cluster: Cluster) -> Kubectl:
    return cluster.kubectl


@pytest.fixture(autouse=True)
def turn(request: pytest.FixtureRequest) -> Iterator[Turn]:
    """The test's place on the cluster, beside others or alone."""
    with Turn.at(Path("build/e2e/turns")) as mine:
        if request.node.get_closest_marker("alone"):
            mine.alone()
        else:
            mine.side_by_side()
        yield mine


@pytest.fixture
def broken(cluster: Cluster, turn: Turn) -> Iterator[None]:
    """For tests that break the cluster: puts right whatever they left, and waits until it is healthy."""
    try:
        yield
    finally:
        faults.mend(cluster.testbed)
        status.wait_healthy(120)


# ---------------------------------------------------------------- one test's own


@pytest.fixture
def namespace(request: pytest.FixtureRequest, api: Api, turn: Turn) -> Iterator[str]:
    """Deleted without waiting: the next test has another, and its functions' pods drain for 30 s."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-").removeprefix("test-")
    # Short, as it is part of each function's host name; unique, as the last run's may still be going.
    name = f"{words[:24].strip('-')}-{uuid.uuid4().hex[:5]}"
    api.create(NAMESPACE, {"metadata": {"name": name, "labels": {"knative-mig.dev/test": "true"}}})
    # It is made a moment later, and before that no pod is: the API server itself waits for it for a second or two.
    until(api, SERVICE_ACCOUNT.named("default", name), "is there", bool)
    yield name
    with contextlib.suppress(OSError):
        api.delete(NAMESPACE, name)


@pytest.fixture
def kn(cluster: Cluster, namespace: str) -> Kn:
    return Kn(cluster.kn, cluster.kubeconfig, namespace)


@pytest.fixture
def handle(cluster: Cluster, api: Api, namespace: str) -> Callable[[str], Function]:
    """A function that something else deployed (kn, say), by its name."""
    return lambda name: Function(
        name=name, namespace=namespace, api=api, gateway=cluster.gateway, domain=cluster.domain
    )


@pytest.fixture
def function(api: Api, namespace: str, handle: Callable[[str], Function]) -> DeployFunction:
    """Deploys one: `function("hello", annotations={…}, limits={…}, timeoutSeconds=5)`; Ready unless `wait=False`."""

    def deploy(name: str = "hello", *, wait: bool = True, **options: Any) -> Function:
        api.create(SERVICE, manifest(name, **options), namespace)
        deployed = handle(name)
        return deployed.wait_ready() if wait else deployed

    return deploy


@pytest.fixture
def gpu_nodes(api: Api, turn: Turn) -> list[GpuNode]:
    found = api.items(NODE, labelSelector="knative-mig.dev/pool=gpu")
    return [GpuNode(node["metadata"]["name"], api) for node in found]


@pytest.fixture
def gpu_node(gpu_nodes: list[GpuNode]) -> GpuNode:
    return gpu_nodes[0]


@pytest.fixture
def deployed(cluster: Cluster, turn: Turn) -> None:
    """Planner and agents of this checkout, on simulated GPUs; left where they are."""
    system.deployed(cluster.testbed)


@pytest.fixture
def eventing(cluster: Cluster, turn: Turn) -> None:
    """Adds Knative Eventing to the running cluster where it is not there yet; only tests that ask for it pay for it."""
    lifecycle.up(cluster.testbed, Progress(), with_eventing=True)


@pytest.fixture
def gpus(deployed: None, api: Api, gpu_nodes: list[GpuNode]) -> list[slices.GpuNodeView]:
    """The GPU nodes with nothing on their GPUs: for tests that are `alone`."""
    nodes = [slices.GpuNodeView(node.name, api) for node in gpu_nodes]
    slices.reset(nodes)
    return nodes


@pytest.fixture
def pods(api: Api, namespace: str) -> Iterator[slices.Pods]:
    """Makes pods that ask for slices; they are gone when the next test begins."""
    made = slices.Pods(api, namespace)
    yield made
    made.delete_all()


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> figures.Measured:
    return figures.recorder(record_property)
