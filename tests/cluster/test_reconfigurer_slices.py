"""From a pod that asks for a slice to the slice that it runs on: real scheduler, real kubelets, simulated GPUs."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from tests.cluster import device_plugin
from tests.cluster.api import NODE, POD, Api, Kind, Object
from tests.cluster.conftest import DeployFunction
from tests.cluster.driver import Cluster
from tests.cluster.figures import Measured
from tests.cluster.slices import (
    GATE,
    GPU_NODE,
    GpuNodeView,
    Pods,
    Slice,
    SlicePod,
    agent_pod,
    leader,
    metric,
    planner_pods,
    replace_agent,
)
from tests.cluster.system import PLANNER_NAMESPACE
from tests.cluster.testbed.kubectl import Kubectl
from tests.cluster.waits import NotSeenError, condition, eventually, is_true, until

pytestmark = [pytest.mark.alone, pytest.mark.testbed_only]

PRIORITY: Final = Kind("scheduling.k8s.io/v1", "priorityclasses", namespaced=False)
_LAYOUT: Final = "knative-mig.dev/layout"
# A useless slice would be made within a planning round or two; the resync is every 10 s, and a change wakes it at once.
_NOTHING_HAPPENS_SECONDS: Final = 4.0


def held_by(pod: SlicePod, nodes: list[GpuNodeView]) -> Slice:
    """The slice that the GpuNodes say it holds."""
    [node] = [node for node in nodes if node.name == pod.node]
    found = node.wait(
        f"says that {pod.name} holds a slice", lambda slices: any(pod.name in each.holders for each in slices)
    )
    [held] = [each for each in found if pod.name in each.holders]
    return held


def changes(api: Api, nodes: list[GpuNodeView]) -> float:
    """How many slices were made or destroyed so far."""
    name = "knative_mig_agent_hardware_calls_total"
    pods = [agent_pod(api, node.name) for node in nodes]
    return sum(metric(api, pod, name, call=call) for pod in pods for call in ("create", "destroy"))


def rounds(api: Api) -> float:
    """How often the planner that leads has looked; each change of a node that counts has it look."""
    return metric(api, leader(api), "knative_mig_planner_rounds_total")


@contextmanager
def merged(api: Api, node: str, patch: Object, undone: Object) -> Iterator[None]:
    api.merge(NODE, node, patch)
    try:
        yield
    finally:
        api.merge(NODE, node, undone)


def test_a_pod_goes_from_pending_to_running_on_a_slice_made_for_it(
    pods: Pods, gpus: list[GpuNodeView], measured: Measured, api: Api
) -> None:
    pod = pods.ask("llm", "3g.20gb").wait_running()
    environment, held = pod.environment(), held_by(pod, gpus)
    assert environment["KNATIVE_MIG_SLICE"] == held.device
    assert environment["KNATIVE_MIG_PROFILE"] == "3g.20gb"
    assert environment["KNATIVE_MIG_COMPUTE_SHARE"] == "3/7"
    assert environment["KNATIVE_MIG_MEMORY_MIB"] == "19968"
    assert environment["NVIDIA_VISIBLE_DEVICES"] == held.uuid
    assert held.state == "Busy"
    assert sum(len(node.slices()) for node in gpus) == 1

    times = {entry["type"]: entry["lastTransitionTime"] for entry in pod.object["status"]["conditions"]}
    assert times["PodScheduled"] >= pod.object["metadata"]["creationTimestamp"]
    agent = agent_pod(api, pod.node)
    name = "knative_mig_agent_spec_to_allocatable_seconds"
    seen = metric(api, agent, f"{name}_count")
    if seen:
        measured("spec at the agent to allocatable on the Node, mean", metric(api, agent, f"{name}_sum") / seen, "s")


def test_two_idle_fragments_are_merged_and_their_busy_neighbour_is_not_touched(
    pods: Pods, gpus: list[GpuNodeView]
) -> None:
    node, other = gpus
    # Wherever a 3g.20gb may lie, something is; only 4 to 7 of the first GPU is idle.
    node.want("4g.20gb@0 2g.10gb@4 1g.5gb@6", "7g.40gb@0")
    neighbour = pods.ask("neighbour", "4g.20gb", node=node.name).wait_running()
    whole = pods.ask("whole", "7g.40gb", node=node.name).wait_running()
    before = [neighbour.report()["instance"], whole.report()["instance"]]
    kept = held_by(neighbour, gpus)

    merged_for = pods.ask("llm", "3g.20gb", node=node.name).wait_running()
    held = held_by(merged_for, gpus)
    assert (held.gpu, held.profile, held.start) == (kept.gpu, "3g.20gb", 4)
    assert held_by(neighbour, gpus) == kept
    assert [neighbour.report()["instance"], whole.report()["instance"]] == before
    assert neighbour.object["status"]["containerStatuses"][0]["restartCount"] == 0
    assert not other.slices()


def test_a_deleted_pod_leaves_its_slice_idle_and_the_next_one_takes_it_as_it_is(
    pods: Pods, gpus: list[GpuNodeView], api: Api
) -> None:
    first = pods.ask("first", "2g.10gb").wait_running()
    held = held_by(first, gpus)
    [node] = [node for node in gpus if node.name == first.node]
    first.delete()
    node.wait("has the slice idle", lambda slices: [each.state for each in slices] == ["Idle"])
    made_or_destroyed = changes(api, gpus)

    second = pods.ask("second", "2g.10gb").wait_running()
    assert held_by(second, gpus).uuid == held.uuid
    assert second.environment()["NVIDIA_VISIBLE_DEVICES"] == held.uuid
    assert changes(api, gpus) == made_or_destroyed

    second.evict()
    node.wait("has the slice idle again", lambda slices: [each.state for each in slices] == ["Idle"])


def test_a_function_is_served_from_zero_on_a_slice_made_for_it_and_the_slice_waits_for_its_next_start(
    function: DeployFunction, gpus: list[GpuNodeView], measured: Measured, api: Api, kubectl: Kubectl
) -> None:
    # A short timeout, as the pod drains for so long.
    llm = function("llm", limits={"nvidia.com/mig-3g.20gb": "1"}, timeoutSeconds=10)
    environment = llm.report()["environment"]
    llm.wait_zero()
    device = environment["KNATIVE_MIG_SLICE"]
    [node] = [node for node in gpus if any(each.device == device for each in node.slices())]
    idle = node.wait(
        "has the function's slice idle",
        lambda slices: any(each.device == device and each.state == "Idle" for each in slices),
        seconds=60,
    )
    # What became of its wish stands where its owner looks.
    eventually(
        "its Revision tells of the slice and of its end",
        lambda: kubectl("describe", "revision", llm.revision, f"--namespace={llm.namespace}"),
        lambda told: f"has {device}" in told and f"has left {device}" in told,
    )
    made_or_destroyed = changes(api, gpus)
    answer = llm.ask("/report")
    measured("a function's cold start on an idle slice", answer.first_byte - answer.asked, "s")
    assert answer.json["environment"]["NVIDIA_VISIBLE_DEVICES"] in {each.uuid for each in idle}
    assert changes(api, gpus) == made_or_destroyed


_GIVES_BACK: Final = """
import json, socket, time
while True:
    door = socket.socket(socket.AF_UNIX)
    door.connect("/var/run/knative-mig/slice/agent.sock")
    door.sendall(json.dumps({"release": True}).encode() + b"\\n")
    answer = json.loads(door.makefile().readline())
    print(answer, flush=True)
    if answer.get("released"):
        break
    time.sleep(0.2)
