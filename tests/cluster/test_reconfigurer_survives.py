"""What breaks around a slice that is held: its kubelet, the API server, its agent, a leader, the GPU itself."""

import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import pytest

from knative_mig.adapters.proc_pods import ProcPods
from knative_mig.core.inventory import GpuUuid
from tests.cluster.api import CONFIG_MAP, NODE, POD, Api, Object
from tests.cluster.driver import Cluster
from tests.cluster.figures import Measured
from tests.cluster.simulation import controls, instance_number
from tests.cluster.slices import (
    EVENT,
    GPU_NODE,
    LEASE,
    GpuNodeView,
    Pods,
    agent_pod,
    leader,
    planner_pods,
    replace_agent,
)
from tests.cluster.system import PLANNER_NAMESPACE
from tests.cluster.testbed import faults
from tests.cluster.testbed.errors import ClusterError
from tests.cluster.testbed.node import component_name
from tests.cluster.waits import eventually, is_true, recorded, until, until_gone

pytestmark = [pytest.mark.alone, pytest.mark.testbed_only, pytest.mark.usefixtures("broken")]

_PROFILE: Final = "2g.10gb"
_RESOURCE: Final = f"nvidia.com/mig-{_PROFILE}"
_BACK_WITHIN_SECONDS: Final = 5.0
_CONTAINED_ECC_ERROR: Final = 94  # an XID that breaks one slice
_LOOK: Final = "tests.knative-mig.dev/look"  # a label whose change wakes the planner


@contextmanager
def watched(api: Api, node: str, right: int) -> Iterator[Callable[[], float]]:
    """Yields what tells for how many seconds, at most at a stretch, the Node offered another number of slices."""
    changes: list[tuple[float, int]] = []

    def note(arrival: float, _event: str, item: Object) -> None:
        changes.append((arrival, int(item["status"]["allocatable"].get(_RESOURCE, 0))))

    def longest() -> float:
        wrong_since, found = None, 0.0
        for arrival, count in [*changes, (time.monotonic(), changes[-1][1] if changes else right)]:
            if wrong_since is not None:
                found = max(found, arrival - wrong_since)
            if count == right:
                wrong_since = None
            elif wrong_since is None:
                wrong_since = arrival
        return found

    with recorded(api, NODE, None, note, fieldSelector=f"metadata.name={node}"):
        yield longest


def agent_replaced(cluster: Cluster, node: str) -> None:
    replace_agent(cluster.connect(), node)


def kubelet_restarted(cluster: Cluster, node: str) -> None:
    faults.restart(cluster.testbed, component_name("kubelet", node))


def api_server_restarted(cluster: Cluster, node: str) -> None:
    faults.restart(cluster.testbed, faults.API_SERVER)


@pytest.mark.parametrize("broken_thing", [kubelet_restarted, agent_replaced, api_server_restarted])
def test_a_pod_goes_on_and_its_node_offers_its_slices_again_at_once(
    broken_thing: Callable[[Cluster, str], None],
    cluster: Cluster,
    pods: Pods,
    gpus: list[GpuNodeView],
    measured: Measured,
) -> None:
    node = gpus[0]
    before = node.want("2g.10gb@0 2g.10gb@2")
    runs = pods.ask("runs", _PROFILE, node=node.name).wait_running()
    process = runs.report()["instance"]

    with watched(cluster.connect(), node.name, 2) as longest:
        broken_thing(cluster, node.name)
        began = time.monotonic()
        what = broken_thing.__name__.replace("_", " ")
        # The watch ends with the API server, and nobody can change what a Node offers until it is ready again: from
        # then on it is looked at anew.
        with watched(cluster.connect(), node.name, 2) as longest_since:
            node.wait_offered(_PROFILE, 2, seconds=_BACK_WITHIN_SECONDS)
            pods.ask("next", _PROFILE, node=node.name).wait_running()
            measured(f"{what}: a new pod runs on an idle slice", time.monotonic() - began, "s")
            node.wait_offered(_PROFILE, 2)
            wrong_s = max(longest(), longest_since())
        measured(f"{what}: the Node offered another number of slices for", wrong_s, "s")
        # What dominates: of a kubelet that its plugins register again, once its socket is there; of an agent the start
        # of its container; of an API server the mirrors, which look for it every 3 s at the least.
        assert wrong_s < _BACK_WITHIN_SECONDS
    assert runs.report()["instance"] == process
    assert [(each.device, each.uuid) for each in node.slices()] == [(each.device, each.uuid) for each in before]


