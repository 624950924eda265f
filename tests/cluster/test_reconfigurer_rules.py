"""What the API server itself refuses: a stale leader, a lie about a place, an agent that writes elsewhere."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

import pytest
import yaml

from tests.cluster.api import (
    JSON_PATCH,
    MERGE_PATCH,
    NODE,
    POD,
    REVISION,
    STRATEGIC_MERGE_PATCH,
    Api,
    Kind,
    Object,
    RefusedError,
)
from tests.cluster.conftest import DeployFunction
from tests.cluster.driver import Cluster
from tests.cluster.function import MIN_SCALE
from tests.cluster.gpu_node import GpuNode
from tests.cluster.slices import GATE, GPU_NODE, LEASE, agent_pod
from tests.cluster.system import AGENT_NAMESPACE, PLANNER_NAMESPACE
from tests.cluster.testbed.errors import ClusterError
from tests.cluster.testbed.kubectl import Kubectl
from tests.cluster.testbed.system_images import FUNCTION_IMAGE
from tests.cluster.waits import eventually, until

pytestmark = [pytest.mark.testbed_only, pytest.mark.usefixtures("deployed")]

_GPU = "GPU-00000000-0000-0000-0000-00000000000"
_SECRET = Kind("v1", "secrets")
_POLICY = Kind("admissionregistration.k8s.io/v1", "validatingadmissionpolicies", namespaced=False)


def gpu(number: int, *slices: tuple[str, int, int]) -> Object:
    placed = [{"profile": profile, "start": start, "size": size} for profile, start, size in slices]
    return {"uuid": f"{_GPU}{number}", "slices": placed}


@pytest.fixture
def token(api: Api, gpu_node: GpuNode) -> int:
    """The leading planner's."""
    found = until(api, GPU_NODE.named(gpu_node.name), "has a leader's stamp", lambda item: item["spec"]["fencingToken"])
    return int(found)


@pytest.fixture
def nobodys_node(api: Api, namespace: str, token: int) -> Iterator[str]:
    """A GpuNode without a node and an agent. Its token is the leader's: with a higher one it would seem deposed."""
    name = f"nobodys-{namespace[-5:]}"
    body = {
        "apiVersion": "knative-mig.dev/v1alpha1",
        "kind": "GpuNode",
        "metadata": {"name": name},
        "spec": {"fencingToken": token, "gpus": []},
    }
    api.create(GPU_NODE, body)
    yield name
    api.delete(GPU_NODE, name)


@pytest.fixture
def refused(api: Api, nobodys_node: str, kubectl: Kubectl) -> Callable[[Object], str]:
    """Why a spec may not be written; fails where it may."""

    def ask(spec: Object) -> str:
        patch = yaml.safe_dump({"spec": spec})
        with pytest.raises(ClusterError) as error:
            kubectl("patch", "gpunode", nobodys_node, "--type=merge", "--patch", patch)
        return str(error.value)

    return ask


# ---------------------------------------------------------------- the GpuNode itself


def test_a_lower_fencing_token_is_refused_whatever_else_the_write_says(
    refused: Callable[[Object], str], api: Api, nobodys_node: str, token: int
) -> None:
    assert "another planner leads" in refused({"fencingToken": token - 1})
    assert "another planner leads" in refused({"fencingToken": token - 1, "gpus": [gpu(0, ("3g.20gb", 4, 4))]})
    api.merge(GPU_NODE, nobodys_node, {"spec": {"fencingToken": token, "gpus": [gpu(0, ("3g.20gb", 4, 4))]}})


def test_a_token_above_which_no_leader_could_go_is_refused(refused: Callable[[Object], str]) -> None:
    assert "should be less than or equal to 9" in refused({"fencingToken": 2**53})
    assert "should be less than or equal to 9" in refused({"fencingToken": 2**63 - 1})


def test_two_slices_on_the_same_memory_units_are_refused(refused: Callable[[Object], str]) -> None:
    assert "same memory units" in refused({"gpus": [gpu(0, ("3g.20gb", 0, 4), ("2g.10gb", 2, 2))]})