time.sleep(3600)
"""


def test_a_holder_gives_its_slice_back_and_lives_on_while_the_place_is_cut_anew(
    pods: Pods, gpus: list[GpuNodeView]
) -> None:
    """As user 65532 with no rights at all, through the socket that the kubelet mounted for it. Beside it is another
    slice of its profile, which the next pod gets.
    """
    node = gpus[0]
    node.want("2g.10gb@0 2g.10gb@2")
    nobody = {
        "runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip
    pod = pods.ask("relay", "2g.10gb", node=node.name, program=_GIVES_BACK, securityContext=nobody).wait_running()
    two = node.wait(
        "has one of two slices released", lambda slices: sorted(each.state for each in slices) == ["Idle", "Released"]
    )
    [released], [idle] = ([each for each in two if each.state == state] for state in ("Released", "Idle"))
    # The scheduler counts the pod that has given its slice back until it is gone: of two, one is left.
    assert node.offered("2g.10gb") == 2
    following = pods.ask("next", "2g.10gb", node=node.name).wait_running()
    assert held_by(following, gpus).uuid == idle.uuid

    node.want(f"1g.5gb@{released.start} 1g.5gb@{released.start + 1} 2g.10gb@{idle.start}", offered=False)
    node.wait_offered("1g.5gb", 2)
    assert is_true(pod.object)
    assert pod.object["status"]["containerStatuses"][0]["restartCount"] == 0
    assert node.offered("2g.10gb") == 2
    pod.delete()
    node.wait_offered("2g.10gb", 1)


@pytest.mark.parametrize("why", ["cordoned", "tainted", "full"])
def test_a_node_that_cannot_take_the_pod_gets_no_useless_slice(
    why: str, pods: Pods, gpus: list[GpuNodeView], api: Api
) -> None:
    here, there = gpus
    taint = {"key": "tests.knative-mig.dev/keep-off", "effect": "NoSchedule"}
    asked: dict[str, str] = {}
    patch: Object = {"metadata": {"labels": {"tests.knative-mig.dev/full": "true"}}}
    undone: Object = {"metadata": {"labels": {"tests.knative-mig.dev/full": None}}}
    if why == "cordoned":
        patch, undone = {"spec": {"unschedulable": True}}, {"spec": {"unschedulable": None}}
    elif why == "tainted":
        patch, undone = {"spec": {"taints": [taint]}}, {"spec": {"taints": None}}
    else:
        # Whoever fills the node leaves less than the pod asks for.
        asked = {"cpu": f"{math.ceil(free_cpu_milli(api, here.name) * 0.6)}m"}
        pods.ask("filler", None, node=here.name, requests=asked).wait_running()
    before = rounds(api)
    with merged(api, here.name, patch, undone):
        # It hears of nodes and of pods by two watches, and is to hear of the node first.
        eventually("the planner has looked at the node", lambda: rounds(api) > before)
        pod = pods.ask("llm", "1g.5gb", requests=asked).wait_running()
        assert pod.node == there.name
        nowhere = pods.ask("nowhere", "1g.10gb", node=here.name, requests=asked)
        with pytest.raises(NotSeenError):
            here.wait("has a useless slice", bool, seconds=_NOTHING_HAPPENS_SECONDS)
        assert not nowhere.node
        assert not here.slices()


def free_cpu_milli(api: Api, node: str) -> int:
    asked = 0
    for pod in api.items(POD, fieldSelector=f"spec.nodeName={node}"):
        for container in pod["spec"]["containers"]:
            asked += _milli(container.get("resources", {}).get("requests", {}).get("cpu", "0"))
    return _milli(api.get(NODE, node)["status"]["allocatable"]["cpu"]) - asked


def _milli(cpu: str) -> int:
    return int(cpu.removesuffix("m")) if cpu.endswith("m") else int(cpu) * 1000


def test_the_slice_that_was_made_for_a_high_priority_is_not_taken_by_a_low_one(
    pods: Pods, gpus: list[GpuNodeView], api: Api
) -> None:
    """Both wait behind the gate that the admission webhook gives them; only one slice can be had."""
    node, other = gpus
    gates = [{"name": GATE}]
    high_priority = f"high-{pods.namespace[-5:]}"
    api.create(PRIORITY, {"metadata": {"name": high_priority}, "value": 1000, "preemptionPolicy": "Never"})
    with merged(api, other.name, {"spec": {"unschedulable": True}}, {"spec": {"unschedulable": None}}):
        taken = [pods.ask(f"taken-{number}", "7g.40gb", node=node.name).wait_running() for number in (1, 2)]
        low = pods.ask("low", "7g.40gb", schedulingGates=gates)
        high = pods.ask("high", "7g.40gb", schedulingGates=gates, priorityClassName=high_priority)
        taken[0].delete()
        high.wait_running()
        assert held_by(high, gpus).profile == "7g.40gb"
        assert condition(low.object, "PodScheduled")["reason"] == "SchedulingGated"
        # What waits is served as soon as there is a second place.
        taken[1].delete()
        low.wait_running()
    api.delete(PRIORITY, high_priority)


def test_a_static_node_keeps_its_layout_and_its_plugin_beside_a_dynamic_one(
    pods: Pods, gpus: list[GpuNodeView], api: Api, cluster: Cluster
) -> None:
    """The administrator's plugin names its devices as NVIDIA's does: by their UUIDs."""
    dynamic, static = gpus
    [cut] = static.want("3g.20gb@4")
    folder = cluster.testbed.node(static.name).folder.device_plugins
    with layout(static, "static"), device_plugin.running(folder, "nvidia.com/mig-3g.20gb", [cut.uuid]):
        static.wait_offered("3g.20gb", 1)
        there = pods.ask("static", "3g.20gb", node=static.name).wait_running()
        assert there.environment()[device_plugin.DEVICE_VARIABLE] == cut.uuid
        assert held_by(there, gpus).uuid == cut.uuid

        nowhere = pods.ask("no-such-slice", "2g.10gb", node=static.name)
        here = pods.ask("dynamic", "3g.20gb").wait_running()
        assert here.node == dynamic.name
        assert held_by(here, gpus).uuid == here.environment()["NVIDIA_VISIBLE_DEVICES"]
        assert [each.uuid for each in static.slices()] == [cut.uuid]
        assert not nowhere.node

        # What was wanted of it before is emptied, and it answers a new leader like any other.
        until(api, GPU_NODE.named(static.name), "has an empty spec", lambda item: not item["spec"].get("gpus"))
        token = int(static.object["spec"]["fencingToken"])
        change_leader(api)
        until(
            api, GPU_NODE.named(static.name), "has answered a new leader's token",
            lambda item: item["spec"]["fencingToken"] > token
            and item["status"]["observedGeneration"] == item["metadata"]["generation"],
        )  # fmt: skip
        pods.delete_all()
    static.wait_offered("3g.20gb", 1)


def change_leader(api: Api) -> None:
    """Its pod is deleted, and another replica takes the Lease over."""
    api.delete(POD, leader(api)["metadata"]["name"], PLANNER_NAMESPACE)
    eventually("both planners are Ready", lambda: [is_true(pod) for pod in planner_pods(api)] == [True, True])


@contextmanager
def layout(node: GpuNodeView, label: str) -> Iterator[None]:
    """An agent notices its node's label within a minute and starts anew; here it is started anew at once."""

    def is_now(wanted: str) -> None:
        replace_agent(node.api, node.name)
        until(
            node.api, GPU_NODE.named(node.name), f"is {wanted} and ready",
            lambda item: item["status"].get("layout") == wanted and condition(item)["status"] == "True",
        )  # fmt: skip

    try:
        with merged(node.api, node.name, *({"metadata": {"labels": {_LAYOUT: word}}} for word in (label, None))):
            is_now(label)
            yield
    finally:
        is_now("dynamic")
