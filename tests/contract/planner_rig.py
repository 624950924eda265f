"""The whole planner process on the fake API server, and what is around it: nodes, heartbeats, an agent's answers."""

import json
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from knative_mig.adapters.event_sender import Sink
from knative_mig.adapters.kube import gpu_node_codec
from knative_mig.adapters.kube.kinds import CONFIG_MAP, GPU_NODE, POD
from knative_mig.adapters.kube.move_objects import MOVES
from knative_mig.core.gpu_node import GATE, GpuNode, GpuStatus
from reconfigurer.planner.process import Planner
from reconfigurer.planner.settings import PlannerSettings
from tests.fake_api import FakeApi
from tests.rigs import running_dev
from tests.rigs.gpu_node_object import gpu_node_object
from tests.rigs.small_cluster import gpu, gpu_node

PATIENCE_S: Final = 60.0
NONE: Final[Mapping[str, str]] = MappingProxyType({})
SETTINGS = PlannerSettings(events_port=0, ops_port=0, resync_s=0.2, store_meters_s=0.05)
WITHOUT_RESYNC = PlannerSettings(events_port=0, ops_port=0, resync_s=3600)


@contextmanager
def planner(
    api: FakeApi, name: str = "planner-a", sink: str = "", *, settings: PlannerSettings = SETTINGS, advertise: str = ""
) -> Iterator[Planner]:
    """`sink`: the URL that outcomes go to."""
    where = Sink.parse(sink) if sink else None
    made = Planner(settings, api.client(), where, me=name, advertise=advertise)
    made.start()
    try:
        yield made
    finally:
        made.end()
        running_dev.until(lambda: not made._threads.alive())
        assert not made.failed


def read(each: Planner, path: str) -> str:
    """Of its probes and metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{each.ops.port}{path}", timeout=10) as answered:
        return str(answered.read().decode())


def ready(each: Planner) -> None:
    """Waits until it is."""
    deadline = time.monotonic() + PATIENCE_S
    while why := _why_not_ready(each):
        assert time.monotonic() < deadline, why
        time.sleep(0.02)


def _why_not_ready(each: Planner) -> str:
    try:
        assert read(each, "/readyz") == "ok\n"
    except urllib.error.HTTPError as unready:
        with unready:
            return str(unready.read().decode())
    return ""


def until(api: FakeApi, true: Callable[[], bool]) -> None:
    with api.store.changed:
        assert api.store.changed.wait_for(true, PATIENCE_S)


def put_node(api: FakeApi, *gpus: GpuStatus) -> None:
    """n1, with these GPUs; its agent and its kubelet live."""
    put_gpu_node(api, gpu_node("n1", *gpus))
    offer(api)
    api.put_object(beat_object("n1"))


def put_gpu_node(api: FakeApi, node: GpuNode) -> None:
    api.put_object(gpu_node_object(node))


def spec_of(api: FakeApi) -> GpuNode:
    (body,) = api.objects(GPU_NODE)
    return gpu_node_codec.read(body)


def wanted(api: FakeApi) -> list[str]:
    return [str(each.key) for one in spec_of(api).spec.gpus for each in one.slices]


def answer(api: FakeApi, **settled: Mapping[str, str | None]) -> None:
    """The agent has seen the spec, and perhaps carried it out: what stands on each GPU by its UUID."""
    with api.store.changed:  # the planner may be about to write the spec
        node = spec_of(api)
        assert node.status
        gpus = tuple(gpu(uuid, slices) for uuid, slices in settled.items()) or node.status.gpus
        status = replace(node.status, observed_generation=node.generation, gpus=gpus)
        api.put_object({**api.objects(GPU_NODE)[0], "status": gpu_node_codec.status_out(status)})


def offer(api: FakeApi) -> None:
    """The kubelet has heard of the slices that are there, whoever has them."""
    node = spec_of(api)
    assert node.status
    there = Counter(each.key.profile.resource for one in node.status.gpus for each in one.slices)
    api.put_object(node_object(node.name, {resource: str(many) for resource, many in there.items()}))


def node_object(name: str, slices: dict[str, str]) -> dict[str, Any]:
    amounts = {"cpu": "64", "memory": "256Gi", "pods": "110", **slices}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": amounts, "conditions": [{"type": "Ready", "status": "True"}]},
    }


def pod_object(
    name: str,
    profile: str,
    *,
    revision: str = "",
    node: str = "",
    gated: bool = False,
    ready: bool = True,
    notes: Mapping[str, str] = NONE,
) -> dict[str, Any]:
    """Of a function of its own, where no revision is named. `notes`: annotations."""
    limits = {f"nvidia.com/mig-{profile}": "1"}
    spec: dict[str, Any] = {"containers": [{"name": "user", "resources": {"requests": limits, "limits": limits}}]}
    spec |= {"nodeName": node} if node else {}
    spec |= {"schedulingGates": [{"name": GATE}]} if gated else {}
    revision = revision or f"{name}-00001"
    labels = {"serving.knative.dev/revision": revision, "serving.knative.dev/service": revision.rpartition("-")[0]}
    about = {
        "namespace": "team",
        "name": name,
        "uid": f"uid-{name}",
        "labels": labels,
        "annotations": dict(notes),
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    running = {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]}
    status = running if node else {"phase": "Pending"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": spec, "status": status}


def pod(api: FakeApi, name: str) -> dict[str, Any]:
    return next(each for each in api.objects(POD) if each["metadata"]["name"] == name)


def gates(api: FakeApi, name: str) -> list[Any]:
    return list(pod(api, name)["spec"].get("schedulingGates") or [])


def notes(api: FakeApi, name: str) -> dict[str, str]:
    """What a ConfigMap of that name holds, if there is one."""
    found = [each for each in api.objects(CONFIG_MAP) if each["metadata"]["name"] == name]
    return dict(found[0]["data"]) if found else {}


def phases(api: FakeApi) -> list[str]:
    """Of the moves that are under way."""
    entries = [text for name, text in notes(api, MOVES).items() if name not in ("resting", "fencing-token")]
    return [json.loads(text)["phase"] for text in entries]


def beat_object(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"namespace": "knative-mig-agent", "name": name},
        "spec": {"holderIdentity": name, "renewTime": "2026-01-01T00:00:00.000000Z", "leaseDurationSeconds": 20},
    }
