"""The real kubectl against the API server of `dev`: every verb that people use, with what it prints."""

import json
import subprocess
import threading
from pathlib import Path

import pytest

from tests.dev.client import Client
from tests.dev.conftest import SaidLogs

_DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - {name: a, image: "a:1", env: [{name: X, value: "1"}]}
        - {name: b, image: "b:1"}
"""


def _one(kubectl: Client, *words: str) -> str:
    return kubectl("get", *words, "--output", "jsonpath={.spec.template.spec.containers[*].image}")


def test_versions_and_kinds_are_told(kubectl: Client) -> None:
    assert "Server Version: v1.36" in kubectl("version")
    listed = kubectl("api-resources", "--output", "wide")
    for kind in ("gpunodes", "services.*ksvc.*serving.knative.dev/v1", "pods.*po"):
        assert [line for line in listed.splitlines() if _matches(kind, line)], kind
    assert "serving.knative.dev/v1" in kubectl("api-versions")
    assert kubectl("auth", "can-i", "delete", "pods").strip() == "yes"
    assert "dev" in kubectl("auth", "whoami")


def _matches(words: str, line: str) -> bool:
    return all(word in line for word in words.split(".*"))


def test_types_are_explained(kubectl: Client) -> None:
    assert "uuid\t<string> -required-" in kubectl("explain", "gpunode.spec.gpus")
    assert "A GPU that is not named stays as it is" in kubectl("explain", "gpunode.spec.gpus")
    assert "imagePullPolicy\t<string>" in kubectl("explain", "pod.spec.containers")
    assert "containerConcurrency\t<integer>" in kubectl("explain", "ksvc.spec.template.spec")
    assert "FIELD: containers <[]Object>" in kubectl("explain", "ksvc.spec.template.spec.containers")
    assert "resources\t<Object>" in kubectl("explain", "ksvc.spec.template.spec.containers")
    assert "subscriber\t<Object>" in kubectl("explain", "trigger.spec", "--output", "plaintext-openapiv2")
    assert "does not exist" in kubectl.fails("explain", "pod.spec.nothing")


def test_apply_creates_changes_and_leaves_alone(kubectl: Client) -> None:
    assert "created" in kubectl("apply", "--filename", "-", stdin=_DEPLOYMENT)
    changed = _DEPLOYMENT.replace("a:1", "a:2")
    differing = kubectl.run("diff", "--filename", "-", stdin=changed)
    assert differing.returncode == 1
    assert "image: a:2" in differing.stdout
    assert "configured" in kubectl("apply", "--filename", "-", stdin=changed)
    assert "unchanged" in kubectl("apply", "--filename", "-", stdin=changed)
    assert _one(kubectl, "deployment/web") == "a:2 b:1"
    without = changed.replace('        - {name: b, image: "b:1"}\n', "")
    kubectl("apply", "--filename", "-", stdin=without)
    assert _one(kubectl, "deployment/web") == "a:2"


def test_what_others_apply_is_a_conflict_until_it_is_forced(kubectl: Client) -> None:
    kubectl("apply", "--server-side", "--filename", "-", stdin=_DEPLOYMENT)
    changed = _DEPLOYMENT.replace("a:1", "a:2")
    said = kubectl.fails("apply", "--server-side", "--field-manager=bob", "--filename", "-", stdin=changed)
    assert 'conflict with "kubectl": .spec.template.spec.containers[name="a"].image' in said
    kubectl("apply", "--server-side", "--field-manager=bob", "--force-conflicts", "--filename", "-", stdin=changed)
    assert _one(kubectl, "deployment/web") == "a:2 b:1"
    # What nobody else wants goes with its last applier; what bob wants stays.
    kubectl(
        "apply",
        "--server-side",
        "--filename",
        "-",
        stdin=_DEPLOYMENT.replace("labels: {app: web}}\nspec:\n  rep", "labels: {}}\nspec:\n  rep").replace(
            "a:1", "a:2"
        ),
    )
    assert kubectl("get", "deployment/web", "--output", "jsonpath={.metadata.labels.app}") == "web"


def test_client_side_apply_becomes_server_side_apply(kubectl: Client) -> None:
    kubectl("apply", "--filename", "-", stdin=_DEPLOYMENT)
    kubectl("apply", "--server-side", "--filename", "-", stdin=_DEPLOYMENT.replace("a:1", "a:2"))
    assert _one(kubectl, "deployment/web") == "a:2 b:1"
    managed = json.loads(kubectl("get", "deployment/web", "--output", "json", "--show-managed-fields"))
    assert {each["operation"] for each in managed["metadata"]["managedFields"]} == {"Apply"}


_FUNCTION = """
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: plain}
spec:
  template:
    spec:
      containers:
        - image: dev.local/tiny-llm
          securityContext:  # else Knative warns each time that there is none
            allowPrivilegeEscalation: false
            capabilities: {drop: [ALL]}
            runAsNonRoot: true
            seccompProfile: {type: RuntimeDefault}