@pytest.mark.parametrize(
    "slices",
    [
        pytest.param([("3g.20gb ", 0, 4)], id="a name that is no profile"),
        pytest.param([("3g.20gb", -4, 4)], id="a start below zero"),
        pytest.param([("3g.20gb", 0, 0)], id="no size"),
        pytest.param([("1g.5gb", 1, 1), ("1g.5gb", 1, 1)], id="one place twice"),
    ],
)
def test_what_no_gpu_could_have_is_refused(
    refused: Callable[[Object], str], slices: list[tuple[str, int, int]]
) -> None:
    assert "invalid" in refused({"gpus": [gpu(0, *slices)]}).lower()


def test_slices_beside_each_other_are_taken(api: Api, nobodys_node: str) -> None:
    wanted = [gpu(0, ("4g.20gb", 0, 4), ("3g.20gb", 4, 4)), gpu(1, ("1g.5gb", 6, 1), ("1g.5gb", 5, 1))]
    api.merge(GPU_NODE, nobodys_node, {"spec": {"gpus": wanted}})


def test_kubectl_shows_how_much_is_busy_idle_and_free_at_a_glance(
    kubectl: Kubectl, api: Api, gpu_node: GpuNode
) -> None:
    until(api, GPU_NODE.named(gpu_node.name), "is reported", lambda item: item.get("status", {}).get("summary"))

    def told() -> list[list[str]]:
        head, *rows = (line.split() for line in kubectl("get", "gn").splitlines())
        return [head, *(row for row in rows if row[0] == gpu_node.name)]

    # A story beside this one may break one of its slices for a moment.
    head, row = eventually("it is well and planned on", told, lambda told: told[1][2] == "2/2" and told[1][6] == "True")
    assert head == ["NAME", "LAYOUT", "GPUS", "BUSY", "IDLE", "FREE", "READY", "WHY", "APPLIED", "AGE"]
    assert row[1] == "dynamic"
    assert row[5].endswith("/16")
    assert row[7] == "Planned"


# ---------------------------------------------------------------- an agent's token


@pytest.fixture
def agent(cluster: Cluster, api: Api, gpu_node: GpuNode) -> Api:
    """Speaks with the token of the agent on the first GPU node."""
    pod = agent_pod(api, gpu_node.name)["metadata"]["name"]
    bound = ["--bound-object-kind=Pod", f"--bound-object-name={pod}"]
    token = cluster.kubectl("create", "token", "agent", f"--namespace={AGENT_NAMESPACE}", *bound).strip()
    return Api.of_kubeconfig(cluster.kubeconfig, token=token)


@pytest.fixture
def other_node(gpu_nodes: list[GpuNode]) -> str:
    return gpu_nodes[1].name


@contextmanager
def forbidden(told: str = "forbidden") -> Iterator[None]:
    with pytest.raises(RefusedError, match=told) as refusal:
        yield
    assert refusal.value.code == HTTPStatus.FORBIDDEN


def test_the_policies_are_understood_by_the_api_server(api: Api) -> None:
    """An expression that names no field that there is would only show when it is asked."""
    planners = ("gates", "conditions", "gpunodes", "evictions", "floor")
    agents = ("own-objects", "new-gpunodes", "own-node", "own-pods", "evictions")
    for name in (*(f"planner-{each}" for each in planners), *(f"agent-{each}" for each in agents), "webhook-secrets"):
        until(
            api, _POLICY.named(f"knative-mig-{name}"), "has been type checked",
            lambda item: item.get("status", {}).get("observedGeneration") == item["metadata"]["generation"],
        )  # fmt: skip
        checked = api.get(_POLICY, f"knative-mig-{name}")["status"].get("typeChecking", {})
        assert not checked.get("expressionWarnings"), name


def test_an_agent_reports_of_its_own_node_and_of_no_other(agent: Api, gpu_node: GpuNode, other_node: str) -> None:
    agent.merge(GPU_NODE, gpu_node.name, {"status": {}}, subresource="status")
    with forbidden(f"an agent of node {gpu_node.name} may not write {other_node}"):
        agent.merge(GPU_NODE, other_node, {"status": {}}, subresource="status")


def test_an_agent_changes_no_spec_not_even_its_own_nodes(agent: Api, gpu_node: GpuNode) -> None:
    with forbidden():
        agent.merge(GPU_NODE, gpu_node.name, {"spec": {"gpus": []}})


