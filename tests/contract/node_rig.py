"""Scheduler and kubelet stand-ins with the project's real node agent as a process, over an API server's HTTP.

with NodeRig(folder) as rig:
    rig.want("3g.20gb@4")
    rig.put(rig.pod("chat", slice_="3g.20gb", image="dev.local/tiny-llm"))
    rig.wait_for(lambda: rig.is_ready("chat"))
"""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from knative_mig.adapters.kube.gpu_nodes import KubeGpuNodes
from knative_mig.adapters.kube.kinds import EVENT, NODE, POD
from knative_mig.adapters.kubelet.allocations import CheckpointFile
from knative_mig.core.gpu_node import GpuNode, GpuNodeSpec, WantedGpu, WantedSlice
from knative_mig.core.inventory import NodeName
from knative_mig.dev.node.kubelet import Kubelet
from knative_mig.dev.node.ports import NodeSettings, Traffic
from knative_mig.dev.node.scheduling import Scheduling
from knative_mig.ports.kube import Key, ObjectNotFound
from tests.fake_api import FakeApi
from tests.rigs.agent_worlds import profile

NAME: Final = NodeName("n1")
Object = dict[str, Any]


class NodeRig:
    def __init__(
        self, folder: Path, *, gpus: str = "1xA100-40GB", traffic: Traffic | None = None, quiet_s: float = 30.0
    ) -> None:
        """`gpus` empty: there is no agent. What its kubelet has allocated is kept on the disk."""
        self.folder, self.gpus = folder, gpus
        self.api = FakeApi()
        self.client = self.api.client()
        self.settings = NodeSettings(
            name=NAME, number=0, folder=folder / "node", sockets=folder / "k", logs=folder / "logs", quiet_s=quiet_s
        )
        self._traffic = traffic
        self.kubelet = self._new_kubelet()
        self.scheduling = Scheduling(self.client)
        self.agent: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.api.__enter__()
        self.kubelet.start()
        self.scheduling.start()
        if self.gpus:
            self.start_agent()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kubelet.end(grace_s=1.0)
        if self.agent is not None:
            self.agent.terminate()
            self.agent.wait()
        self.scheduling.end()
        self.api.__exit__(kind, error, at)
        assert not self.kubelet.failed + self.scheduling.failed

    def _new_kubelet(self) -> Kubelet:
        checkpoint = CheckpointFile(self.folder / "checkpoint")
        return Kubelet(self.settings, self.client, traffic=self._traffic, checkpoint=checkpoint)

    def restart_kubelet(self) -> None:
        self.kubelet.end(grace_s=1.0)
        self.kubelet = self._new_kubelet()
        self.kubelet.start()

    def start_agent(self) -> None:
        config = self.folder / "kubeconfig"
        config.write_text(
            json.dumps(
                {
                    "clusters": [{"name": "c", "cluster": {"server": self.api.url}}],
                    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
                    "users": [{"name": "c", "user": {}}],
                    "current-context": "c",
                }
            )
        )
        command = [sys.executable, "-m", "reconfigurer.agent", "--node", NAME, "--gpus", f"simulated:{self.gpus}"]
        command += ["--ops-host", "127.0.0.1", "--ops-port", "0", "--inject", "env", "--pods-by", "environment"]
        command += ["--state-dir", str(self.folder / "state"), "--kubelet-dir", str(self.settings.sockets)]
        command += ["--sockets-dir", str(self.folder / "s"), "--cdi-dir", str(self.folder / "cdi")]
        command += ["--kubeconfig", str(config)]
        with (self.folder / "agent.log").open("ab") as log:
            self.agent = subprocess.Popen(command, stderr=log)

    # What is seen

    @property
    def gpu_node(self) -> GpuNode:
        return KubeGpuNodes(self.client).read(NAME)

    def is_cordoned(self) -> bool:
        """As the scheduler sees it: its mirrors of nodes and of pods have their news in any order."""
        host = self.scheduling._nodes.get(Key("", NAME))
        return host is not None and host.facts.unschedulable

    def state_of(self, slice_: str) -> str:
        status = self.gpu_node.status
        found = [each for gpu in (status.gpus if status else ()) for each in gpu.slices if str(each.key) == slice_]
        return str(found[0].state) if found else "gone"

    def start_of(self, pod: str) -> int:
        """Of the slice that it holds."""
        status = self.gpu_node.status
        assert status is not None
        slices = [each for gpu in status.gpus for each in gpu.slices]
        (held,) = [each for each in slices if pod in [holder.pod for holder in each.holders]]
        return held.key.start

    def allocatable(self, slice_: str) -> str | None:
        node = self.client.get(NODE, Key("", NAME))
        found = node["status"]["allocatable"].get(profile(slice_).resource)
        return None if found is None else str(found)

    def read(self, name: str) -> Object:
        return self.client.get(POD, Key("default", name))

    def is_gone(self, name: str) -> bool:
        try:
            self.read(name)
        except ObjectNotFound:
            return True
        return False

    def condition(self, name: str, kind: str) -> Object:
        conditions = self.read(name).get("status", {}).get("conditions", [])
        return next((each for each in conditions if each["type"] == kind), {})

    def is_ready(self, name: str) -> bool:
        return bool(self.condition(name, "Ready").get("status") == "True")

    def container(self, name: str) -> Object:
        (found,) = self.read(name)["status"]["containerStatuses"]
        return dict(found)

    def waits_for(self, name: str) -> str:
        return str(self.container(name)["state"].get("waiting", {}).get("reason", ""))

    def events(self, name: str) -> list[tuple[str, str]]:
        mine = [each for each in self.api.objects(EVENT) if each["involvedObject"]["name"] == name]
        return [(str(each["reason"]), str(each["message"])) for each in mine]

    def log(self, name: str, life: int = 0) -> str:
        body = self.read(name)
        pod = Key("default", name)
        lines = self.kubelet.logs.lines(pod, body["metadata"]["uid"], "user-container", life)
        return b"".join(line.text for line in lines).decode()

    def ask(self, name: str, path: str, body: object = None) -> tuple[int, str]:
        """As the gateway would, at the pod's address."""
        address = self.read(name)["status"]["podIP"]
        connection = http.client.HTTPConnection(address, 8080, timeout=60)
        try:
            headers = {"Content-Type": "application/json"}
            data = None if body is None else json.dumps(body)
            connection.request("GET" if body is None else "POST", path, data, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def processes(self, name: str, uid: str = "") -> set[int]:
        """Of a pod, whoever is its parent by now."""
        mark = f"KNATIVE_MIG_POD_UID={uid or self.read(name)['metadata']['uid']}".encode()
        found = set()
        for path in Path("/proc").iterdir():
            if path.name.isdecimal():
                try:
                    environment = (path / "environ").read_bytes()
                except OSError:
                    continue
                if mark in environment.split(b"\0"):
                    found.add(int(path.name))
        return found

    def wait_for(self, what: Callable[[], object], within_s: float = 60.0) -> None:
        deadline = time.monotonic() + within_s
        error: Exception | None = None
        while time.monotonic() < deadline:
            try:
                if what():
                    return
                error = None
            except Exception as found:  # noqa: BLE001 - not there yet
                error = found
            time.sleep(0.02)
        pods = [(each["metadata"]["name"], each.get("status")) for each in self.api.objects(POD)]
        raise AssertionError(f"not so within {within_s} s ({error}): {pods}, {self.api.objects(EVENT)[-5:]}")

    # What others do

    def want(self, *slices: str) -> None:
        """As the planner: of the first GPU."""
        self.wait_for(lambda: self._write_spec(slices))

    def _write_spec(self, slices: tuple[str, ...]) -> bool:
        node = self.gpu_node
        assert node.status is not None
        gpu = node.status.gpus[0]
        sizes = {"1g.5gb": 1, "2g.10gb": 2, "3g.20gb": 4, "4g.20gb": 4, "7g.40gb": 8}
        wanted = tuple(
            WantedSlice(profile=profile(name), start=int(start), size=sizes[name])
            for name, _, start in (each.partition("@") for each in slices)
        )
        spec = GpuNodeSpec(gpus=(WantedGpu(uuid=gpu.uuid, slices=wanted),))
        KubeGpuNodes(self.client).write_spec(node, spec)
        return True

    def pod(
        self,
        name: str,
        *,
        image: str = "none",
        script: str = "",
        slice_: str = "",
        function: bool = False,
        spec: Mapping[str, Any] | None = None,
        **container: Any,
    ) -> Object:
        """`script`: a shell's, in place of the image."""
        one: Object = {"name": "user-container", "image": image, **container}
        if script:
            one["command"] = ["/bin/sh", "-c", script]
        if slice_:
            one["resources"] = {"limits": {profile(slice_).resource: "1"}}
        labels = {"serving.knative.dev/revision": name} if function else {}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"namespace": "default", "name": name, "labels": labels},
            "spec": {"containers": [one], "terminationGracePeriodSeconds": 30, **(spec or {})},
        }

    def put(self, body: Object) -> float:
        """When."""
        self.client.create(POD, body["metadata"]["namespace"], body)
        return time.monotonic()

    def delete(self, name: str) -> None:
        self.client.delete(POD, Key("default", name))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
