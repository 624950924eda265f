"""The scenarios of tests/scenarios on a real Kubernetes and Knative, each in a namespace of its own.

What needs one node is played beside others, on whichever node is free; what needs everything is `alone`.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pytest

from tests.cluster import claims, figures
from tests.cluster.api import NAMESPACE, NODE, POD, Api
from tests.cluster.brokers import Broker
from tests.cluster.driver import Cluster
from tests.cluster.gpu_node import GpuNode
from tests.cluster.kn import Kn
from tests.cluster.simulation import Gpus
from tests.cluster.slices import GpuNodeView, end_undrained, reset
from tests.cluster.stage import Stage
from tests.cluster.steering import Steering
from tests.cluster.testbed.topology import GPU_TAINT
from tests.scenarios import breaking, crowds, limits, merging, moving, telling
from tests.scenarios.scenario import Needs, Scenario

pytestmark = [pytest.mark.testbed_only, pytest.mark.usefixtures("deployed")]

_LABEL = "tests.knative-mig.dev/stage"
_LONGEST_S = 500  # several waits of a minute and more, each of which says what it waited for
_SCENARIOS = tuple(
    scenario for file in (merging, moving, breaking, limits, crowds, telling) for scenario in file.SCENARIOS
)


def _parameter(scenario: Scenario) -> object:
    needs = pytest.mark.alone if scenario.needs is Needs.EVERYTHING else pytest.mark.claims_a_node
    limit = pytest.mark.timeout(_LONGEST_S, func_only=True)
    return pytest.param(scenario, id=scenario.name, marks=[needs, limit, pytest.mark.slow(scenario.seconds)])


@pytest.fixture
def stage(
    *,
    request: pytest.FixtureRequest,
    scenario: Scenario,
    cluster: Cluster,
    kn: Kn,
    gpu_nodes: list[GpuNode],
    record_property: figures.Record,
) -> Iterator[Stage]:
    api, namespace = cluster.connect(), kn.namespace
    steering = Steering(cluster.kubectl, api)
    if scenario.eventing:
        request.getfixturevalue("eventing")
        Broker(api, namespace).make()
    with ExitStack() as stack:
        stack.callback(steering.put_back)
        names = [node.name for node in gpu_nodes]
        where: tuple[str, ...] = ()
        if scenario.needs is Needs.ONE_NODE:
            names = [stack.enter_context(claims.one_of(names))]
            where = kept_on(api, names[0])
        else:
            stack.enter_context(tainted(api, names))
        if scenario.fleet:
            stack.enter_context(steering.fleet(scenario.fleet, names))
        nodes = [GpuNodeView(name, api) for name in names]
        reset(nodes)
        yield Stage(
            gateway=cluster.gateway, domain=cluster.domain, api=api, kn=kn, namespace=namespace,
            nodes=nodes, where=where, hardware=Gpus(cluster, api), steering=steering,
            told=figures.timelines(record_property),
        )  # fmt: skip
        _leave(api, namespace)


def kept_on(api: Api, node: str) -> tuple[str, ...]:
    """By a label of our own: the planner itself sends pods to nodes by their host names, and moves them to others."""
    api.merge(NODE, node, {"metadata": {"labels": {_LABEL: node}}})
    return ("--node-selector", f"{_LABEL}={node}")


@contextmanager
def tainted(api: Api, names: Sequence[str]) -> Iterator[None]:
    """As NVIDIA's documentation has GPU nodes."""
    key, _, rest = GPU_TAINT.partition("=")
    value, _, effect = rest.partition(":")
    try:
        for name in names:
            api.merge(NODE, name, {"spec": {"taints": [{"key": key, "value": value, "effect": effect}]}})
        yield
    finally:
        for name in names:
            api.merge(NODE, name, {"spec": {"taints": None}})


def _leave(api: Api, namespace: str) -> None:
    """So that the next scenario on the node need not wait for pods that drain: in a namespace that goes, none comes."""
    api.delete(NAMESPACE, namespace)
    for pod in api.items(POD, namespace):
        end_undrained(api, pod)


@pytest.mark.parametrize("scenario", [_parameter(each) for each in _SCENARIOS])
def test_scenario(scenario: Scenario, stage: Stage) -> None:
    scenario.play(stage)