def test_an_agent_makes_its_gpu_node_without_a_leaders_token_and_without_gpus(agent: Api, gpu_node: GpuNode) -> None:
    """It is there, but whoever may not make it is told so first."""
    head = {"apiVersion": "knative-mig.dev/v1alpha1", "kind": "GpuNode", "metadata": {"name": gpu_node.name}}
    for spec in ({"fencingToken": 2**53 - 1, "gpus": []}, {"fencingToken": 0, "gpus": [gpu(0)]}):
        with forbidden("with the fencing token 0 and no GPUs"):
            agent.create(GPU_NODE, {**head, "spec": spec})
    with pytest.raises(RefusedError) as refusal:
        agent.create(GPU_NODE, {**head, "spec": {"fencingToken": 0, "gpus": []}})
    assert refusal.value.code == HTTPStatus.CONFLICT


def test_an_agent_says_how_many_slices_its_own_node_has_and_nothing_else(
    agent: Api, gpu_node: GpuNode, other_node: str
) -> None:
    resource = "nvidia.com/mig-9g.test"
    slices: Object = {"status": {"capacity": {resource: "1"}, "allocatable": {resource: "1"}}}
    try:
        agent.merge(NODE, gpu_node.name, slices, subresource="status")
        assert gpu_node.status["allocatable"][resource] == "1"
    finally:
        gpu_node.withdraw(resource)
    with forbidden(f"an agent of node {gpu_node.name}"):
        agent.merge(NODE, other_node, slices, subresource="status")
    labels: Object = {"metadata": {"labels": {"a": "b"}}}
    elsewhere: list[Object] = [
        {"status": {"allocatable": {"cpu": "1000"}}},
        {"status": {"capacity": {"nvidia.com/gpu": "8"}}},
        {"status": {"conditions": []}},
        labels,
    ]
    for patch in elsewhere:
        with forbidden("nothing of its Node's status but nvidia.com/mig-"):
            agent.merge(NODE, gpu_node.name, patch, subresource="status")
    with forbidden():
        agent.merge(NODE, gpu_node.name, labels)


def test_an_agent_deletes_pods_of_its_own_node_only(
    agent: Api, api: Api, namespace: str, gpu_node: GpuNode, other_node: str
) -> None:
    for name, node in (("here", gpu_node.name), ("there", other_node)):
        api.create(POD, pod_on(node, name), namespace)
    with forbidden("of another node"):
        agent.delete(POD, "there", namespace)
    agent.delete(POD, "here", namespace)


def test_an_agent_evicts_a_pod_by_its_uid_only(agent: Api, api: Api, namespace: str, gpu_node: GpuNode) -> None:
    uid = api.create(POD, pod_on(gpu_node.name, "here"), namespace)["metadata"]["uid"]

    def evict(options: Object) -> None:
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "here"}, "deleteOptions": options}
        agent.call("POST", f"{POD.path(namespace, 'here')}/eviction", body)

    with forbidden("by its UID"):
        evict({})
    evict({"preconditions": {"uid": uid}})


def pod_on(node: str, name: str) -> Object:
    containers = [{"name": "wait", "image": FUNCTION_IMAGE}]
    spec = {"containers": containers, "nodeName": node, "terminationGracePeriodSeconds": 0}
    return {"metadata": {"name": name}, "spec": spec}


def test_an_agents_heartbeat_is_its_own(agent: Api, gpu_node: GpuNode, other_node: str) -> None:
    def renewed(name: str) -> Object:
        return agent.call("PUT", LEASE.path(AGENT_NAMESPACE, name), agent.get(LEASE, name, AGENT_NAMESPACE))

    def refused() -> bool:
        with forbidden(f"may not write {other_node}"):
            renewed(other_node)
        return True

    # Whose Lease it is may write it between our reading and our writing, and we are told of that first.
    eventually("another one's Lease is refused", refused)
    eventually("the agent's own Lease is written", lambda: renewed(gpu_node.name))