def test_a_slice_that_broke_costs_its_pod_its_place_and_is_made_anew(
    cluster: Cluster, api: Api, pods: Pods, gpus: list[GpuNodeView]
) -> None:
    node = gpus[0]
    hit = pods.ask("hit", _PROFILE, node=node.name).wait_running()
    [before] = node.wait("is Busy", lambda slices: [each.state for each in slices] == ["Busy"])
    instance = instance_number(cluster, node.name, before.uuid)
    controls(cluster, node.name).raise_xid(GpuUuid(before.gpu), _CONTAINED_ECC_ERROR, gi_id=instance)

    until_gone(api, POD.named(hit.name, hit.namespace))
    found = eventually(
        "an Event names the XID",
        lambda: [event for event in api.items(EVENT, hit.namespace) if "XID 94" in event.get("message", "")],
    )
    assert found[0]["involvedObject"]["name"] == hit.name
    node.wait("has no broken slice", lambda slices: all(each.state != "Broken" for each in slices))
    again = pods.ask("again", _PROFILE, node=node.name).wait_running()
    assert again.environment()["NVIDIA_VISIBLE_DEVICES"] != before.uuid


def test_a_pod_that_the_kubelet_refuses_for_want_of_a_slice_is_deleted_and_its_event_says_why(
    api: Api, pods: Pods, gpus: list[GpuNodeView]
) -> None:
    """It comes past the scheduler, to a node that has none: a Failed pod stays for ever. A bare one is left; a
    ConfigMap plays the controller here, for it makes no others.
    """
    maker = api.create(CONFIG_MAP, {"metadata": {"name": "maker"}}, pods.namespace)["metadata"]["uid"]
    owner: Object = {"apiVersion": "v1", "kind": "ConfigMap", "name": "maker", "uid": maker, "controller": True}
    late = pods.ask("late", _PROFILE, nodeName=gpus[0].name, owner=owner)
    until_gone(api, POD.named(late.name, late.namespace))
    found = eventually(
        "an Event says why it was deleted",
        lambda: [event for event in api.items(EVENT, late.namespace) if event["reason"] == "SliceAdmissionFailed"],
    )
    assert found[0]["involvedObject"]["name"] == late.name
    assert any(reason in found[0]["message"] for reason in (f"OutOf{_RESOURCE}", "UnexpectedAdmissionError"))


def test_a_container_whose_slice_was_made_anew_is_not_started_on_the_old_ones_name(
    cluster: Cluster, api: Api, pods: Pods, gpus: list[GpuNodeView]
) -> None:
    """The kubelet gives a container that restarts what it was given first; the agent has the pod admitted anew."""
    node = gpus[0]
    pod = pods.ask("stale", _PROFILE, node=node.name).wait_running()
    uid = pod.object["metadata"]["uid"]
    [before] = node.wait("is Busy", lambda slices: [each.state for each in slices] == ["Busy"])
    controls(cluster, node.name).reset(GpuUuid(before.gpu))
    [after] = node.wait(
        "has the slice made anew", lambda slices: [each.device for each in slices if each.uuid != before.uuid]
    )
    assert (after.device, after.uuid) != (before.device, before.uuid)
    pod.leave(1)
    until_gone(api, POD.named(pod.name, pod.namespace))
    starts = [event for event in api.items(EVENT, pod.namespace) if event["involvedObject"].get("uid") == uid]
    assert sum(event["count"] for event in starts if event["reason"] == "Started") == 1