"""


@pytest.mark.parametrize("how", [(), ("--server-side",)], ids=["by the client", "by the server"])
def test_a_function_that_is_applied_again_stays_as_it_is(kubectl_with_knative: Client, how: tuple[str, ...]) -> None:
    kubectl, told = kubectl_with_knative, set[str]()
    for _ in range(3):
        kubectl("apply", *how, "--filename", "-", stdin=_FUNCTION)
        path = "jsonpath={.metadata.generation} {.metadata.resourceVersion}"
        told.add(kubectl("get", "ksvc/plain", "--output", path))
    assert len(told) == 1
    assert told.pop().startswith("1 ")
    same = kubectl.run("diff", *how, "--filename", "-", stdin=_FUNCTION)
    assert (same.returncode, same.stdout, same.stderr) == (0, "", "")


def test_what_knative_adds_is_nobodys_who_applies(kubectl_with_knative: Client) -> None:
    kubectl = kubectl_with_knative
    kubectl("apply", "--filename", "-", stdin=_FUNCTION)
    done = kubectl.run("apply", "--server-side", "--force-conflicts", "--filename", "-", stdin=_FUNCTION)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(kubectl("get", "ksvc/plain", "--output", "json", "--show-managed-fields"))
    assert found["metadata"]["annotations"]["serving.knative.dev/creator"]
    assert found["spec"]["template"]["spec"]["timeoutSeconds"] == 300
    managed = json.dumps(found["metadata"]["managedFields"])
    assert "f:containers" in managed
    for each in ("creator", "lastModifier", "containerConcurrency", "timeoutSeconds", "traffic"):
        assert each not in managed
    kubectl("apply", "--filename", "-", stdin=_FUNCTION.replace("tiny-llm", "hello"))
    assert kubectl("get", "ksvc/plain", "--output", "jsonpath={.metadata.generation}") == "2"


def _thing(api_version: str, kind: str, **more: object) -> str:
    return json.dumps({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, **more})


_WRONG = {"name": "a", "image": "x", "imagee": "y"}
_IN_TEMPLATE = {"template": {"spec": {"containers": [_WRONG]}}}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (_thing("v1", "ConfigMap", datta={}), 'unknown field "datta"'),
        (_thing("v1", "Secret", kinds="y"), 'unknown field "kinds"'),
        (_thing("v1", "Namespace", spek={}), 'unknown field "spek"'),
        (_thing("v1", "Pod", spec={"containers": [_WRONG]}), 'unknown field "spec.containers[0].imagee"'),
        (
            _thing("serving.knative.dev/v1", "Service", spec=_IN_TEMPLATE),
            'unknown field "spec.template.spec.containers[0].imagee"',
        ),
        (
            _thing(
                "eventing.knative.dev/v1", "Trigger", spec={"broker": "b", "filterr": {}, "subscriber": {"uri": "x"}}
            ),
            'unknown field "spec.filterr"',
        ),
        (_thing("eventing.knative.dev/v1", "Broker", spec={"configg": {}}), 'unknown field "spec.configg"'),
        (
            _thing("knative-mig.dev/v1alpha1", "GpuNode", spec={"fencingToken": 1, "gpus": [], "more": 1}),
            'unknown field "spec.more"',
        ),
        (_thing("v1", "Nix"), 'no matches for kind "Nix"'),
    ],
    ids=["config map", "secret", "namespace", "pod", "function", "trigger", "broker", "GPU node", "no such kind"],
)
def test_what_is_not_a_field_is_refused(kubectl: Client, body: str, said: str) -> None:
    assert said in kubectl.fails("apply", "--validate=strict", "--filename", "-", stdin=body)


def test_a_warning_is_enough_for_who_asks_for_warnings(kubectl: Client) -> None:
    body = "{apiVersion: v1, kind: ConfigMap, metadata: {name: warned}, datta: {}}"
    done = kubectl.run("apply", "--validate=warn", "--filename", "-", stdin=body)
    assert 'Warning: unknown field "datta"' in done.stderr
    assert "created" in done.stdout


def test_a_gpu_node_is_held_to_its_rules(kubectl: Client) -> None:
    def gpu_node(token: int, start: int) -> str:
        slices = [{"profile": "3g.20gb", "start": 0, "size": 4}, {"profile": "3g.20gb", "start": start, "size": 4}]
        gpus = [{"uuid": "GPU-01234567-0123-0123-0123-0123456789ab", "slices": slices}]
        spec = {"fencingToken": token, "gpus": gpus}
        return json.dumps(
            {"apiVersion": "knative-mig.dev/v1alpha1", "kind": "GpuNode", "metadata": {"name": "n"}, "spec": spec}
        )

    assert "two slices lie on the same memory units" in kubectl.fails("apply", "-f", "-", stdin=gpu_node(3, 3))
    kubectl("apply", "-f", "-", stdin=gpu_node(3, 4))
    assert "fencingToken is lower than the one there" in kubectl.fails("apply", "-f", "-", stdin=gpu_node(2, 4))
    header, row = kubectl("get", "gpunodes").splitlines()
    assert header.split() == ["NAME", "LAYOUT", "GPUS", "BUSY", "IDLE", "FREE", "READY", "WHY", "APPLIED", "AGE"]
    assert row.split()[0] == "n"
    kubectl("delete", "gpunode", "n")


def test_dry_runs_keep_nothing(kubectl: Client) -> None:
    for way in ("client", "server"):
        assert "dry run" in kubectl("apply", f"--dry-run={way}", "--filename", "-", stdin=_DEPLOYMENT)
    assert "NotFound" in kubectl.fails("get", "deployment", "web")


def test_objects_of_go_clients_come_as_protobuf(kubectl: Client) -> None:
    kubectl("create", "configmap", "c", "--from-literal=a=1", "--from-literal=b=")
    assert json.loads(kubectl("get", "configmap", "c", "-o", "jsonpath={.data}")) == {"a": "1", "b": ""}
    kubectl("create", "deployment", "zero", "--image=x:1", "--replicas=0", "--port=80")
    found = json.loads(kubectl("get", "deployment", "zero", "-o", "json"))
    assert found["spec"]["replicas"] == 0
    assert found["spec"]["template"]["spec"]["containers"][0]["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    kubectl("create", "secret", "generic", "s", "--from-literal=password=hunter2")
    assert kubectl("get", "secret", "s", "-o", "jsonpath={.data.password}") == "aHVudGVyMg=="
    kubectl("create", "serviceaccount", "robot")
    kubectl("create", "role", "reader", "--verb=get", "--resource=pods")
    kubectl("create", "quota", "q", "--hard=pods=3")
    assert kubectl("get", "quota").split()[:4] == ["NAME", "REQUEST", "LIMIT", "AGE"]
    kubectl("create", "service", "clusterip", "web", "--tcp=80:8080")
    assert kubectl("get", "service", "web", "-o", "jsonpath={.spec.ports[0].targetPort}") == "8080"
    assert "already exists" in kubectl.fails("create", "configmap", "c")


def test_a_namespace_has_its_account_from_the_beginning(kubectl: Client) -> None:
    kubectl("wait", "serviceaccount/default", "--for=create", "--timeout=10s")
    header, row = kubectl("get", "sa").splitlines()
    assert (header.split(), row.split()[0]) == (["NAME", "AGE"], "default")
    kubectl("wait", "configmap/kube-root-ca.crt", "--for=create", "--timeout=10s")


@pytest.mark.parametrize(
    ("kind", "patch", "images"),
    [
        ("strategic", '{"spec":{"template":{"spec":{"containers":[{"name":"b","image":"b:9"}]}}}}', "a:1 b:9"),
        ("merge", '{"spec":{"template":{"spec":{"containers":[{"name":"b","image":"b:9"}]}}}}', "b:9"),
        ("json", '[{"op":"replace","path":"/spec/template/spec/containers/1/image","value":"b:9"}]', "a:1 b:9"),
    ],
)
def test_patches(kubectl: Client, kind: str, patch: str, images: str) -> None:
    kubectl("apply", "--filename", "-", stdin=_DEPLOYMENT)
    kubectl("patch", "deployment", "web", f"--type={kind}", "--patch", patch)
    assert sorted(_one(kubectl, "deployment/web").split()) == images.split()


def test_small_verbs(kubectl: Client) -> None:
    kubectl("apply", "--filename", "-", stdin=_DEPLOYMENT)
    kubectl("scale", "deployment", "web", "--replicas=3")
    kubectl("label", "deployment", "web", "tier=front")
    kubectl("label", "deployment", "web", "tier=back", "--overwrite")
    kubectl("annotate", "deployment", "web", "note=x")
    kubectl("annotate", "deployment", "web", "note-")
    kubectl("set", "image", "deployment/web", "a=a:7")
    kubectl("set", "env", "deployment/web", "Y=2")
    found = json.loads(kubectl("get", "deployment", "web", "--output", "json"))
    assert found["spec"]["replicas"] == 3
    assert found["metadata"]["labels"]["tier"] == "back"
    assert "note" not in found["metadata"]["annotations"]
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "a:7"
    assert "web" in kubectl("get", "deployments", "--selector", "tier in (back, front)")
    assert "No resources found" in kubectl.run("get", "deployments", "--selector", "tier!=back").stderr
    kubectl("replace", "--filename", "-", stdin=_DEPLOYMENT)


def test_a_pod_is_described_with_its_events_and_logs(kubectl: Client, logs: SaidLogs) -> None:
    kubectl("run", "talker", "--image=x:1", "--env=A=B", '--overrides={"spec": {"nodeName": "node-1"}}')
    uid = kubectl("get", "pod", "talker", "--output", "jsonpath={.metadata.uid}")
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "talker.1", "namespace": kubectl.namespace},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": "talker",
            "namespace": kubectl.namespace,
            "uid": uid,
        },
        "reason": "FailedScheduling",
        "message": "0/1 nodes are available",
        "type": "Warning",
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "count": 3,
    }
    kubectl("create", "--filename", "-", stdin=json.dumps(event))
    described = kubectl("describe", "pod", "talker")
    assert described.split("Image:")[1].split()[0] == "x:1"
    assert "FailedScheduling" in described
    assert "FailedScheduling" in kubectl("events", "--for", "pod/talker")
    assert "FailedScheduling" in kubectl("get", "events", "--field-selector", "involvedObject.name=talker")
    assert "FailedScheduling" in kubectl("get", "events.events.k8s.io")
    _told_state(kubectl, {"waiting": {"reason": "ContainerCreating"}})
    assert "waiting to start: ContainerCreating" in kubectl.fails("logs", "talker")
    _told_state(kubectl, {"running": {"startedAt": "2026-01-01T00:00:00Z"}})
    assert kubectl("logs", "talker") == ""
    logs.of_pod["talker"] = ["one", "two", "three"]
    assert kubectl("logs", "talker") == "one\ntwo\nthree\n"
    assert kubectl("logs", "talker", "--tail=1") == "three\n"
    assert 'previous terminated container "talker" in pod "talker" not found' in kubectl.fails("logs", "-p", "talker")
    header, row = kubectl("get", "pods", "--output", "wide").splitlines()
    assert header.split()[:5] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert row.split()[:4] == ["talker", "0/1", "Pending", "0"]


def _told_state(kubectl: Client, state: object) -> None:
    """Of the one container of the pod `talker`, which is not ready."""
    told = {"name": "talker", "image": "x:1", "imageID": "", "ready": False, "restartCount": 0, "state": state}
    status = json.dumps({"status": {"containerStatuses": [told]}})
    kubectl("patch", "pod", "talker", "--subresource=status", "--type=merge", "--patch", status)


def test_nodes_services_and_functions_are_described(kubectl: Client) -> None:
    node = f"n-{kubectl.namespace}"
    kubectl("create", "--filename", "-", stdin=_thing("v1", "Node").replace('"x"', f'"{node}"'))
    assert "Name:" in kubectl("describe", "node", node)
    kubectl("cordon", node)
    assert "SchedulingDisabled" in kubectl("get", "node", node)
    kubectl("delete", "node", node)
    kubectl("create", "service", "clusterip", "web", "--tcp=80")
    assert "ClusterIP" in kubectl("describe", "service", "web")
    template = {"spec": {"containers": [{"image": "y"}]}}
    kubectl("apply", "--filename", "-", stdin=_thing("serving.knative.dev/v1", "Service", spec={"template": template}))
    assert "Containers:" in kubectl("describe", "ksvc", "x")
    assert "service.serving.knative.dev/x" in kubectl("get", "all")
    assert "service.serving.knative.dev/x" in kubectl("get", "knative")


def test_a_watch_shows_what_happens(kubectl: Client) -> None:
    words = [*kubectl.command, "get", "configmaps", "--watch", "--output-watch-events", "--no-headers"]
    words += ["--field-selector", "metadata.name=seen"]
    with subprocess.Popen(words, env=kubectl.environment, stdout=subprocess.PIPE, text=True) as watching:
        out = watching.stdout
        assert out is not None
        killer = threading.Timer(60, watching.kill)
        killer.start()
        kubectl("create", "configmap", "seen")
        assert out.readline().split()[:2] == ["ADDED", "seen"]
        kubectl("patch", "configmap", "seen", "--patch", '{"data":{"a":"b"}}')
        assert out.readline().split()[:3] == ["MODIFIED", "seen", "1"]
        kubectl("delete", "configmap", "seen")
        assert out.readline().split()[:2] == ["DELETED", "seen"]
        killer.cancel()
        watching.terminate()


def test_waiting_for_a_condition_and_for_a_deletion(kubectl: Client) -> None:
    kubectl("run", "waited", "--image=x")
    status = '{"status":{"conditions":[{"type":"Ready","status":"True"}]}}'
    kubectl("patch", "pod", "waited", "--subresource=status", "--patch", status)
    kubectl("wait", "pod/waited", "--for=condition=Ready", "--timeout=10s")
    kubectl("delete", "pod", "waited", "--wait=false")
    kubectl("wait", "pod/waited", "--for=delete", "--timeout=10s")


def test_finalizers_hold_and_owners_take_along(kubectl: Client) -> None:
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner", "finalizers": ["example.com/hold"]}}
    kubectl("create", "--filename", "-", stdin=json.dumps(owner))
    uid = kubectl("get", "configmap", "owner", "--output", "jsonpath={.metadata.uid}")
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}
    owned = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owned", "ownerReferences": [reference]}}
    kubectl("create", "--filename", "-", stdin=json.dumps(owned))
    kubectl("delete", "configmap", "owner", "--wait=false")
    assert kubectl("get", "configmap", "owner", "--output", "jsonpath={.metadata.deletionTimestamp}")
    kubectl("patch", "configmap", "owner", "--type=merge", "--patch", '{"metadata":{"finalizers":null}}')
    kubectl("wait", "configmap/owned", "--for=delete", "--timeout=10s")


def test_a_namespace_goes_with_all_that_is_in_it(kubectl: Client) -> None:
    other = f"{kubectl.namespace}-2"
    kubectl("create", "namespace", other)
    kubectl("create", "configmap", "in-it", f"--namespace={other}")
    kubectl("delete", "namespace", other, "--timeout=20s")
    assert "NotFound" in kubectl.fails("get", "namespace", other)
    assert "not found" in kubectl.fails("create", "configmap", "x", f"--namespace={other}")


def test_many_at_once(kubectl: Client) -> None:
    many = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"m-{n:03d}", "labels": {"many": "yes"}}}
        for n in range(12)
    ]
    kubectl("create", "--filename", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": many}))
    chunked = ("get", "configmaps", "--chunk-size=5", "--no-headers", "--selector", "many=yes")
    assert len(kubectl(*chunked).splitlines()) == 12
    kubectl("delete", "configmaps", "--selector", "many=yes")
    assert "No resources found" in kubectl.run(*chunked).stderr


def test_kubectl_understands_that_something_is_not_served(kubectl: Client) -> None:
    kubectl("run", "alone", "--image", "x")
    assert "ephemeral containers are disabled" in kubectl.fails("debug", "alone", "--image", "x")
    kubectl("delete", "pod", "alone", "--now")


def test_a_custom_kind_is_served_as_soon_as_it_is_defined(kubectl: Client) -> None:
    definition = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Widget, plural: widgets, shortNames: [wd]}
  versions:
    - name: v1
      served: true
      storage: true
      additionalPrinterColumns: [{name: Size, type: integer, jsonPath: .spec.size}]
      schema:
        openAPIV3Schema:
          type: object
          properties: {spec: {type: object, properties: {size: {type: integer, maximum: 3}}}}
"""
    kubectl("apply", "--filename", "-", stdin=definition)
    kubectl("wait", "crd/widgets.example.com", "--for=condition=Established", "--timeout=10s")
    widget = "{apiVersion: example.com/v1, kind: Widget, metadata: {name: w}, spec: {size: 2}}"
    kubectl("apply", "--filename", "-", stdin=widget)
    assert kubectl("get", "wd").splitlines()[1].split() == ["w", "2"]
    said = kubectl.fails("apply", "--filename", "-", stdin=widget.replace("2}", "9}"))
    assert "should be less than or equal to 3" in said
    kubectl("delete", "crd", "widgets.example.com")
    assert "could not find the requested resource" in kubectl.fails("get", "widgets")


def test_what_installs_on_a_cluster_applies_here(kubectl: Client) -> None:
    core = Path(__file__).parents[2] / "config" / "core"
    said = kubectl("apply", "--kustomize", str(core))
    assert "daemonset.apps/agent" in said
    assert "created" not in kubectl("apply", "--kustomize", str(core))