def test_a_token_that_is_bound_to_no_pod_writes_nothing(cluster: Cluster, gpu_node: GpuNode) -> None:
    token = cluster.kubectl("create", "token", "agent", f"--namespace={AGENT_NAMESPACE}").strip()
    unbound = Api.of_kubeconfig(cluster.kubeconfig, token=token)
    for kind in (GPU_NODE, NODE):
        with forbidden("an agent of node  may not write"):
            unbound.merge(kind, gpu_node.name, {"status": {}}, subresource="status")
    by_name_alone = f"--as=system:serviceaccount:{AGENT_NAMESPACE}:agent"  # such a user has no extra at all
    head = {"apiVersion": "knative-mig.dev/v1alpha1", "kind": "GpuNode", "metadata": {"name": gpu_node.name}}
    mine = {**head, "spec": {"fencingToken": 0, "gpus": []}}
    with pytest.raises(ClusterError, match="an agent of node  may not write"):
        cluster.kubectl("create", by_name_alone, "--validate=false", "--filename=-", stdin=json.dumps(mine))


# ---------------------------------------------------------------- the planner's account


def test_a_pod_that_carries_the_gate_and_asks_for_no_slice_is_let_go(api: Api, namespace: str) -> None:
    spec = {"containers": [{"name": "wait", "image": FUNCTION_IMAGE}], "schedulingGates": [{"name": GATE}]}
    api.create(POD, {"metadata": {"name": "plain"}, "spec": spec}, namespace)
    until(api, POD.named("plain", namespace), "has no gate", lambda item: not item["spec"].get("schedulingGates"))


def test_the_planner_says_whether_a_node_is_planned_on_and_nothing_else_of_its_status_or_metadata(
    cluster: Cluster, api: Api, nobodys_node: str
) -> None:
    token = cluster.kubectl("create", "token", "planner", f"--namespace={PLANNER_NAMESPACE}").strip()
    planner = Api.of_kubeconfig(cluster.kubeconfig, token=token)
    # Not before the agent's report, as of a node whose agent never came: the two are told apart.
    said = {"status": "False", "reason": "AgentSilent", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    planner.merge(GPU_NODE, nobodys_node, {"status": {"planned": said}}, subresource="status")
    with forbidden("nothing else of its status"):
        planner.merge(GPU_NODE, nobodys_node, {"status": {"agentVersion": "9"}}, subresource="status")
    metadata: list[Object] = [{"finalizers": ["a.b/c"]}, {"labels": {"a": "b"}}, {"annotations": {"a": "b"}}]
    for each in metadata:
        with forbidden("nothing of a GpuNode's metadata"):
            planner.merge(GPU_NODE, nobodys_node, {"metadata": each})
    with forbidden():
        planner.delete(GPU_NODE, nobodys_node)
    # The planner that runs puts its own word in the place of ours.
    told = ("AgentSilent", "AgentNotReported")
    assert any(reason in cluster.kubectl("get", "gn", nobodys_node) for reason in told)


def test_the_planner_evicts_a_pod_by_its_uid_only_and_with_the_token_of_a_planner_that_runs(
    cluster: Cluster, api: Api, namespace: str, gpu_node: GpuNode
) -> None:
    uid = api.create(POD, pod_on(gpu_node.name, "here"), namespace)["metadata"]["uid"]
    running = api.items(POD, PLANNER_NAMESPACE, labelSelector="app.kubernetes.io/component=planner")[0]["metadata"][
        "name"
    ]
    asked = ("create", "token", "planner", f"--namespace={PLANNER_NAMESPACE}")
    unbound = cluster.kubectl(*asked).strip()
    bound = cluster.kubectl(*asked, "--bound-object-kind=Pod", f"--bound-object-name={running}").strip()

    def evict(token: str, options: Object) -> None:
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "here"}, "deleteOptions": options}
        Api.of_kubeconfig(cluster.kubeconfig, token=token).call("POST", f"{POD.path(namespace, 'here')}/eviction", body)

    by_uid: Object = {"preconditions": {"uid": uid}}
    with forbidden("bound to no pod"):
        evict(unbound, by_uid)
    with forbidden("by its UID"):
        evict(bound, {})
    evict(bound, by_uid)


