"""A whole node agent in this process: simulated GPUs, a kubelet and an API server over their real protocols.

with AgentRig(tmp_path) as rig:
    rig.want("3g.20gb@4")
    rig.wait_for(lambda: rig.offers("3g.20gb") == 1)
"""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from knative_mig.adapters.gpu_worker import Deadlines
from knative_mig.adapters.kube import gpu_node_codec
from knative_mig.adapters.kube.gpu_nodes import KubeGpuNodes
from knative_mig.adapters.kube.kinds import EVENT, GPU_NODE, NODE, POD
from knative_mig.adapters.sim_gpu import FileStore, SimulatedGpus, SimulationControls, open_store
from knative_mig.core.gpu_node import (
    ConditionType,
    GpuNode,
    GpuNodeSpec,
    GpuStatus,
    Layout,
    SliceStatus,
    WantedGpu,
    WantedSlice,
)
from knative_mig.core.inventory import GpuUuid, NodeName
from knative_mig.ports.gpu import create_slice, destroy_slice
from knative_mig.ports.kube import Key
from reconfigurer.agent.kube_side import KubeSide
from reconfigurer.agent.process import DEADLINES, NOTHING_AROUND, Agent, Around
from reconfigurer.agent.settings import Inject, Settings
from tests.contract.fake_kubelet import FakeKubelet, Started
from tests.fake_api import FakeApi
from tests.rigs.agent_worlds import FakeProcesses, profile
from tests.rigs.stopwatch import Stopwatch

NAME = NodeName("n1")


