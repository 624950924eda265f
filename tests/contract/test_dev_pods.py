"""Pods as processes without any device: what they find around them, how they fail, how they end."""

import base64
import errno
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from knative_mig.adapters.kube.kinds import EVENT, LEASE, NODE, POD, SECRET
from knative_mig.adapters.kube.pods import KubePods
from knative_mig.dev.node import addresses, pod_worker
from knative_mig.dev.node.logs import PodLogs
from knative_mig.ports.kube import Key
from tests.contract.node_rig import NodeRig, alive

SERVES = f"""
exec {sys.executable} -c "
import http.server, os, signal, sys
class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        well = self.path == '/' or os.path.exists(self.path.strip('/'))
        self.send_response(200 if well else 503)
        self.end_headers()
    def log_message(self, *_): pass
print('serving', flush=True)
http.server.HTTPServer((os.environ['HOST'], int(os.environ['PORT'])), Answers).serve_forever()
"
"""


@pytest.fixture
def rig() -> Iterator[NodeRig]:
    with TemporaryDirectory(prefix="node-") as name, NodeRig(Path(name), gpus="") as rig:
        yield rig


def test_a_command_of_this_machine_runs_in_place_of_an_image(rig: NodeRig) -> None:
    rig.put(rig.pod("web", script=SERVES, readinessProbe={"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}))
    rig.wait_for(lambda: rig.is_ready("web"))
    assert rig.ask("web", "/")[0] == 200
    assert rig.read("web")["status"]["phase"] == "Running"
    rig.wait_for(lambda: "Started" in [reason for reason, _ in rig.events("web")])
    assert {"Scheduled", "Created", "Started"} <= {reason for reason, _ in rig.events("web")}
    assert rig.log("web") == "serving\n"


def test_two_replicas_listen_on_the_same_port_each_at_its_own_address(rig: NodeRig) -> None:
    for name in ("one", "two"):
        rig.put(rig.pod(name, script=SERVES, readinessProbe={"tcpSocket": {"port": 8080}, "periodSeconds": 1}))
    for name in ("one", "two"):
        rig.wait_for(lambda name=name: rig.is_ready(name))  # type: ignore[misc]
        assert rig.ask(name, "/")[0] == 200
    assert len({rig.read(name)["status"]["podIP"] for name in ("one", "two")}) == 2


def test_what_a_program_is_told_by_its_pod(rig: NodeRig) -> None:
    secret = {"kind": "Secret", "metadata": {"namespace": "default", "name": "s"}}
    rig.api.put_object({**secret, "data": {"key": base64.b64encode(b"hidden").decode()}})
    config = {"kind": "ConfigMap", "metadata": {"namespace": "default", "name": "c"}, "data": {"A": "1", "B": "2"}}
    rig.api.put_object(config)
    script = (
        'echo "$WHO $SECRET $P_A$P_B $HAS$CPUS"; cat "$FILE"; echo; '
        'cat "$KNATIVE_MIG_DEV_ROOT/etc/config/A"; echo " $0"'
    )
    body = rig.pod(
        "told",
        command=["/bin/sh", "-c", script, "$(WHO)/etc/secret/key:/etc/secret/key"],
        env=[
            {"name": "WHO", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "key"}}},
            {"name": "HAS", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "x", "optional": True}}},
            {"name": "FILE", "value": "/etc/secret/key"},
            {"name": "CPUS", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        ],
        envFrom=[{"configMapRef": {"name": "c"}, "prefix": "P_"}],
        volumeMounts=[{"name": "s", "mountPath": "/etc/secret"}, {"name": "c", "mountPath": "/etc/config"}],
    )
    body["spec"] |= {
        "restartPolicy": "Never",
        "volumes": [{"name": "s", "secret": {"secretName": "s"}}, {"name": "c", "configMap": {"name": "c"}}],
    }
    rig.put(body)
    rig.wait_for(lambda: rig.read("told")["status"]["phase"] == "Succeeded")
    first, second, third = rig.log("told").splitlines()
    assert first == "told hidden 12 32"  # of the node, for it has no limit
    assert second == "hidden"
    one, _, path = third.removeprefix("1 ").partition(":")
    assert one == "told/etc/secret/key"  # within a word it is no path of the container's
    assert Path(path).read_text() == "hidden"
    assert rig.condition("told", "Ready")["reason"] == "PodCompleted"


