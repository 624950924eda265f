"""All that surrounds an agent that is killed: its kubelet, its API server, its GPUs.

Made by `campaign`, one for each run; asked by `scenario`. The subtle thing is what must survive: the slice that a pod
was given is known by its MIG UUID, so one that is destroyed and made again is noticed.
"""

import json
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, Self

from knative_mig.adapters.kube.gpu_nodes import KubeGpuNodes
from knative_mig.adapters.kube.kinds import POD
from knative_mig.adapters.kube.node_statuses import KubeNodeStatuses
from knative_mig.adapters.sim_gpu import Call, Fault, FileStore, Harm, MemoryStore, SimulatedGpus, SimulationControls
from knative_mig.adapters.sim_gpu import When as FaultWhen
from knative_mig.core.gpu_node import GpuNode, GpuNodeSpec, WantedGpu, WantedSlice
from knative_mig.core.inventory import NodeName
from knative_mig.core.profile import ProfileName
from knative_mig.ports.gpu import Gpu
from knative_mig.ports.kube import Conflict, Key, NodeSlices
from tests.contract.fake_kubelet import AdmissionFailed, ContainerNotStarted, FakeKubelet, Started
from tests.crash_campaign.agents import Order
from tests.crash_campaign.hosts import ForkHost
from tests.crash_campaign.killable import LOOK_EACH_S, Killable
from tests.crash_campaign.points import DRIVER_CALLS, When
from tests.fake_api import FakeApi