class AgentRig:
    def __init__(
        self,
        folder: Path,
        *,
        gpus: str = "1xA100-40GB",
        over_nvml: bool = False,
        inject: Inject = Inject.ENV,
        deadlines: Deadlines = DEADLINES,
        around: Around = NOTHING_AROUND,
    ) -> None:
        """`over_nvml`: the agent finds those GPUs by NVML, of which `tests.nvml_abi` is the library (see its
        `environment`, which is for the caller to set).
        """
        self.folder, self.api, self.kubelet = folder, FakeApi(), FakeKubelet(folder / "kubelet")
        self.processes, self._deadlines, self._around = FakeProcesses(), deadlines, around
        self._client = self.api.client()
        self.settings = Settings(
            node=NAME,
            gpus="nvml" if over_nvml else f"simulated:{gpus}",
            inject=inject,
            state_dir=folder / "state",
            sockets_dir=folder / "s",
            cdi_dir=folder / "cdi",
            kubelet_dir=folder / "kubelet",
            ops_host="127.0.0.1",
            ops_port=0,
        )
        if over_nvml:
            self.settings.state_dir.mkdir(parents=True, exist_ok=True)
            open_store(gpus, self.settings.gpu_state_file)
        self.workloads: dict[str, subprocess.Popen[bytes]] = {}
        self.agent: Agent | None = None

    def __enter__(self) -> Self:
        self.api.__enter__()
        self.kubelet.start()
        self.api.put_object({"kind": "Node", "metadata": {"name": NAME, "uid": "node-uid"}, "status": {}})
        self.start_agent()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end_agent()
        for workload in self.workloads.values():
            workload.kill()
            workload.wait()
        self.kubelet.stop()
        self.api.__exit__(kind, error, at)

    def start_agent(self, layout: Layout = Layout.DYNAMIC) -> Agent:
        client = self.api.client()
        self.agent = Agent(
            self.settings,
            KubeSide.of(client, self.settings),
            self.processes,
            layout=layout,
            deadlines=self._deadlines,
            around=self._around,
        )
        self.agent.start()
        return self.agent

    def end_agent(self) -> float:
        """Seconds that it took. Back when the kubelet has seen it go: what that believes then is of who comes next."""
        if self.agent is None:
            return 0.0
        with Stopwatch() as took:
            self.agent.end()
        assert not self.agent.failed
        self.agent = None
        self.kubelet.wait_for(lambda: not self.kubelet.plugins)
        return took.seconds

    # What is seen from outside: by the API server's own store, as it is looked at twenty times a second.

    @property
    def node(self) -> GpuNode:
        (body,) = self.api.objects(GPU_NODE)
        return gpu_node_codec.read(body)

    @property
    def slices(self) -> dict[str, SliceStatus]:
        """As the agent reports them: 3g.20gb@4 and the like, of all GPUs."""
        status = self.node.status
        return {str(each.key): each for gpu in status.gpus for each in gpu.slices} if status else {}

    @property
    def gpu_status(self) -> GpuStatus:
        """Of the first one, as the agent reports it."""
        assert self.node.status is not None
        return self.node.status.gpus[0]

    def said(self, condition: ConditionType) -> tuple[bool | None, str]:
        status = self.node.status
        found = status.condition(condition) if status else None
        return (found.status, found.reason) if found else (None, "")

    def offers(self, name: str) -> int | None:
        """What the scheduler sees."""
        (node,) = self.api.objects(NODE)
        count = node["status"].get("allocatable", {}).get(profile(name).resource)
        return None if count is None else int(count)

    @property
    def gpus(self) -> SimulatedGpus:
        return SimulatedGpus(FileStore(self.settings.gpu_state_file))

    @property
    def controls(self) -> SimulationControls:
        return SimulationControls(FileStore(self.settings.gpu_state_file))

    @property
    def hardware(self) -> list[str]:
        """Also of GPUs that do not answer."""
        return [str(each.place) for gpu in self.store.read().gpus for each in gpu.instances]

    @property
    def store(self) -> FileStore:
        return FileStore(self.settings.gpu_state_file)

    @property
    def events(self) -> list[tuple[str, str]]:
        return [(str(each["reason"]), str(each.get("note") or each.get("message"))) for each in self.api.objects(EVENT)]

    def wait_for(self, what: Callable[[], object], within_s: float = 60.0) -> None:
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            try:
                if what():
                    return
            except Exception:  # noqa: BLE001, S110  not there yet
                pass
            time.sleep(0.05)
        conditions = self.node.status.conditions if self.node.status else ()
        raise AssertionError(f"not so within {within_s} s: {self.hardware}, {self.slices}, {conditions}")

    def wait_for_quiet(self, seconds: float = 2.0) -> None:
        """Until nothing has been reported for so long."""
        seen, since = "", time.monotonic()
        while time.monotonic() < since + seconds:
            if (now := self.node.resource_version) != seen:
                seen, since = now, time.monotonic()
            time.sleep(0.1)

    # What others do

    def want(self, *slices: str, gpu: int = 0) -> None:
        """As the planner: this is what is wanted of one GPU."""
        uuid = self.store.read().gpus[gpu].uuid
        self.wait_for(lambda: self._write_spec(uuid, slices, gpu))

    def want_nothing(self) -> None:
        """As the planner, of a node whose spec is older than its layout: no GPU is named."""
        self.wait_for(lambda: KubeGpuNodes(self._client).write_spec(self.node, GpuNodeSpec()))

    def forget_node(self) -> None:
        """As an administrator who deletes the GpuNode."""
        self.api.remove_object(GPU_NODE, Key("", NAME))

    def recut(self, *slices: str) -> None:
        """As an administrator at work on the first GPU."""
        driver = self.gpus
        (gpu, *_) = driver.inventory().gpus
        for instance in gpu.instances:
            destroy_slice(driver, instance)
        for words in slices:
            name, _, start = words.partition("@")
            create_slice(driver, gpu.uuid, profile(name), int(start))

    def _write_spec(self, uuid: GpuUuid, slices: tuple[str, ...], gpu: int) -> bool:
        """Again where the status was written in between."""
        node = self.node
        others = tuple(each for each in node.spec.gpus if each.uuid != uuid)
        wanted = tuple(self._wanted(words, gpu) for words in slices)
        spec = GpuNodeSpec(gpus=(*others, WantedGpu(uuid=GpuUuid(uuid), slices=wanted)))
        KubeGpuNodes(self._client).write_spec(node, spec)
        return True

    def _wanted(self, words: str, gpu: int) -> WantedSlice:
        name, _, start = words.partition("@")
        cut = self.store.read().gpus[gpu].model.profile(profile(name))
        return WantedSlice(profile=cut.name, start=int(start), size=cut.memory_units)

    def run_pod(self, name: str, wants: str) -> Started:
        """Bound, admitted by the kubelet and started; its process is a real one."""
        self.put_pod(name, wants)
        started = self.kubelet.admit("default", name, "user-container", profile(wants))
        workload = subprocess.Popen(["sleep", "600"])
        self.workloads[name] = workload
        self.processes.pods[f"uid-{name}"] = {workload.pid}
        return started

    def put_pod(self, name: str, wants: str, *, uid: str = "", owner: str = "ReplicaSet", **status: Any) -> None:
        self.api.put_object(
            {
                "kind": "Pod",
                "metadata": {
                    "name": name,
                    "namespace": "default",
                    "uid": uid or f"uid-{name}",
                    "creationTimestamp": "2026-01-01T00:00:00Z",
                    "ownerReferences": [{"kind": owner, "controller": True}],
                },
                "spec": {
                    "nodeName": NAME,
                    "containers": [{"name": "user-container", "resources": {"limits": {profile(wants).resource: "1"}}}],
                },
                "status": {"phase": "Running", **status},
            }
        )

    def tell_pod_to_end(self, name: str) -> None:
        """It runs on: the kubelet gives it its time."""
        told = next(each for each in self.api.objects(POD) if each["metadata"]["name"] == name)
        about = {**told["metadata"], "deletionTimestamp": "2026-01-01T00:05:00Z", "deletionGracePeriodSeconds": 300}
        self.api.put_object({**told, "metadata": about})

    def end_pod(self, name: str) -> None:
        workload = self.workloads.pop(name)
        workload.kill()
        workload.wait()
        self.processes.pods.pop(f"uid-{name}")
        self.kubelet.delete("default", name)
        self.api.remove_object(POD, Key("default", name))

    def pods(self) -> list[str]:
        """Without those that were told to end."""
        pods = [each["metadata"] for each in self.api.objects(POD)]
        return [each["name"] for each in pods if "deletionTimestamp" not in each]