def test_a_paused_leader_finds_another_one_and_cannot_write_what_it_last_knew(
    api: Api, cluster: Cluster, gpus: list[GpuNodeView], measured: Measured
) -> None:
    """Also not to a GpuNode that the new leader had no reason to change."""
    lease = LEASE.named("knative-mig-planner", PLANNER_NAMESPACE)
    leads = leader(api)["metadata"]
    before = {node.name: node.object for node in gpus}
    tokens = {name: int(item["spec"]["fencingToken"]) for name, item in before.items()}

    with stopped(str(leads["uid"])):
        began = time.monotonic()
        until(
            api, lease, "has another holder",
            lambda item: item["spec"]["holderIdentity"] and leads["name"] not in item["spec"]["holderIdentity"],
        )  # fmt: skip
        for node in gpus:
            until(
                api, GPU_NODE.named(node.name), "has the new leader's stamp",
                lambda item: item["spec"]["fencingToken"] > tokens[item["metadata"]["name"]],
            )  # fmt: skip
        measured("leader paused to another one's stamp on every GpuNode", time.monotonic() - began, "s")
        planner = f"--as=system:serviceaccount:{PLANNER_NAMESPACE}:planner"
        for node in gpus:
            assert node.object["spec"]["gpus"] == before[node.name]["spec"]["gpus"]
            stale = f'{{"spec": {{"fencingToken": {tokens[node.name]}, "gpus": []}}}}'
            with pytest.raises(ClusterError, match="another planner leads"):
                cluster.kubectl("patch", "gpunode", node.name, planner, "--type=merge", "--patch", stale)
    follower = str(api.get(LEASE, lease.name, lease.namespace)["spec"]["holderIdentity"])
    eventually("both planners are Ready", lambda: [is_true(pod) for pod in planner_pods(api)] == [True, True])
    assert str(api.get(LEASE, lease.name, lease.namespace)["spec"]["holderIdentity"]) == follower


def test_a_gpu_node_whose_agent_hangs_says_so_itself_and_is_planned_on_again_when_it_is_back(
    api: Api, cluster: Cluster, gpus: list[GpuNodeView]
) -> None:
    name = gpus[0].name
    told = GPU_NODE.named(name)
    until(api, told, "is planned on", lambda item: item["status"]["planned"]["status"] == "True")
    with stopped(str(agent_pod(api, name)["metadata"]["uid"])), looked_at(api, name) as now:
        eventually("it is left out", lambda: now()["status"]["planned"]["reason"] == "AgentSilent", every=1.0)
        row = cluster.kubectl("get", "gn", name, "--no-headers").split()
        assert row[6:8] == ["False", "AgentSilent"]
        assert is_true(gpus[0].object)  # what the agent said last stays
    until(api, told, "is planned on again", lambda item: item["status"]["planned"]["status"] == "True")


@contextmanager
def looked_at(api: Api, node: str) -> Iterator[Callable[[], Object]]:
    """Yields what has the planner look at once, and tells what the GpuNode says. By itself the planner looks every ten
    seconds, and after some thirty the kubelet starts anew what hangs, silent or not.
    """
    numbers = itertools.count()

    def now() -> Object:
        api.merge(NODE, node, {"metadata": {"labels": {_LOOK: str(next(numbers))}}})
        return api.get(GPU_NODE, node)

    try:
        yield now
    finally:
        api.merge(NODE, node, {"metadata": {"labels": {_LOOK: None}}})


@contextmanager
def stopped(pod_uid: str) -> Iterator[None]:
    """Holds the processes of a pod. All nodes share this machine's process numbers."""
    pids = ProcPods().of_pods([pod_uid])[pod_uid]
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):  # the kubelet ends what does not answer its probes
                os.kill(pid, signal.SIGCONT)
