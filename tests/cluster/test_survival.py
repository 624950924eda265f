"""Functions outlive what breaks under them: a lost node, an API server and a container runtime that restart."""

import time
from itertools import count
from typing import Any

import pytest

from tests.cluster.api import NODE, POD, Api
from tests.cluster.conftest import DeployFunction
from tests.cluster.driver import Cluster
from tests.cluster.figures import Measured
from tests.cluster.function import BURST_CAPACITY, MIN_SCALE, Function
from tests.cluster.gpu_node import GpuNode
from tests.cluster.testbed import faults, processes
from tests.cluster.testbed.node import component_name
from tests.cluster.waits import condition, eventually, is_true, until, until_all, until_gone

pytestmark = [pytest.mark.alone, pytest.mark.testbed_only, pytest.mark.usefixtures("broken")]


def test_a_function_on_a_lost_node_answers_from_the_other_and_the_node_comes_back(
    function: DeployFunction, api: Api, namespace: str, cluster: Cluster, measured: Measured
) -> None:
    hello = function(annotations={MIN_SCALE: "1"}, nodeSelector={"knative-mig.dev/pool": "gpu"}, timeoutSeconds=10)
    before = hello.pods()[0]
    lost = before["spec"]["nodeName"]

    def elsewhere(world: dict[str, dict[str, object]]) -> str | None:
        ready = [pod for pod in world.values() if is_true(pod) and pod["spec"]["nodeName"] != lost]  # type: ignore[index]
        return str(ready[0]["spec"]["nodeName"]) if ready else None  # type: ignore[index]

    cut = time.monotonic()
    with faults.unplugged(cluster.testbed, lost):
        until(api, NODE.named(lost), "is not Ready", lambda node: condition(node)["status"] != "True")
        measured("cut node seen as lost after", time.monotonic() - cut, "s")
        until_all(api, POD, namespace, "its pod is Ready on the other node", elsewhere)
        hello.answers()
        measured("function of the cut node answers from the other after", time.monotonic() - cut, "s")
    healed = time.monotonic()
    until(api, NODE.named(lost), "is Ready again", is_true)
    measured("healed node Ready after", time.monotonic() - healed, "s")
    # The kubelet hears now that its pod was taken away, and drains it for no longer than timeoutSeconds.
    until_gone(api, POD.named(before["metadata"]["name"], namespace))
    hello.answers()


def test_a_warm_function_answers_without_an_api_server_and_a_cold_one_after_its_restart(
    function: DeployFunction, cluster: Cluster, measured: Measured
) -> None:
    warm = function("warm", annotations={MIN_SCALE: "1"})
    cold = function("cold", annotations={BURST_CAPACITY: "-1"})
    cold.wait_zero()
    faults.kill(cluster.testbed, faults.API_SERVER)
    assert warm.ask().status == 200
    started = time.monotonic()
    faults.start(cluster.testbed, faults.API_SERVER)
    measured("API server started to ready", time.monotonic() - started, "s")
    cold.answers()
    measured("API server started to a cold function's answer", time.monotonic() - started, "s")
    warm.answers()
    _answering(function, "new")
    measured("API server started to a new function's answer", time.monotonic() - started, "s")


def test_a_running_function_does_not_notice_its_container_runtime_restart_and_the_next_one_starts(
    function: DeployFunction, cluster: Cluster, gpu_node: GpuNode, measured: Measured
) -> None:
    here = {"kubernetes.io/hostname": gpu_node.name}
    hello = _answering(function, "hello", annotations={MIN_SCALE: "1"}, nodeSelector=here)
    instance = hello.report()["instance"]
    containerd = component_name("containerd", gpu_node.name)

    faults.kill(cluster.testbed, containerd)
    assert hello.report()["instance"] == instance
    faults.start(cluster.testbed, containerd)
    started = time.monotonic()
    _answering(function, "another", nodeSelector=here)
    measured("containerd restarted to a new function's answer", time.monotonic() - started, "s")
    assert hello.report()["instance"] == instance
    assert hello.pods()[0]["status"]["containerStatuses"][0]["restartCount"] == 0
    assert processes.find(cluster.testbed.state, containerd).alive


def _answering(function: DeployFunction, name: str, **options: Any) -> Function:
    """A new function that answers. Where the API server was started anew, also by the test before, the activator's
    watches come back after back-offs of their own: a Revision that it hears of later than of its pods has no answer
    until they change, and so it is the next one's turn.
    """
    numbers = count()

    def made() -> Function:
        new = function(f"{name}-{next(numbers)}", **options)
        assert new.ask(timeout=10).status == 200
        return new

    return eventually(f"a new function {name} answers", made, lambda _: True)
