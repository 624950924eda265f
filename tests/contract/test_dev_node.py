"""Pods as processes: scheduled, started, probed, restarted and ended, with slices of the project's real node agent."""

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from knative_mig.adapters.kube.pods import KubePods
from knative_mig.adapters.sim_gpu import FileStore, SimulatedGpus, SimulationControls
from knative_mig.core.gpu_node import GATE
from knative_mig.core.relays import (
    MOVE_PORT,
    SECRET_FILE,
    SECRET_FILE_VARIABLE,
    SECRET_FOLDER,
    SECRET_KEY,
    SECRET_NAME,
)
from knative_mig.ports.kube import Key
from tests.contract.node_rig import NAME, NodeRig, alive


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short name: a socket's path has 107 bytes at most."""
    with TemporaryDirectory(prefix="node-") as name:
        yield Path(name)


class Asked:
    """The gateway, at which a request comes to every pod at any time, until it is over."""

    def __init__(self) -> None:
        self.pods: set[Key] = set()
        self.over = False

    def last_came(self, pod: Key) -> float | None:
        self.pods.add(pod)
        return None if self.over else time.monotonic()


def test_a_replica_on_a_slice_from_its_creation_to_its_end(folder: Path) -> None:
    traffic = Asked()
    with NodeRig(folder, traffic=traffic, quiet_s=0.5) as rig:
        # Without a slice it waits, and is told why as the real scheduler tells.
        secret = {"kind": "Secret", "metadata": {"namespace": "default", "name": SECRET_NAME}}
        rig.api.put_object({**secret, "data": {SECRET_KEY: base64.b64encode(b"shown-by-movers").decode()}})
        chat = rig.pod("chat", image="dev.local/tiny-llm:1", slice_="3g.20gb", function=True)
        chat["spec"]["containers"][0] |= {
            "ports": [{"containerPort": 8080}],
            "readinessProbe": {"tcpSocket": {"port": 0}, "successThreshold": 1},
            # As the webhook writes it.
            "env": [{"name": SECRET_FILE_VARIABLE, "value": SECRET_FILE}],
            "volumeMounts": [{"name": SECRET_NAME, "mountPath": SECRET_FOLDER, "readOnly": True}],
        }
        chat["spec"]["volumes"] = [{"name": SECRET_NAME, "secret": {"secretName": SECRET_NAME, "optional": True}}]
        rig.wait_for(lambda: rig.allocatable("3g.20gb") == "0")
        rig.put(chat)
        rig.wait_for(lambda: rig.condition("chat", "PodScheduled").get("reason") == "Unschedulable")
        assert rig.condition("chat", "PodScheduled")["message"] == (
            "0/1 nodes are available: 1 Insufficient nvidia.com/mig-3g.20gb. no new claims to deallocate, preemption: "
            "0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        )

        # The slice is made: it runs on it, and answers at its own address.
        began = time.monotonic()
        rig.want("3g.20gb@4")
        rig.wait_for(lambda: rig.is_ready("chat"))
        print(f"slice wanted -> Ready: {time.monotonic() - began:.2f} s")
        assert rig.read("chat")["status"]["podIP"].startswith("127.64.0.")  # another test's may have the first
        asked = {"model": "tiny-llm", "prompt": "Once", "max_tokens": 3}
        status, answer = rig.ask("chat", "/v1/completions", asked)
        assert (status, json.loads(answer)["usage"]["completion_tokens"]) == (200, 3)
        rig.wait_for(lambda: rig.state_of("3g.20gb@4") == "Busy")
        rig.wait_for(lambda: {"FailedScheduling", "Scheduled", "Started"} <= dict(rig.events("chat")).keys())

        # Movers reach it there too, if they show the secret that its file holds.
        assert f"the engine is relayed on port 8080, moves on port {MOVE_PORT}" in rig.log("chat")

        # Its processes are on the slice: relay and engine, as the driver sees them.
        there = rig.processes("chat")
        assert len(there) == 2
        status_ = rig.gpu_node.status
        assert status_ is not None
        rig.wait_for(lambda: set(rig.gpu_node.status.gpus[0].slices[0].pids) == there)  # type: ignore[union-attr]

        # It is deleted while requests still come: the relay gives the slice back, its pod goes on.
        uid = rig.read("chat")["metadata"]["uid"]
        rig.delete("chat")
        began = time.monotonic()
        rig.wait_for(lambda: rig.state_of("3g.20gb@4") == "Released")
        print(f"deleted -> slice released: {time.monotonic() - began:.2f} s")
        assert traffic.pods == {Key("default", "chat")}
        assert len(rig.processes("chat")) == 1
        traffic.over = True
        rig.wait_for(lambda: rig.is_gone("chat"))
        assert not rig.processes("chat", uid)
        rig.wait_for(lambda: rig.state_of("3g.20gb@4") == "Idle")

        # The place is another pod's, once its gate is lifted.
        chat["spec"]["schedulingGates"] = [{"name": GATE}]
        rig.put({**chat, "metadata": {**chat["metadata"], "name": "next"}})
        rig.wait_for(lambda: rig.condition("next", "PodScheduled").get("reason") == "SchedulingGated")
        assert "nodeName" not in rig.read("next")["spec"]
        uid = rig.read("next")["metadata"]["uid"]
        began = time.monotonic()
        KubePods(rig.client).lift_gate(Key("default", "next"), uid=uid, gate=GATE, node=NAME)
        rig.wait_for(lambda: rig.is_ready("next"))
        print(f"gate lifted -> Ready: {time.monotonic() - began:.2f} s")
        assert not any(reason == "FailedScheduling" for reason, _ in rig.events("next"))
        assert alive(min(rig.processes("next")))


def test_a_pod_that_is_refused_its_slice_fails_as_a_kubelet_fails_it_and_its_agent_deletes_it(folder: Path) -> None:
    """Two slices in one container: the scheduler sees that there are two, the agent gives one."""
    with NodeRig(folder) as rig:
        rig.want("1g.5gb@0", "1g.5gb@1")
        rig.wait_for(lambda: rig.allocatable("1g.5gb") == "2")
        greedy = rig.pod("greedy", script="sleep 600")
        greedy["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/mig-1g.5gb": "2"}}
        greedy["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "name": "r", "controller": True}]
        rig.put(greedy)
        rig.wait_for(lambda: rig.is_gone("greedy"))
        (why,) = [message for reason, message in rig.events("greedy") if reason == "UnexpectedAdmissionError"]
        assert why.startswith("Allocate failed due to rpc error: code = FailedPrecondition desc = AllocationRefused: ")
        assert why.endswith(", which is unexpected")
        rig.put(rig.pod("one", script="sleep 600", slice_="1g.5gb"))
        rig.wait_for(lambda: rig.is_ready("one"))


def test_an_agent_that_dies_takes_no_pod_with_it_and_a_slice_that_breaks_its_own_alone(folder: Path) -> None:
    with NodeRig(folder) as rig:
        rig.want("3g.20gb@0", "3g.20gb@4")
        rig.wait_for(lambda: rig.allocatable("3g.20gb") == "2")
        rig.put(rig.pod("first", script="sleep 600", slice_="3g.20gb"))
        rig.wait_for(lambda: rig.is_ready("first"))
        before = rig.processes("first")
        assert rig.agent is not None
        rig.agent.kill()
        rig.agent.wait()
        rig.wait_for(lambda: rig.allocatable("3g.20gb") == "0")
        rig.put(rig.pod("second", script="sleep 600", slice_="3g.20gb"))
        rig.wait_for(lambda: rig.condition("second", "PodScheduled").get("status") == "False")
        rig.start_agent()
        rig.wait_for(lambda: rig.is_ready("second"))
        assert rig.processes("first") == before
        assert rig.is_ready("first")

        # A slice that breaks costs its pod its place, and no other.
        store = FileStore(folder / "state" / "simulated-gpus")
        (gpu,) = SimulatedGpus(store).inventory().gpus
        (broken,) = [each for each in gpu.instances if each.place.start == rig.start_of("first")]
        SimulationControls(store).raise_xid(gpu.uuid, 94, gi_id=broken.gi_id)
        rig.wait_for(lambda: rig.is_gone("first"))
        assert rig.is_ready("second")


def test_after_a_restart_of_the_node_its_pods_run_anew_on_the_slices_that_they_had(folder: Path) -> None:
    with NodeRig(folder) as rig:
        rig.want("3g.20gb@0", "3g.20gb@4")
        rig.wait_for(lambda: rig.allocatable("3g.20gb") == "2")
        script = 'echo "$KNATIVE_MIG_SLICE"; sleep 600'
        for name in ("one", "two"):
            rig.put(rig.pod(name, script=script, slice_="3g.20gb"))
            rig.wait_for(lambda name=name: rig.log(name))  # type: ignore[misc]
        before = {name: rig.log(name) for name in ("one", "two")}
        assert len(set(before.values())) == 2
        uid = rig.read("one")["metadata"]["uid"]

        rig.restart_kubelet()
        for name in ("one", "two"):
            rig.wait_for(lambda name=name: rig.container(name)["restartCount"] == 1)  # type: ignore[misc]
            rig.wait_for(lambda name=name: rig.log(name, life=1) == before[name])  # type: ignore[misc]
        assert rig.read("one")["metadata"]["uid"] == uid
        assert rig.container("one")["lastState"]["terminated"]["reason"] == "Unknown"
        rig.wait_for(lambda: rig.state_of("3g.20gb@4") == rig.state_of("3g.20gb@0") == "Busy")