def test_a_secret_that_is_not_there_yet_is_waited_for(rig: NodeRig) -> None:
    body = rig.pod(
        "early", script="sleep 600", env=[{"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]
    )
    rig.put(body)
    rig.wait_for(lambda: rig.waits_for("early") == "CreateContainerConfigError")
    assert rig.container("early")["state"]["waiting"]["message"] == 'secret "s" not found'
    assert rig.read("early")["status"]["phase"] == "Pending"
    rig.wait_for(lambda: ("Failed", 'Error: secret "s" not found') in rig.events("early"))


def test_a_pod_that_there_is_no_file_for_begins_when_there_is_one(
    rig: NodeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_worker, "TRY_AGAIN_S", 0.1)
    lacks = [True]
    hold = addresses.hold

    def held(address: str) -> addresses.Held | None:
        if lacks:
            lacks.pop()
            raise OSError(errno.EMFILE, "Too many open files")
        return hold(address)

    monkeypatch.setattr(rig.kubelet._tools.addresses, "_hold", held)
    rig.put(rig.pod("late", script="sleep 600"))
    rig.wait_for(lambda: rig.is_ready("late"))
    said = ("FailedCreatePodSandBox", "Failed to create pod sandbox: Too many open files")
    rig.wait_for(lambda: said in rig.events("late"))


def test_a_volume_whose_secret_is_not_there_yet_is_waited_for(rig: NodeRig) -> None:
    body = rig.pod("early", script="sleep 600", volumeMounts=[{"name": "v", "mountPath": "/s"}])
    body["spec"]["volumes"] = [{"name": "v", "secret": {"secretName": "s"}}]
    rig.put(body)
    told = ("FailedMount", 'MountVolume.SetUp failed for volume "v" : secret "s" not found')
    rig.wait_for(lambda: told in rig.events("early"))
    assert rig.container("early")["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert "Failed" not in dict(rig.events("early"))
    rig.api.put_object({"kind": "Secret", "metadata": {"namespace": "default", "name": "s"}, "data": {}})
    rig.wait_for(lambda: rig.is_ready("early"), within_s=8.0)


def test_a_volume_that_cannot_be_had_is_told_of_once_whatever_waits_for_it(rig: NodeRig) -> None:
    body = rig.pod("early", script="sleep 600")
    (one,) = body["spec"]["containers"]
    body["spec"]["containers"] = [{**one, "name": f"c{n}"} for n in range(5)]
    body["spec"]["volumes"] = [{"name": "v", "secret": {"secretName": "s"}}]
    began = rig.put(body)

    def told() -> int:
        return sum(each["count"] for each in rig.api.objects(EVENT) if each["reason"] == "FailedMount")

    rig.wait_for(lambda: told() >= 3)
    count, waited_s = told(), time.monotonic() - began
    assert count <= 1 + math.log2(1 + waited_s / 0.5)  # half a second, and twice as long each time
    rig.wait_for(lambda: len(rig.read("early")["status"]["containerStatuses"]) == 5)
    states = [each["state"] for each in rig.read("early")["status"]["containerStatuses"]]
    assert states == [{"waiting": {"reason": "ContainerCreating"}}] * 5
    rig.api.put_object({"kind": "Secret", "metadata": {"namespace": "default", "name": "s"}, "data": {}})
    rig.wait_for(lambda: rig.is_ready("early"), within_s=8.0)


def test_one_that_cannot_be_begun_again_still_has_its_last_life(rig: NodeRig) -> None:
    rig.api.put_object({"kind": "Secret", "metadata": {"namespace": "default", "name": "s"}, "data": {}})
    script = "until [ -e end ]; do sleep 0.02; done; exit 3"
    rig.put(rig.pod("late", script=script, envFrom=[{"secretRef": {"name": "s"}}]))
    rig.wait_for(lambda: rig.is_ready("late"))
    rig.client.delete(SECRET, Key("default", "s"))
    uid = rig.read("late")["metadata"]["uid"]
    (rig.settings.folder / "pods" / uid / "containers" / "user-container" / "work" / "end").touch()
    rig.wait_for(lambda: rig.waits_for("late") == "CreateContainerConfigError")
    found = rig.container("late")
    assert (found["lastState"]["terminated"]["exitCode"], found["restartCount"]) == (3, 0)


def test_an_image_that_nobody_has_is_told_as_a_registry_would(rig: NodeRig) -> None:
    rig.put(rig.pod("far", image="ghcr.io/somebody/model:v1"))
    rig.wait_for(lambda: rig.waits_for("far") == "ErrImagePull")
    assert "it knows dev.local/tiny-llm; with a `command`" in rig.container("far")["state"]["waiting"]["message"]
    rig.wait_for(lambda: rig.waits_for("far") == "ImagePullBackOff")
    assert rig.container("far")["state"]["waiting"]["message"].startswith(
        'Back-off pulling image "ghcr.io/somebody/model:v1": ErrImagePull: '
    )
    rig.delete("far")
    rig.wait_for(lambda: rig.is_gone("far"))


def test_a_pod_that_cannot_be_read_is_told_so(rig: NodeRig) -> None:
    """As one that an older version has let in."""
    body = rig.pod("odd", script="true")
    body["spec"]["containers"][0]["ports"] = [{"containerPort": 0}]
    rig.put(body)
    rig.wait_for(lambda: rig.read("odd")["status"].get("phase") == "Failed")
    status, why = rig.read("odd")["status"], "spec.containers[0].ports[0].containerPort: is 0"
    assert (status["reason"], status["message"][:18]) == ("FailedValidation", "Pod was rejected: ")
    assert why in status["message"]
    rig.wait_for(lambda: any(each["type"] == "Warning" and why in each["message"] for each in rig.api.objects(EVENT)))
    rig.delete("odd")
    rig.wait_for(lambda: rig.is_gone("odd"))


@pytest.mark.parametrize(
    ("command", "code", "reason", "message"),
    [
        (["/bin/sh", "-c", "echo no; exit 3"], 3, "Error", "no\n"),
        (["no-such-program"], 128, "StartError", 'exec: "no-such-program": executable file not found in $PATH'),
    ],
    ids=["exits-at-once", "is-not-there"],
)
def test_a_command_that_fails_is_started_again_at_once_and_then_backs_off(
    rig: NodeRig, command: list[str], code: int, reason: str, message: str
) -> None:
    rig.put(rig.pod("bad", command=command, terminationMessagePolicy="FallbackToLogsOnError"))
    rig.wait_for(lambda: rig.waits_for("bad") == "CrashLoopBackOff")
    found, uid = rig.container("bad"), rig.read("bad")["metadata"]["uid"]
    assert found["state"]["waiting"]["message"] == (
        f"back-off 10s restarting failed container=user-container pod=bad_default({uid})"
    )
    assert found["restartCount"] == 1
    last = found["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"]) == (code, reason)
    assert last["message"].endswith(message)
    assert rig.read("bad")["status"]["phase"] == "Running"
    assert rig.condition("bad", "Ready")["message"] == "containers with unready status: [user-container]"
    rig.wait_for(lambda: "BackOff" in [reason for reason, _ in rig.events("bad")])


def test_one_that_is_not_well_is_killed_and_begun_anew(rig: NodeRig) -> None:
    body = rig.pod(
        "ill",
        script=f"touch well; {SERVES}",
        livenessProbe={"httpGet": {"path": "/well", "port": 8080}, "periodSeconds": 1, "failureThreshold": 2},
        readinessProbe={"tcpSocket": {"port": 8080}, "periodSeconds": 1},
        startupProbe={"exec": {"command": ["test", "-e", "well"]}, "periodSeconds": 1},
    )
    rig.put(body)
    rig.wait_for(lambda: rig.is_ready("ill"))
    assert rig.container("ill")["started"]
    uid = rig.read("ill")["metadata"]["uid"]
    (rig.settings.folder / "pods" / uid / "containers" / "user-container" / "work" / "well").unlink()
    rig.wait_for(lambda: rig.container("ill")["restartCount"] == 1)
    rig.wait_for(lambda: rig.is_ready("ill"))
    told = [message for _, message in rig.events("ill")]
    assert "Liveness probe failed: HTTP probe failed with statuscode: 503" in told
    assert "Container user-container failed liveness probe, will be restarted" in told
    assert rig.container("ill")["lastState"]["terminated"]["exitCode"] == 143
    assert [rig.log("ill", life) for life in (0, 1)] == ["serving\n", "serving\n"]


def test_all_that_a_pod_started_ends_with_it(rig: NodeRig) -> None:
    """What has a session of its own too, and what does not listen to SIGTERM is killed when its grace is over."""
    body = rig.pod("deaf", script="trap '' TERM; setsid sleep 611 & sleep 611 & wait; sleep 611")
    body["spec"]["terminationGracePeriodSeconds"] = 3
    rig.put(body)
    rig.wait_for(lambda: len(rig.processes("deaf")) == 3)
    uid = rig.read("deaf")["metadata"]["uid"]
    began = time.monotonic()
    rig.delete("deaf")
    rig.wait_for(lambda: rig.is_gone("deaf"))
    assert time.monotonic() - began > 2.5
    assert not rig.processes("deaf", uid)
    rig.wait_for(lambda: ("Killing", "Stopping container user-container") in rig.events("deaf"))
    assert not (rig.settings.folder / "pods" / uid).exists()


def test_one_whose_shim_is_killed_is_begun_anew_and_leaves_nothing(rig: NodeRig) -> None:
    rig.put(rig.pod("orphan", script="setsid sleep 611 & exec sleep 611"))
    rig.wait_for(lambda: len(rig.processes("orphan")) == 2)
    before = rig.processes("orphan")
    parents = {int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) for pid in before}
    (shim,) = parents - before
    os.kill(shim, signal.SIGKILL)
    rig.wait_for(lambda: rig.container("orphan")["restartCount"] == 1)
    assert not rig.processes("orphan") & before
    assert rig.container("orphan")["lastState"]["terminated"]["exitCode"] == 137


def test_one_whose_time_is_over_is_told_to_end(rig: NodeRig) -> None:
    rig.put(
        rig.pod("long", script="trap 'echo told; exit 0' TERM; sleep 611 & wait", spec={"activeDeadlineSeconds": 1})
    )
    rig.wait_for(lambda: rig.read("long")["status"].get("reason") == "DeadlineExceeded", within_s=10.0)
    assert rig.read("long")["status"]["phase"] == "Failed"
    assert rig.log("long") == "told\n"
    assert not rig.processes("long")
    assert "DeadlineExceeded" in dict(rig.events("long"))


def test_a_hook_is_run_before_the_program_is_told(rig: NodeRig) -> None:
    body = rig.pod(
        "hooked",
        script="trap 'cat before > $OUT; exit 0' TERM; while :; do sleep 0.05; done",
        lifecycle={"preStop": {"exec": {"command": ["/bin/sh", "-c", "echo hook > before"]}}},
        env=[{"name": "OUT", "value": str(rig.folder / "out")}],
    )
    rig.put(body)
    rig.wait_for(lambda: rig.is_ready("hooked"))
    rig.delete("hooked")
    rig.wait_for(lambda: rig.is_gone("hooked"))
    assert (rig.folder / "out").read_text() == "hook\n"


def test_one_that_is_removed_by_force_leaves_nothing_running(rig: NodeRig) -> None:
    rig.put(rig.pod("forced", script="sleep 611"))
    rig.wait_for(lambda: rig.is_ready("forced"))
    uid = rig.read("forced")["metadata"]["uid"]
    rig.client.delete(POD, Key("default", "forced"), {"gracePeriodSeconds": 0})
    rig.wait_for(lambda: not rig.processes("forced", uid))


def test_the_next_of_a_name_waits_until_the_one_before_has_ended(rig: NodeRig) -> None:
    rig.put(rig.pod("same", script="trap '' TERM; while :; do sleep 0.05; done"))
    rig.wait_for(lambda: rig.is_ready("same"))
    uid = rig.read("same")["metadata"]["uid"]
    rig.client.delete(POD, Key("default", "same"), {"gracePeriodSeconds": 0})
    rig.put(rig.pod("same", script="sleep 611"))
    rig.wait_for(lambda: rig.is_ready("same"))
    assert not rig.processes("same", uid)


def test_containers_of_the_start_run_one_after_the_other_before_the_others(rig: NodeRig) -> None:
    body = rig.pod("begun", script="cat ../../../steps; sleep 611")
    del body["spec"]["containers"][0]["command"]
    body["spec"]["containers"][0]["command"] = ["/bin/sh", "-c", "cat $STEPS/steps; sleep 611"]
    body["spec"]["containers"][0]["env"] = steps = [{"name": "STEPS", "value": str(rig.folder)}]
    body["spec"]["initContainers"] = [
        {"name": name, "command": ["/bin/sh", "-c", f"sleep 0.2; echo {name} >> $STEPS/steps"], "env": steps}
        for name in ("first", "second")
    ]
    rig.put(body)
    rig.wait_for(lambda: rig.condition("begun", "Initialized").get("status") == "False")
    assert rig.waits_for("begun") == "PodInitializing"
    rig.wait_for(lambda: rig.is_ready("begun"))
    rig.wait_for(lambda: rig.log("begun") == "first\nsecond\n")


@pytest.mark.parametrize("is_deleted", [False, True])
def test_one_that_the_node_cannot_go_on_with_has_failed(
    rig: NodeRig, monkeypatch: pytest.MonkeyPatch, *, is_deleted: bool
) -> None:
    """Another comes in its place: one that nobody minds any more is not to stay as if it ran."""

    def fault(*_: object) -> str:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(PodLogs, "last_words", fault)
    script = "trap 'exit 3' TERM; until [ -e end ]; do sleep 0.02; done; exit 3"
    rig.put(rig.pod("odd", script=script, terminationMessagePolicy="FallbackToLogsOnError"))
    rig.wait_for(lambda: rig.is_ready("odd"))
    if is_deleted:
        rig.delete("odd")
        rig.wait_for(lambda: rig.is_gone("odd"))
        return
    uid = rig.read("odd")["metadata"]["uid"]
    (rig.settings.folder / "pods" / uid / "containers" / "user-container" / "work" / "end").touch()
    rig.wait_for(lambda: rig.read("odd")["status"]["phase"] == "Failed")
    assert not rig.is_ready("odd")


def test_what_was_started_ends_with_a_kill_of_its_starter() -> None:
    """Nothing can be put in order then."""
    starter = """
import os, sys, time
from pathlib import Path
from knative_mig.dev.node.container import Command, Container
script = "setsid sleep 613 & echo $! > pids; echo $$ >> pids; trap '' TERM; wait; sleep 613"
command = Command(argv=("/bin/sh", "-c", script),
                  env={"PATH": os.environ["PATH"]}, cwd=Path(sys.argv[1]))
Container.start(command, lambda _, __: None)
time.sleep(600)
"""
    with TemporaryDirectory() as folder:
        pids = Path(folder) / "pids"
        with subprocess.Popen([sys.executable, "-c", starter, folder]) as process:
            deadline = time.monotonic() + 60
            while not (pids.exists() and pids.read_text().count("\n") == 2) and time.monotonic() < deadline:
                time.sleep(0.02)
            started = [int(each) for each in pids.read_text().split()]
            assert all(map(alive, started))
            process.send_signal(signal.SIGKILL)
        while any(map(alive, started)) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not any(map(alive, started))


def test_what_the_api_server_does_not_take_is_told_when_it_does(rig: NodeRig) -> None:
    rig.api.faults.fail(503, times=3, method="PATCH", path="/pods/slow/status")
    rig.api.faults.fail(500, times=2, method="POST", path="/pods/slow/binding")
    rig.put(rig.pod("slow", script="sleep 600"))
    rig.wait_for(lambda: rig.is_ready("slow"))
    rig.api.faults.fail(500, times=2, method="DELETE", path="/pods/slow")
    uid = rig.read("slow")["metadata"]["uid"]
    KubePods(rig.client).evict(Key("default", "slow"), uid=uid, grace_s=5)
    rig.wait_for(lambda: rig.is_gone("slow"))
    assert not rig.processes("slow", uid)


def _taints(rig: NodeRig) -> dict[str, str]:
    taints = rig.client.get(NODE, Key("", "n1"))["spec"].get("taints") or ()
    return {each["key"]: each["effect"] for each in taints if each["key"] == "mine" or "timeAdded" in each}


def test_a_cordoned_node_takes_no_more_and_lets_who_is_there_run(rig: NodeRig) -> None:
    mine = {"key": "mine", "effect": "PreferNoSchedule"}
    rig.client.merge(NODE, Key("", "n1"), {"spec": {"taints": [mine]}})
    rig.put(rig.pod("before", script="sleep 600"))
    rig.wait_for(lambda: rig.is_ready("before"))
    rig.client.merge(NODE, Key("", "n1"), {"spec": {"unschedulable": True}})
    rig.wait_for(rig.is_cordoned)
    rig.put(rig.pod("after", script="sleep 600"))
    rig.wait_for(lambda: "1 node(s) were unschedulable" in rig.condition("after", "PodScheduled").get("message", ""))
    cordon = {"node.kubernetes.io/unschedulable": "NoSchedule"}
    rig.wait_for(lambda: _taints(rig) == {"mine": "PreferNoSchedule", **cordon})
    rig.client.merge(NODE, Key("", "n1"), {"spec": {"unschedulable": False}})
    rig.wait_for(lambda: rig.is_ready("after"))
    assert _taints(rig) == {"mine": "PreferNoSchedule"}
    assert rig.is_ready("before")


def test_a_taint_sends_away_who_does_not_tolerate_it_or_no_longer(rig: NodeRig) -> None:
    exists = {"key": "repair", "operator": "Exists"}
    tolerations = {"stays": [exists], "stays-a-while": [{**exists, "tolerationSeconds": 2}], "goes": []}
    for name, each in tolerations.items():
        # What ends at once is gone before anybody has seen it go.
        script = "trap '' TERM; sleep 600" if name == "goes" else "sleep 600"
        rig.put(rig.pod(name, script=script, spec={"tolerations": each, "terminationGracePeriodSeconds": 1}))
    for name in tolerations:
        rig.wait_for(lambda name=name: rig.is_ready(name))  # type: ignore[misc]
    taint = {"key": "repair", "effect": "NoExecute"}
    rig.client.merge(NODE, Key("", "n1"), {"spec": {"taints": [taint]}})
    rig.wait_for(lambda: "deletionTimestamp" in rig.read("goes")["metadata"])
    assert rig.condition("goes", "DisruptionTarget")["reason"] == "DeletionByTaintManager"
    assert "deletionTimestamp" not in rig.read("stays-a-while")["metadata"]
    rig.wait_for(lambda: rig.is_gone("goes") and rig.is_gone("stays-a-while"))
    told = ("TaintManagerEviction", "Marking for deletion Pod default/goes")
    rig.wait_for(lambda: told in rig.events("goes"))
    assert rig.is_ready("stays")


def test_a_taint_that_is_taken_away_in_time_sends_nobody_away(rig: NodeRig) -> None:
    toleration = {"key": "repair", "operator": "Exists", "tolerationSeconds": 600}
    rig.put(rig.pod("chat", script="sleep 600", spec={"tolerations": [toleration]}))
    rig.wait_for(lambda: rig.is_ready("chat"))
    rig.client.merge(NODE, Key("", "n1"), {"spec": {"taints": [{"key": "repair", "effect": "NoExecute"}]}})
    rig.wait_for(lambda: rig.scheduling.evictor.due)
    rig.client.merge(NODE, Key("", "n1"), {"spec": {"taints": None}})
    told = ("TaintManagerEviction", "Cancelling deletion of Pod default/chat")
    rig.wait_for(lambda: told in rig.events("chat"))
    assert not rig.scheduling.evictor.due


def test_a_node_that_is_deleted_is_there_again_at_once_and_its_pods_run_on(rig: NodeRig) -> None:
    rig.put(rig.pod("chat", script="sleep 600"))
    rig.wait_for(lambda: rig.is_ready("chat"))
    before = rig.client.get(NODE, Key("", "n1"))
    rig.client.delete(NODE, Key("", "n1"))
    rig.wait_for(lambda: rig.client.get(NODE, Key("", "n1"))["status"].get("allocatable"), within_s=5.0)
    after = rig.client.get(NODE, Key("", "n1"))
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert after["metadata"]["labels"] == before["metadata"]["labels"]
    for each in ("allocatable", "capacity", "addresses"):
        assert after["status"][each] == before["status"][each]
    rig.put(rig.pod("next", script="sleep 600"))
    rig.wait_for(lambda: rig.is_ready("next"))
    assert rig.is_ready("chat")
    assert rig.container("chat")["restartCount"] == 0


def test_what_a_node_says_of_itself(rig: NodeRig) -> None:
    node = rig.client.get(NODE, Key("", "n1"))
    assert node["metadata"]["labels"]["kubernetes.io/hostname"] == "n1"
    assert node["spec"]["podCIDR"] == "127.64.0.0/24"
    assert {"cpu": "32", "pods": "110"}.items() <= node["status"]["allocatable"].items()
    (ready,) = [each for each in node["status"]["conditions"] if each["type"] == "Ready"]
    assert (ready["status"], ready["reason"]) == ("True", "KubeletReady")
    rig.wait_for(lambda: rig.api.objects(LEASE))
    (lease,) = rig.api.objects(LEASE)
    assert (lease["metadata"]["namespace"], lease["spec"]["holderIdentity"]) == ("kube-node-lease", "n1")
