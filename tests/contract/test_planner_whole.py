"""The whole planner process on an API server: mirrors, lease, rounds, writes, gates, meters, probes, its end."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import pytest

from knative_mig.adapters.kube import gpu_node_codec, parse
from knative_mig.adapters.kube.kinds import GPU_NODE, POD
from knative_mig.adapters.kube.meter_store import KubeMeterStore
from knative_mig.core.cluster.meters import Whose, decoded
from knative_mig.core.gpu_node import GATE, GpuNode
from knative_mig.core.inventory import NodeName
from knative_mig.ports.kube import Conflict, Key, LeaseRecord
from reconfigurer.planner.process import Planner
from reconfigurer.planner.settings import PlannerSettings
from tests.contract.planner_rig import spec_of, until, wanted
from tests.fake_api import FakeApi
from tests.small_cluster import gpu, gpu_node

SETTINGS = PlannerSettings(events_port=0, ops_port=0, resync_s=0.2, store_meters_s=0.05)
N1 = NodeName("n1")


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as api:
        put_gpu_node(api, gpu_node("n1", gpu("GPU-1", {"1g.5gb@4": None, "1g.5gb@5": None, "4g.20gb@0": "busy"})))
        api.put_object(node_object("n1", {"nvidia.com/mig-1g.5gb": "2", "nvidia.com/mig-4g.20gb": "1"}))
        api.put_object(pod_object("busy", "4g.20gb", node="n1"))
        api.put_object(beat_object("n1"))
        yield api


def put_gpu_node(api: FakeApi, node: GpuNode) -> None:
    api.put_object(gpu_node_codec.written(node))


def node_object(name: str, slices: dict[str, str]) -> dict[str, Any]:
    amounts = {"cpu": "64", "memory": "256Gi", "pods": "110", **slices}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": amounts, "conditions": [{"type": "Ready", "status": "True"}]},
    }


def pod_object(name: str, profile: str, *, node: str = "", gated: bool = False) -> dict[str, Any]:
    limits = {f"nvidia.com/mig-{profile}": "1"}
    spec: dict[str, Any] = {"containers": [{"name": "user", "resources": {"requests": limits, "limits": limits}}]}
    if node:
        spec["nodeName"] = node
    if gated:
        spec["schedulingGates"] = [{"name": GATE}]
    labels = {"serving.knative.dev/revision": f"{name}-00001", "serving.knative.dev/service": name}
    about = {"namespace": "team", "name": name, "uid": f"uid-{name}", "labels": labels}
    about["creationTimestamp"] = "2026-01-01T00:00:00Z"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": about,
        "spec": spec,
        "status": {"phase": "Running" if node else "Pending"},
    }


def beat_object(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"namespace": "knative-mig-agent", "name": name},
        "spec": {"holderIdentity": name, "renewTime": "2026-01-01T00:00:00.000000Z", "leaseDurationSeconds": 20},
    }


def answer(api: FakeApi, *, settled: dict[str, str | None] | None = None) -> None:
    """The agent has seen the spec, and perhaps carried it out."""
    node = spec_of(api)
    assert node.status
    gpus = node.status.gpus if settled is None else (gpu("GPU-1", settled),)
    status = replace(node.status, observed_generation=node.generation, gpus=gpus)
    api.put_object({**api.objects(GPU_NODE)[0], "status": gpu_node_codec.status_out(status)})


@contextmanager
def planner(api: FakeApi, name: str = "planner-a") -> Iterator[Planner]:
    made = Planner(SETTINGS, api.client(), me=name)
    made.start()
    try:
        yield made
    finally:
        made.end()
        assert not made._threads.alive()
        assert not made.failed


def test_a_pod_that_waits_has_fragments_merged_and_is_let_go_when_its_slice_is_there(api: FakeApi) -> None:
    with planner(api):
        until(api, lambda: spec_of(api).spec.fencing_token == 1)
        answer(api)
        api.put_object(pod_object("big", "3g.20gb", gated=True))
        until(api, lambda: wanted(api) == ["4g.20gb@0", "3g.20gb@4"])
        answer(api, settled={"4g.20gb@0": "busy", "3g.20gb@4": None})
        api.put_object(node_object("n1", {"nvidia.com/mig-3g.20gb": "1", "nvidia.com/mig-4g.20gb": "1"}))
        until(api, lambda: not gates(api, "big"))
        (big,) = (parse.pod(each) for each in api.objects(POD) if each["metadata"]["name"] == "big")
        assert (big.node_selector, big.pinned) == ({"kubernetes.io/hostname": "n1"}, True)


def gates(api: FakeApi, name: str) -> list[Any]:
    return list(pod_spec(api, name).get("schedulingGates") or [])


def pod_spec(api: FakeApi, name: str) -> dict[str, Any]:
    (body,) = [each for each in api.objects(POD) if each["metadata"]["name"] == name]
    spec: dict[str, Any] = body["spec"]
    return spec


def test_the_standby_follows_when_the_leader_ends_and_its_token_is_on_every_gpu_node(api: FakeApi) -> None:
    leading = ExitStack()
    leading.enter_context(planner(api, "planner-a"))
    until(api, lambda: spec_of(api).spec.fencing_token == 1)
    with planner(api, "planner-b"):
        leading.close()
        until(api, lambda: spec_of(api).spec.fencing_token == 2)


def test_leader_and_standby_are_ready_and_the_leader_publishes_meters(api: FakeApi) -> None:
    with planner(api, "planner-a") as leader, planner(api, "planner-b") as other:
        until(api, lambda: stored(api))
        leads = leader if leader.leader.token() is not None else other
        for each in (leader, other):
            assert read(each, "/healthz") == "ok\n"
            assert read(each, "/readyz") == "ok\n"
        assert "knative_mig_planner_leader 1.0" in read(leads, "/metrics")
        assert 'knative_mig_slice_share_seconds_total{namespace="team",profile="4g.20gb",service="busy"' in read(
            leads, "/metrics"
        )


def test_while_nobody_can_lead_no_replica_is_ready_and_it_says_what_helps(api: FakeApi) -> None:
    put_gpu_node(api, gpu_node("n1", gpu("GPU-1"), token=2**63 - 1))
    with planner(api) as running:
        assert running._gpu_nodes.wait_synced(20)
        for _ in range(1000):
            if not running.leader.stuck:
                running.stop.wait(0.02)
        with pytest.raises(urllib.error.HTTPError) as unready:
            read(running, "/readyz")
        with unready.value as answered:
            assert "delete the Lease knative-mig/knative-mig-planner" in answered.read().decode()
        assert read(running, "/healthz") == "ok\n"


def stored(api: FakeApi) -> bool:
    bodies, _ = api.store.all("configmaps")
    busy = Whose(namespace="team", service="busy", profile="4g.20gb", state="Busy")
    meters = [body["data"] for body in bodies if body["metadata"]["name"] == "knative-mig-meters"]
    return any(decoded(data).share_seconds.get(busy, 0) > 0 for data in meters)


def read(each: Planner, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{each.ops.port}{path}", timeout=10) as answered:
        return str(answered.read().decode())


def test_meters_are_stored_under_the_version_that_was_loaded(api: FakeApi) -> None:
    store = KubeMeterStore(api.client(), "knative-mig")
    assert store.load() is None
    first = store.save({"format": "1"}, replaces=None)
    assert store.load() == first
    second = store.save({"format": "2"}, replaces=first)
    with pytest.raises(Conflict):
        store.save({"format": "3"}, replaces=first)
    assert store.load() == second


def test_heartbeats_are_mirrored(api: FakeApi) -> None:
    with planner(api) as running:
        until(api, lambda: spec_of(api).spec.fencing_token == 1)
        (seen,) = running._mirrors.heartbeats.snapshot().items()
        assert seen[0] == Key("knative-mig-agent", "n1")
        assert isinstance(seen[1], LeaseRecord)
