"""Each fault tool does what it says: later parts' tests rely on these."""

import shutil
import time

import pytest

from tests.cluster.api import NODE, POD, Api, Object
from tests.cluster.conftest import DeployFunction
from tests.cluster.driver import Cluster
from tests.cluster.figures import Measured
from tests.cluster.function import MIN_SCALE, Function
from tests.cluster.gpu_node import GpuNode
from tests.cluster.testbed import faults, processes, status
from tests.cluster.testbed.errors import BadInputError
from tests.cluster.testbed.processes import Component
from tests.cluster.testbed.system_images import FUNCTION_IMAGE
from tests.cluster.waits import NotSeenError, condition, eventually, is_true, until

pytestmark = [pytest.mark.alone, pytest.mark.testbed_only, pytest.mark.usefixtures("broken")]

_MEBIBYTE = 2**20


@pytest.fixture
def warm(function: DeployFunction, gpu_node: GpuNode) -> Function:
    """A function with its pod on the node that is broken."""
    return function("warm", annotations={MIN_SCALE: "1"}, nodeSelector={"kubernetes.io/hostname": gpu_node.name})


def test_a_rate_limit_slows_a_node_and_goes_with_its_block(
    warm: Function, cluster: Cluster, gpu_node: GpuNode, measured: Measured
) -> None:
    def megabits_per_second() -> float:
        answer = warm.ask(f"/?bytes={_MEBIBYTE}")
        assert len(answer.text) == _MEBIBYTE
        return 8 * _MEBIBYTE / 1e6 / (answer.ended - answer.asked)

    megabits_per_second()  # the first request may find the activator still in the path
    with faults.rate_limited(cluster.testbed, gpu_node.name, kilobits=4000):
        limited = megabits_per_second()
    # A machine that stands still for a second looks like a limit.
    free = eventually("it is as fast as before", megabits_per_second, lambda seen: seen > 2 * limited)
    measured("download at a limit of 4 Mbit/s", limited, "Mbit/s")
    measured("download without", free, "Mbit/s")
    assert limited < 5


def test_a_delay_slows_each_packet_or_the_missing_kernel_option_is_named(
    warm: Function, cluster: Cluster, gpu_node: GpuNode, measured: Measured
) -> None:
    warm.ask()  # the first request may find the activator still in the path
    try:
        with faults.delayed(cluster.testbed, gpu_node.name, milliseconds=200):
            answer = warm.ask()
    except BadInputError as missing:
        assert "CONFIG_NET_SCH_NETEM" in str(missing)  # noqa: PT017  # either outcome is right, by the kernel
    else:
        measured("answer over a cable that delays by 200 ms", answer.ended - answer.asked, "s")
        assert answer.ended - answer.asked > 0.2


def test_a_node_that_lost_its_power_comes_back_and_its_function_answers(
    warm: Function, api: Api, cluster: Cluster, gpu_node: GpuNode, measured: Measured
) -> None:
    before = warm.report()["instance"]
    faults.kill_node(cluster.testbed, gpu_node.name)
    assert not any(component.alive for component in _daemons(cluster, gpu_node))
    until(api, NODE.named(gpu_node.name), "is not Ready", lambda node: condition(node)["status"] != "True")
    started = time.monotonic()
    faults.start_node(cluster.testbed, gpu_node.name)
    until(api, NODE.named(gpu_node.name), "is Ready again", is_true)
    measured("node has power again to Ready", time.monotonic() - started, "s")
    assert warm.answers("/report").json["instance"] != before
    measured("node has power again to its function's answer", time.monotonic() - started, "s")


def _daemons(cluster: Cluster, gpu_node: GpuNode) -> list[Component]:
    return [found for found in processes.components(cluster.testbed.state) if found.name.endswith(gpu_node.name)]


def test_a_restarted_component_is_another_process_with_the_flags_it_had(cluster: Cluster) -> None:
    before = processes.find(cluster.testbed.state, "kube-scheduler")
    after = faults.restart(cluster.testbed, "kube-scheduler")
    assert after.alive
    assert not before.alive
    assert after.command == before.command


def test_a_frozen_node_answers_nothing_until_it_thaws(warm: Function, cluster: Cluster, gpu_node: GpuNode) -> None:
    instance = warm.report()["instance"]
    with faults.frozen(cluster.testbed, gpu_node.name), pytest.raises(TimeoutError):
        warm.ask(timeout=2)
    assert warm.answers("/report").json["instance"] == instance


def test_a_paused_scheduler_places_nothing_until_it_goes_on(api: Api, namespace: str, cluster: Cluster) -> None:
    pod: Object = {"metadata": {"name": "waits"}, "spec": {"containers": [{"name": "wait", "image": FUNCTION_IMAGE}]}}

    def placed(seconds: float) -> None:
        until(
            api, POD.named("waits", namespace), "is placed", lambda item: item["spec"].get("nodeName"), seconds=seconds
        )

    with faults.paused(cluster.testbed, "kube-scheduler"):
        api.create(POD, pod, namespace)
        with pytest.raises(NotSeenError):
            placed(2)
    placed(60)


def test_a_killed_component_stays_down_until_it_is_started(cluster: Cluster, gpu_node: GpuNode) -> None:
    component = f"kube-proxy-{gpu_node.name}"

    def trouble() -> str | None:
        return next(finding.trouble for finding in status.look() if finding.what == component)

    faults.kill(cluster.testbed, component)
    assert (trouble() or "").startswith("dead")
    faults.start(cluster.testbed, component)
    assert trouble() is None


def test_a_small_disk_fills_and_is_free_again(cluster: Cluster, gpu_node: GpuNode) -> None:
    with faults.small_disk(cluster.testbed, gpu_node.name, "/var/lib/test-disk", mebibytes=4) as folder:
        assert shutil.disk_usage(folder).total == 4 * _MEBIBYTE
        filled = faults.fill(folder)
        assert shutil.disk_usage(folder).free == 0
        with pytest.raises(OSError, match="No space left"):
            (folder / "more").write_bytes(bytes(_MEBIBYTE))
        filled.unlink()
        assert shutil.disk_usage(folder).free > _MEBIBYTE
