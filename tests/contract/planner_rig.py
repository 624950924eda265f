"""The whole planner process on the fake API server, and what is around it: nodes, heartbeats, an agent's answers."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from knative_mig.adapters.kube import gpu_node_codec
from knative_mig.adapters.kube.kinds import GPU_NODE
from knative_mig.core.gpu_node import GpuNode
from reconfigurer.planner.process import Planner
from reconfigurer.planner.settings import PlannerSettings
from tests.fake_api import FakeApi
from tests.small_cluster import gpu

SETTINGS = PlannerSettings(events_port=0, ops_port=0, resync_s=0.2, store_meters_s=0.05)


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


def until(api: FakeApi, true: Callable[[], bool]) -> None:
    with api.store.changed:
        assert api.store.changed.wait_for(true, 60)


def put_gpu_node(api: FakeApi, node: GpuNode) -> None:
    api.put_object(gpu_node_codec.written(node))


def spec_of(api: FakeApi) -> GpuNode:
    (body,) = api.objects(GPU_NODE)
    return gpu_node_codec.read(body)


def wanted(api: FakeApi) -> list[str]:
    return [str(each.key) for one in spec_of(api).spec.gpus for each in one.slices]


def answer(api: FakeApi, **settled: Mapping[str, str | None]) -> None:
    """The agent has seen the spec, and perhaps carried it out: what stands on each GPU by its UUID."""
    node = spec_of(api)
    assert node.status
    gpus = tuple(gpu(uuid, slices) for uuid, slices in settled.items()) or node.status.gpus
    status = replace(node.status, observed_generation=node.generation, gpus=gpus)
    api.put_object({**api.objects(GPU_NODE)[0], "status": gpu_node_codec.status_out(status)})


def node_object(name: str, slices: dict[str, str]) -> dict[str, Any]:
    amounts = {"cpu": "64", "memory": "256Gi", "pods": "110", **slices}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": amounts, "conditions": [{"type": "Ready", "status": "True"}]},
    }


def beat_object(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"namespace": "knative-mig-agent", "name": name},
        "spec": {"holderIdentity": name, "renewTime": "2026-01-01T00:00:00.000000Z", "leaseDurationSeconds": 20},
    }