NODE: Final = NodeName("n1")
GPUS: Final = "1xA100-40GB"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the pod that runs all the time was given."""

    pod: str
    place: str
    mig_uuid: str
    process: "subprocess.Popen[bytes]"

    @property
    def pid(self) -> int:
        return self.process.pid


class World:
    def __init__(self, folder: Path, host: ForkHost) -> None:
        self.folder, self.api, self.kubelet = folder, FakeApi(), FakeKubelet(folder / "kubelet")
        self.order = Order(folder=str(folder), node=NODE, gpus=GPUS, api=self.api.url)
        self.agent = Killable(
            host,
            asdict(self.order),
            announcements=self.order.announcements,
            log=self.order.log,
            stacks=self.order.stacks,
            kill_worker=self._have_the_worker_killed,
        )
        self.held: Held | None = None

    def __enter__(self) -> Self:
        self.api.__enter__()
        self.kubelet.start()
        self.api.put_object({"kind": "Node", "metadata": {"name": NODE, "uid": "node-uid"}, "status": {}})
        self._client = self.api.client()
        self._tell_pods({})
        return self

    def __exit__(self, *of_error: object) -> None:
        self.agent.close()
        if self.held is not None:
            _end(self.held.process)
        self.kubelet.stop()
        self.api.__exit__(None, None, None)

    @property
    def victim(self) -> Killable:
        return self.agent

    @property
    def reported(self) -> bool:
        """The agent that runs now has written its status."""
        return "api patch gpunodes/status" in self.agent.done

    def _have_the_worker_killed(self, call: str, when: When) -> None:
        name = call.removeprefix(DRIVER_CALLS).partition(" ")[0]
        fault = Fault(call=Call.INVENTORY if name == "read" else Call(name), harm=Harm.KILL, when=FaultWhen(when.value))
        SimulationControls(FileStore(self.order.settings.gpu_state_file)).inject(fault)

    # What is seen from outside

    @property
    def node(self) -> GpuNode:
        return KubeGpuNodes(self._client).read(NODE)

    @property
    def offered(self) -> NodeSlices:
        return KubeNodeStatuses(self._client).read_slices(NODE)

    @property
    def gpu(self) -> Gpu:
        (gpu,) = self._gpus.inventory().gpus
        return gpu

    @property
    def _gpus(self) -> SimulatedGpus:
        """As they are now, but for the faults, which would strike whoever reads first."""
        now = FileStore(self.order.settings.gpu_state_file).read()
        return SimulatedGpus(MemoryStore(replace(now, faults=())))

    def published(self) -> dict[str, str]:
        """The MIG UUID that a container gets by the name of its device, of all devices there are."""
        found: dict[str, str] = {}
        for path in self.order.settings.cdi_dir.glob("*.json"):
            with suppress(FileNotFoundError):
                document = json.loads(path.read_text())
                (device,) = document["devices"]
                (variable,) = device["containerEdits"]["env"]
                found[f"{document['kind']}={device['name']}"] = variable.removeprefix("NVIDIA_VISIBLE_DEVICES=")
        return found

    def harm(self) -> str:
        """What has become of the slice that a pod holds; empty: it is untouched."""
        if self.held is None:
            return ""
        for instance in self.gpu.instances:
            if instance.compute_instance and instance.compute_instance.mig_uuid == self.held.mig_uuid:
                break
        else:
            return f"{self.held.mig_uuid}, which {self.held.pod} holds, is gone"
        if str(instance.place) != self.held.place:
            return f"{self.held.mig_uuid}, which {self.held.pod} holds, is {instance.place} now"
        return "" if self.held.process.poll() is None else f"process {self.held.pid} of {self.held.pod} has ended"

    def on_the_busy(self) -> tuple[int, ...]:
        assert self.held is not None
        for instance in self.gpu.instances:
            if instance.compute_instance and instance.compute_instance.mig_uuid == self.held.mig_uuid:
                return tuple(each.pid for each in self._gpus.processes(instance))
        return ()

    # What others do

    def want(self, *slices: str) -> None:
        """As the planner. Again where the status was written in between."""
        gpu = self.gpu
        wanted = []
        for words in slices:
            name, _, start = words.partition("@")
            profile = gpu.model.profile(ProfileName.parse(name))
            wanted.append(WantedSlice(profile=profile.name, start=int(start), size=profile.memory_units))
        spec = GpuNodeSpec(gpus=(WantedGpu(uuid=gpu.uuid, slices=tuple(wanted)),))
        while True:
            with suppress(Conflict):
                KubeGpuNodes(self._client).write_spec(self.node, spec)
                return

    def run_pod(self, wants: ProfileName, within_s: float) -> None:
        """As whoever wants one replica, scheduler and kubelet: a pod that fails is followed by the next."""
        deadline = time.monotonic() + within_s
        number = 0
        while self.held is None:
            number += 1
            name = f"chat-{number}"
            self._put_pod(name, wants)
            started = self._start(name, wants, deadline)
            if started is None:
                self._put_pod(name, wants, phase="Failed", reason="UnexpectedAdmissionError")
                self._wait(lambda: self.kubelet.allocatable(wants) == 1, deadline)
                continue
            self._started(name, started)

    def end_pod(self) -> None:
        assert self.held is not None
        held, self.held = self.held, None
        _end(held.process)
        self._tell_pods({})
        self.kubelet.delete("default", held.pod)
        self.api.remove_object(POD, Key("default", held.pod))

    def _start(self, name: str, wants: ProfileName, deadline: float) -> Started | None:
        """None: the kubelet did not admit it. A container that is refused its start is tried again."""
        try:
            return self.kubelet.admit("default", name, "user-container", wants)
        except (AdmissionFailed, ValueError):  # ValueError: gRPC's, of an agent that ended just now
            return None
        except ContainerNotStarted:
            pass
        while True:
            with suppress(ContainerNotStarted, ValueError):
                return self.kubelet.restart_container("default", name, "user-container")
            if "deletionTimestamp" in self._pod(name)["metadata"]:
                self.kubelet.delete("default", name)
                return None
            assert time.monotonic() < deadline, f"the container of {name} is not started"
            time.sleep(LOOK_EACH_S)

    def _started(self, name: str, started: Started) -> None:
        (device,) = started.cdi_devices
        mig_uuid = self.published()[device]
        process = subprocess.Popen(["sleep", "3600"])
        place = next(
            str(each.place)
            for each in self.gpu.instances
            if each.compute_instance and each.compute_instance.mig_uuid == mig_uuid
        )
        self._tell_pods({f"uid-{name}": [process.pid]})
        self.held = Held(pod=name, place=place, mig_uuid=mig_uuid, process=process)

    def _put_pod(self, name: str, wants: ProfileName, **status: str) -> None:
        self.api.put_object(
            {
                "kind": "Pod",
                "metadata": {
                    "name": name,
                    "namespace": "default",
                    "uid": f"uid-{name}",
                    "creationTimestamp": "2026-01-01T00:00:00Z",
                    "ownerReferences": [{"kind": "ReplicaSet", "controller": True}],
                },
                "spec": {
                    "nodeName": NODE,
                    "containers": [{"name": "user-container", "resources": {"limits": {wants.resource: "1"}}}],
                },
                "status": {"phase": "Running", **status},
            }
        )

    def _pod(self, name: str) -> dict[str, dict[str, object]]:
        (found,) = [each for each in self.api.objects(POD) if each["metadata"]["name"] == name]
        return found

    def _tell_pods(self, pods: dict[str, list[int]]) -> None:
        new = self.order.pods.with_suffix(".new")
        new.write_text(json.dumps(pods))
        new.replace(self.order.pods)

    def _wait(self, what: Callable[[], bool], deadline: float) -> None:
        while not what():
            assert time.monotonic() < deadline, f"during {self.agent.step}: it takes too long"
            time.sleep(LOOK_EACH_S)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