def test_the_planner_lifts_its_gate_and_changes_nothing_else_of_a_pod(
    cluster: Cluster, api: Api, namespace: str, gpu_node: GpuNode
) -> None:
    gates = [{"name": GATE}, {"name": "somebody.else/gate"}]
    slices = {"limits": {"nvidia.com/mig-1g.5gb": "1"}}  # without, the planner that runs lets it go
    spec = {"containers": [{"name": "wait", "image": FUNCTION_IMAGE, "resources": slices}], "schedulingGates": gates}
    api.create(POD, {"metadata": {"name": "gated"}, "spec": spec}, namespace)
    token = cluster.kubectl("create", "token", "planner", f"--namespace={PLANNER_NAMESPACE}").strip()
    planner = Api.of_kubeconfig(cluster.kubeconfig, token=token)

    def patch(*operations: Object) -> None:
        planner.call("PATCH", POD.path(namespace, "gated"), list(operations), content_type=JSON_PATCH)

    lift: Object = {"op": "remove", "path": "/spec/schedulingGates/0"}
    here = {"op": "add", "path": "/spec/nodeSelector", "value": {"kubernetes.io/hostname": gpu_node.name}}
    image = {"op": "replace", "path": "/spec/containers/0/image", "value": "dev.local/other:dev"}
    label = {"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}
    others = {"op": "remove", "path": "/spec/schedulingGates/1"}
    elsewhere = {"op": "add", "path": "/spec/nodeSelector", "value": {"a": "b"}}
    for refused in ([image], [label], [others], [here], [lift, image], [lift, label], [lift, elsewhere]):
        with forbidden("the planner"):
            patch(*refused)
    with forbidden():
        planner.delete(POD, "gated", namespace)
    cost = "controller.kubernetes.io/pod-deletion-cost"
    mark: Object = {"op": "add", "path": "/metadata/annotations", "value": {cost: "-5"}}
    note: Object = {"op": "add", "path": "/metadata/annotations", "value": {cost: "-5", "a": "b"}}
    ours: Object = {"op": "add", "path": "/metadata/annotations/knative-mig.dev~1node", "value": gpu_node.name}
    not_so = {**ours, "value": "elsewhere"}
    for also_refused in (
        [note],
        [mark, here],
        [mark, image],
        [mark, ours],
        [mark, lift, ours],
        [mark, lift, here, not_so],
    ):
        with forbidden("the planner"):
            patch(*also_refused)
    patch(mark)
    patch(lift, here, ours)
    left = api.get(POD, "gated", namespace)["spec"]
    assert left["schedulingGates"] == gates[1:]
    assert left["nodeSelector"] == {"kubernetes.io/hostname": gpu_node.name}


def test_the_planner_says_of_a_pod_what_became_of_its_slice_and_nothing_else_of_its_status(
    cluster: Cluster, api: Api, namespace: str
) -> None:
    spec = {"containers": [{"name": "wait", "image": FUNCTION_IMAGE}], "schedulingGates": [{"name": "a.b/gate"}]}
    api.create(POD, {"metadata": {"name": "gated"}, "spec": spec}, namespace)
    token = cluster.kubectl("create", "token", "planner", f"--namespace={PLANNER_NAMESPACE}").strip()
    planner = Api.of_kubeconfig(cluster.kubeconfig, token=token)
    path = f"{POD.path(namespace, 'gated')}/status"

    def write(patch: Object, content_type: str = STRATEGIC_MERGE_PATCH) -> Object:
        return planner.call("PATCH", path, patch, content_type=content_type)

    def said(kind: str, status: str = "True") -> Object:
        return {"type": kind, "status": status, "reason": "NoFreePlace", "lastTransitionTime": "2026-01-01T00:00:00Z"}

    ours, ready = said("knative-mig.dev/Slice", "False"), said("Ready")
    uid = api.get(POD, "gated", namespace)["metadata"]["uid"]
    elsewhere: list[Object] = [
        {"status": {"conditions": [ready]}},
        {"status": {"conditions": [ours, said("knative-mig.dev/Other")]}},
        {"status": {"phase": "Running"}},
        {"status": {"conditions": [ours], "message": "it is well"}},
        {"metadata": {"labels": {"a": "b"}}},
        {"metadata": {"annotations": {"a": "b"}}, "status": {"conditions": [ours]}},
    ]
    for each in elsewhere:
        with forbidden("the planner"):
            write(each)
    with forbidden("the planner"):
        write({"status": {"conditions": [ours]}}, MERGE_PATCH)  # which takes the others away
    write({"metadata": {"uid": uid}, "status": {"conditions": [ours]}})
    write({"metadata": {"uid": uid}, "status": {"conditions": [{**ours, "status": "True"}]}})
    found = {each["type"]: each["status"] for each in api.get(POD, "gated", namespace)["status"]["conditions"]}
    assert found == {"PodScheduled": "False", "knative-mig.dev/Slice": "True"}
    with pytest.raises(RefusedError):
        write({"metadata": {"uid": "another"}, "status": {"conditions": [ours]}})


_SCALING = "autoscaling.knative.dev"


def test_the_planner_writes_the_floor_of_a_revision_and_changes_nothing_else_of_it(
    cluster: Cluster, function: DeployFunction, namespace: str
) -> None:
    """All is only tried (`dryRun`): it would scale the function, and the floor that runs has a say in it."""
    note = "example.com/note"
    revision = function("llm", annotations={f"{_SCALING}/initial-scale": "0", note: "a"}).revision
    token = cluster.kubectl("create", "token", "planner", f"--namespace={PLANNER_NAMESPACE}").strip()
    planner = Api.of_kubeconfig(cluster.kubeconfig, token=token)

    def tried(patch: Object) -> Object:
        path = f"{REVISION.path(namespace, revision)}?dryRun=All"
        return planner.call("PATCH", path, patch, content_type=MERGE_PATCH)

    words = {"min-scale": "2", "max-scale": "3", "target": "4", "initial-scale": "2", "window": "9s"}
    floor = {f"{_SCALING}/{word}": value for word, value in words.items()}
    written = tried({"metadata": {"annotations": floor}})["metadata"]["annotations"]
    assert written.items() >= {**floor, note: "a"}.items()

    annotations: list[Object] = [{note: "b"}, {note: None}, {MIN_SCALE: "2", f"{_SCALING}/metric": "rps"}]
    for each in annotations:
        with forbidden("the floor's annotations"):
            tried({"metadata": {"annotations": each}})
    metadata: list[Object] = [{"labels": {"a": "b"}}, {"finalizers": ["a.b/c"]}, {"ownerReferences": []}]
    for each in metadata:
        with forbidden("nothing else of a Revision"):
            tried({"metadata": each})
    container = {"name": "user-container", "image": "dev.local/other:dev"}
    spec: list[Object] = [{"containers": [container]}, {"timeoutSeconds": 100}, {"serviceAccountName": "planner"}]
    for each in spec:  # Knative's webhook may write on it, too, who changed it
        with forbidden("'knative-mig-planner-floor'"):
            tried({"spec": each})
    with forbidden():
        planner.delete(REVISION, revision, namespace)


def test_the_webhook_makes_one_secret_in_a_namespace_reads_none_and_makes_no_credentials(
    cluster: Cluster, api: Api, namespace: str
) -> None:
    token = cluster.kubectl("create", "token", "webhook", f"--namespace={PLANNER_NAMESPACE}").strip()
    webhook = Api.of_kubeconfig(cluster.kubeconfig, token=token)
    secret: Object = {
        "metadata": {"name": "knative-mig-relay"}, "type": "Opaque", "immutable": True, "data": {"secret": "eA=="},
    }  # fmt: skip
    account = {"kubernetes.io/service-account.name": "default"}
    for wrong, why in (
        ({**secret, "metadata": {"name": "other"}}, "and no other"),
        ({**secret, "immutable": False}, "means nothing to Kubernetes"),
        ({**secret, "data": {"secret": "eA==", "token": "eA=="}}, "means nothing to Kubernetes"),
        ({**secret, "metadata": {"name": "knative-mig-relay", "annotations": account}}, "means nothing to Kubernetes"),
        (
            {
                "metadata": {"name": "knative-mig-relay", "annotations": account},
                "type": "kubernetes.io/service-account-token",
            },
            "means nothing to Kubernetes",
        ),
    ):
        with forbidden(why):
            webhook.create(_SECRET, wrong, namespace)
    webhook.create(_SECRET, secret, namespace)
    with forbidden():
        webhook.get(_SECRET, "knative-mig-relay", namespace)
    planner = cluster.kubectl("create", "token", "planner", f"--namespace={PLANNER_NAMESPACE}").strip()
    assert Api.of_kubeconfig(cluster.kubeconfig, token=planner).get(_SECRET, "knative-mig-relay", namespace)[
        "immutable"
    ]
    api.create(_SECRET, {"metadata": {"name": "other"}}, namespace)
    with forbidden():
        Api.of_kubeconfig(cluster.kubeconfig, token=planner).get(_SECRET, "other", namespace)
