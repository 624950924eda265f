"""What is installed: every file once and in its order, rights that name what they are for, pods that need little."""

from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from activator_hooks.source.__main__ import PLANNER as SINK
from activator_hooks.source.__main__ import command as source
from knative_mig.core.cluster.leadership import MOST_TOKEN
from knative_mig.core.events import PENDING
from knative_mig.core.gpu_node import GATE, LAYOUT_LABEL
from knative_mig.core.relays import MOVE_PORT, SECRET_NAME
from reconfigurer.agent.__main__ import command as agent
from reconfigurer.planner.__main__ import command as planner

CONFIG = Path(__file__).parents[3] / "config"
CORE = CONFIG / "core"
Object = dict[str, Any]

# All that each may do, in words short enough to be read as a whole: resource (in which group): verbs.
MAY = {
    "ClusterRole/knative-mig-planner": {
        "gpunodes.knative-mig.dev": "get list patch watch",
        "gpunodes/status.knative-mig.dev": "patch",
        "nodes": "get list watch",
        "pods": "get list patch watch",
        "pods/status": "patch",
        "pods/eviction": "create",
        "revisions.serving.knative.dev": "list patch watch",
        "resourcequotas": "list watch",
        "events": "create patch",
        "secrets knative-mig-relay": "get",
    },
    "Role/planner": {
        "leases.coordination.k8s.io": "create",
        "leases.coordination.k8s.io knative-mig-planner": "get update",
        "configmaps": "create list watch",
        "configmaps knative-mig-meters": "get update",
        "configmaps knative-mig-floor": "get update",
        "configmaps knative-mig-moves": "get update",
        "configmaps floor-move": "get update",
    },
    "ClusterRole/knative-mig-agent": {
        "gpunodes.knative-mig.dev": "create get list watch",
        "gpunodes/status.knative-mig.dev": "patch",
        "nodes": "get",
        "nodes/status": "patch",
        "pods": "delete get list watch",
        "pods/eviction": "create",
        "events": "create patch",
    },
    "ClusterRole/knative-mig-source": {
        "pods": "list watch",
        "revisions.serving.knative.dev": "list watch",
        "podautoscalers.autoscaling.internal.knative.dev": "list watch",
    },
    "ClusterRole/knative-mig-webhook": {
        "mutatingwebhookconfigurations.admissionregistration.k8s.io admission.knative-mig.dev": "get patch",
        "validatingwebhookconfigurations.admissionregistration.k8s.io admission.knative-mig.dev": "get patch",
        "gpunodes.knative-mig.dev": "list watch",
        "secrets": "create",
    },
    "Role/webhook": {"secrets knative-mig-webhook-certs": "get update"},
    "Role/knative-mig-webhook": {"configmaps config-defaults": "list watch"},
    "Role/heartbeats": {"leases.coordination.k8s.io": "list watch"},
    "Role/agent": {"leases.coordination.k8s.io": "create get update"},
}


@cache
def documents() -> tuple[Object, ...]:
    """Read once: no test changes one."""
    paths = sorted(CORE.glob("[0-9]*.yaml"))
    return tuple(each for path in paths for each in yaml.safe_load_all(path.read_text()) if each)


def one(kind: str, name: str) -> Object:
    [found] = [each for each in documents() if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def pod_of(kind: str, name: str) -> Object:
    found: Object = one(kind, name)["spec"]["template"]["spec"]
    return found


def test_every_file_is_applied_once_in_the_order_of_its_number() -> None:
    listed = yaml.safe_load((CORE / "kustomization.yaml").read_text())["resources"]
    assert listed == sorted(path.name for path in CORE.glob("[0-9]*.yaml"))


def test_no_two_objects_are_the_same() -> None:
    names = [(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in documents()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("role", sorted(MAY))
def test_a_role_grants_what_it_needs_and_no_more(role: str) -> None:
    kind, _, name = role.partition("/")
    granted: dict[str, set[str]] = {}
    for rule in one(kind, name)["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                what = f"{resource}.{group}".rstrip(".")
                for each in rule.get("resourceNames", [""]):
                    granted.setdefault(f"{what} {each}".rstrip(), set()).update(rule["verbs"])
    assert {what: " ".join(sorted(verbs)) for what, verbs in granted.items()} == MAY[role]


def test_every_role_is_in_the_table_above() -> None:
    assert {f"{each['kind']}/{each['metadata']['name']}" for each in documents() if "rules" in each} == set(MAY)


def test_every_binding_binds_a_role_that_is_there_to_an_account_that_is_there() -> None:
    accounts = {
        (each["metadata"]["namespace"], each["metadata"]["name"])
        for each in documents()
        if each["kind"] == "ServiceAccount"
    }
    bindings = [each for each in documents() if each["kind"].endswith("RoleBinding")]
    assert len(bindings) == len(MAY)
    for each in bindings:
        assert f"{each['roleRef']['kind']}/{each['roleRef']['name']}" in MAY
        assert {(subject["namespace"], subject["name"]) for subject in each["subjects"]} <= accounts


def test_every_policy_is_bound_and_denies() -> None:
    policies = {each["metadata"]["name"]: each for each in documents() if each["kind"] == "ValidatingAdmissionPolicy"}
    bound = [each["spec"] for each in documents() if each["kind"] == "ValidatingAdmissionPolicyBinding"]
    assert {each["policyName"] for each in bound} == set(policies)
    assert all(each["validationActions"] == ["Deny"] for each in bound)
    assert all(each["spec"]["failurePolicy"] == "Fail" for each in policies.values())


def test_the_agents_policies_answer_a_user_who_has_no_extra_too() -> None:
    """An expression that fails is a refusal that says nothing."""
    for each in documents():
        if each["kind"] == "ValidatingAdmissionPolicy" and each["metadata"]["name"].startswith("knative-mig-agent"):
            assert "userInfo.extra" not in str(each["spec"])


def test_the_policies_know_the_accounts_and_the_gate_by_their_names() -> None:
    accounts = {
        f"system:serviceaccount:{each['metadata']['namespace']}:{each['metadata']['name']}"
        for each in documents()
        if each["kind"] == "ServiceAccount"
    }
    policies = [each for each in documents() if each["kind"] == "ValidatingAdmissionPolicy"]
    for each in policies:
        [condition] = each["spec"]["matchConditions"]
        assert condition["expression"].split("'")[1] in accounts
    gates = one("ValidatingAdmissionPolicy", "knative-mig-planner-gates")["spec"]["validations"][1]["expression"]
    assert f"'{GATE}'" in gates


def test_of_a_gpu_nodes_status_the_planner_may_write_its_own_word_alone() -> None:
    [version] = one("CustomResourceDefinition", "gpunodes.knative-mig.dev")["spec"]["versions"]
    fields = set(version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]) - {"planned"}
    asked = one("ValidatingAdmissionPolicy", "knative-mig-planner-gpunodes")["spec"]["validations"]
    [kept] = [each["expression"] for each in asked if "status" in each["expression"]]
    assert set(kept.split(" && ")) == {f"object.?status.?{name} == oldObject.?status.?{name}" for name in fields}


def test_the_api_server_takes_no_token_above_which_nobody_could_lead() -> None:
    [version] = one("CustomResourceDefinition", "gpunodes.knative-mig.dev")["spec"]["versions"]
    token = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["fencingToken"]
    assert (token["minimum"], token["maximum"]) == (0, MOST_TOKEN)


def test_an_agent_makes_its_gpu_node_without_a_fencing_token_and_without_gpus() -> None:
    """With the highest token that the API server takes, no planner could lead any more."""
    spec = one("ValidatingAdmissionPolicy", "knative-mig-agent-new-gpunodes")["spec"]
    [rule] = spec["matchConstraints"]["resourceRules"]
    assert (rule["resources"], rule["operations"]) == (["gpunodes"], ["CREATE"])
    [asked] = spec["validations"]
    assert asked["expression"].split(" && ") == [
        "object.?spec.?fencingToken.orValue(0) == 0",
        "object.?spec.?gpus.orValue([]).size() == 0",
    ]


@pytest.mark.parametrize("name", ["planner", "source", "knative-mig-webhook"])
def test_what_needs_nothing_of_a_node_keeps_to_the_restricted_level(name: str) -> None:
    pod = pod_of("Deployment", name)
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] == 65532
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostPID", "hostNetwork", "hostIPC", "volumes"} & set(pod)


def test_pods_are_held_to_the_restricted_level_everywhere_but_where_the_agent_alone_lives() -> None:
    levels = {
        each["metadata"]["name"]: each["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        for each in documents()
        if each["kind"] == "Namespace"
    }
    assert levels == {"knative-mig": "restricted", "knative-mig-agent": "privileged"}
    kinds = {"Deployment", "DaemonSet", "StatefulSet", "Job", "CronJob", "Pod"}
    with_the_agent = [
        each["metadata"]["name"]
        for each in documents()
        if each["kind"] in kinds and each["metadata"]["namespace"] == "knative-mig-agent"
    ]
    assert with_the_agent == ["agent"]


def test_the_agent_is_root_without_a_capability_and_writes_only_to_folders_that_are_named() -> None:
    pod = pod_of("DaemonSet", "agent")
    [container] = pod["containers"]
    security = container["securityContext"]
    assert security["privileged"] is False
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert pod["hostPID"] is True
    assert not {"hostNetwork", "hostIPC"} & set(pod)
    assert {volume["hostPath"]["path"] for volume in pod["volumes"] if "hostPath" in volume} == {
        "/var/lib/kubelet/device-plugins",
        "/var/lib/kubelet/pod-resources",
        "/var/run/cdi",
        "/var/lib/knative-mig",
        "/var/run/knative-mig",
    }


def test_a_folder_of_the_node_has_the_same_path_inside_the_agent() -> None:
    """The agent tells the kubelet paths to mount, and it knows only its own."""
    pod = pod_of("DaemonSet", "agent")
    inside = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    for volume in pod["volumes"]:
        assert "hostPath" not in volume or inside[volume["name"]] == volume["hostPath"]["path"]


def test_on_nvidias_gpus_the_agent_has_one_capability_and_the_right_to_cut() -> None:
    patch = yaml.safe_load((CONFIG / "overlays" / "nvidia" / "agent.yaml").read_text())["spec"]["template"]["spec"]
    [container] = patch["containers"]
    assert container["securityContext"] == {"capabilities": {"add": ["SYS_ADMIN"]}}
    assert {each["name"]: each["value"] for each in container["env"]} == {
        "NVIDIA_VISIBLE_DEVICES": "all",
        "NVIDIA_MIG_CONFIG_DEVICES": "all",
        "NVIDIA_MIG_MONITOR_DEVICES": "all",
        "NVIDIA_DRIVER_CAPABILITIES": "utility",
    }
    assert patch["runtimeClassName"] == "nvidia"


def test_on_nvidias_gpus_no_agent_is_placed_beside_another_owner_of_a_dynamic_node() -> None:
    patch = yaml.safe_load((CONFIG / "overlays" / "nvidia" / "agent.yaml").read_text())["spec"]["template"]["spec"]
    affinity = patch["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    dynamic, static = (
        {each["key"]: (each["operator"], each["values"]) for each in term["matchExpressions"]}
        for term in affinity["nodeSelectorTerms"]
    )
    assert dynamic[LAYOUT_LABEL] == ("NotIn", ["static"])
    assert dynamic["nvidia.com/gpu.deploy.mig-manager"] == ("In", ["false"])
    assert dynamic["nvidia.com/gpu.deploy.device-plugin"] == ("In", ["false"])
    assert dynamic["nvidia.com/gpu.deploy.dra-driver"] == ("NotIn", ["true"])
    assert static[LAYOUT_LABEL] == ("In", ["static"])


def options_of(command: click.Command) -> dict[str, click.Option]:
    return {word: each for each in command.params if isinstance(each, click.Option) for word in each.opts}


def test_the_planner_is_told_only_what_it_understands() -> None:
    [container] = pod_of("Deployment", "planner")["containers"]
    assert container["args"] == ["-m", "reconfigurer.planner"]
    understood = {name for option in options_of(planner).values() for name in _names(option)}
    # By its pod's name it holds the lease.
    assert {each["name"] for each in container["env"]} <= understood | {"POD_NAME"}


def test_one_of_two_planners_is_always_there() -> None:
    deployment, budget = one("Deployment", "planner")["spec"], one("PodDisruptionBudget", "planner")["spec"]
    assert deployment["replicas"] == 2
    assert budget["minAvailable"] == 1
    assert budget["selector"] == deployment["selector"]


def test_every_workload_has_a_policy_for_its_traffic() -> None:
    workloads = {
        (each["metadata"]["namespace"], str(each["spec"]["selector"]["matchLabels"]))
        for each in documents()
        if each["kind"] in ("Deployment", "DaemonSet")
    }
    policies = [each for each in documents() if each["kind"] == "NetworkPolicy"]
    assert all(each["spec"]["policyTypes"] == ["Ingress", "Egress"] for each in policies)
    governed = {(each["metadata"]["namespace"], str(each["spec"]["podSelector"]["matchLabels"])) for each in policies}
    assert governed == workloads


def test_events_that_are_sent_to_the_planner_reach_its_door_and_each_other_replicas() -> None:
    [container] = pod_of("Deployment", "planner")["containers"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    door = next(option for option in options_of(planner).values() if option.name == "events_port")
    assert ports["events"] == door.default
    service = one("Service", "planner")["spec"]
    assert service["selector"] == one("Deployment", "planner")["spec"]["selector"]["matchLabels"]
    assert [(each["port"], each["targetPort"]) for each in service["ports"]] == [(80, "events")]
    assert "POD_IP" in {each["name"] for each in container["env"]}
    policy = one("NetworkPolicy", "planner")["spec"]
    [senders] = [rule["from"] for rule in policy["ingress"] if rule["ports"] == [{"port": "events"}]]
    assert {"podSelector": {}} in senders
    assert [{"port": ports["events"]}] in [rule["ports"] for rule in policy["egress"]]


def test_the_planner_may_call_relays_and_read_the_secret_that_they_ask_for() -> None:
    egress = one("NetworkPolicy", "planner")["spec"]["egress"]
    # Pods alone: an address of the network outside is no relay's, and is not to be told a secret.
    assert {"ports": [{"port": MOVE_PORT}], "to": [{"namespaceSelector": {}}]} in egress
    assert MAY["ClusterRole/knative-mig-planner"][f"secrets {SECRET_NAME}"] == "get"


def test_the_source_is_told_nothing_and_sends_to_the_planner() -> None:
    [container] = pod_of("Deployment", "source")["containers"]
    assert container["args"] == ["-m", "activator_hooks.source"]
    assert "env" not in container  # a SinkBinding may take K_SINK away again, and then the default has to be right
    [sink] = [option for option in source.params if option.name == "sink"]
    service = one("Service", "planner")["metadata"]
    assert sink.default == SINK == f"http://{service['name']}.{service['namespace']}.svc"
    assert sink.envvar == "K_SINK"


def test_the_sources_ports_are_those_of_its_options_and_its_policy_lets_its_events_out() -> None:
    [container] = pod_of("Deployment", "source")["containers"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    defaults = {option.name: option.default for option in source.params}
    assert ports == {"letters": defaults["dead_letters_port"], "ops": defaults["ops_port"]}
    egress = one("NetworkPolicy", "source")["spec"]["egress"]
    [events] = [container["containerPort"] for container in _ports_of("planner") if container["name"] == "events"]
    planner_alone = [{"podSelector": one("Deployment", "planner")["spec"]["selector"]}]
    assert {"ports": [{"port": events}], "to": planner_alone} in egress


def _ports_of(deployment: str) -> list[dict[str, Any]]:
    [container] = pod_of("Deployment", deployment)["containers"]
    found: list[dict[str, Any]] = container["ports"]
    return found


@cache
def of_eventing() -> tuple[Object, ...]:
    folder = CONFIG / "overlays" / "eventing"
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    assert listed == sorted(path.name for path in folder.glob("*.yaml") if path.name != "kustomization.yaml")
    return tuple(each for name in listed for each in yaml.safe_load_all((folder / name).read_text()))


class TestEventing:
    """A Broker between the source and the planner."""

    @staticmethod
    def one(kind: str, name: str = "") -> Object:
        assert all(each["metadata"]["namespace"] == "knative-mig" for each in of_eventing())
        [only] = [each for each in of_eventing() if each["kind"] == kind and name in ("", each["metadata"]["name"])]
        return dict(only)

    @pytest.mark.parametrize("whose", ["source", "planner"])
    def test_who_sends_events_is_bound_to_the_broker(self, whose: str) -> None:
        binding, broker, bound = self.one("SinkBinding", whose), self.one("Broker"), one("Deployment", whose)
        subject, sink = binding["spec"]["subject"], binding["spec"]["sink"]["ref"]
        assert (subject["apiVersion"], subject["kind"]) == (bound["apiVersion"], bound["kind"])
        assert (subject["namespace"], subject["name"]) == (bound["metadata"]["namespace"], bound["metadata"]["name"])
        assert (sink["apiVersion"], sink["kind"]) == (broker["apiVersion"], broker["kind"])
        assert (sink["namespace"], sink["name"]) == (broker["metadata"]["namespace"], broker["metadata"]["name"])
        assert bound["metadata"]["labels"]["bindings.knative.dev/include"] == "true"
        told = pod_of("Deployment", whose)["containers"][0].get("env", [])
        assert "K_SINK" not in {each["name"] for each in told}  # a SinkBinding's to set, and to take away again
        eventing = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "knative-eventing"}}}
        assert any(eventing in rule.get("to", []) for rule in one("NetworkPolicy", whose)["spec"]["egress"])

    def test_the_planner_hears_of_pending_revisions_and_nothing_else(self) -> None:
        trigger, service = self.one("Trigger")["spec"], one("Service", "planner")
        assert trigger["broker"] == self.one("Broker")["metadata"]["name"]
        assert trigger["filter"] == {"attributes": {"type": PENDING}}
        subscriber = trigger["subscriber"]["ref"]
        assert (subscriber["apiVersion"], subscriber["kind"]) == (service["apiVersion"], service["kind"])
        assert (subscriber["namespace"], subscriber["name"]) == ("knative-mig", service["metadata"]["name"])

    def test_what_nobody_takes_comes_to_the_source(self) -> None:
        letters = self.one("Service")
        ref = {"apiVersion": "v1", "kind": "Service", "name": letters["metadata"]["name"], "namespace": "knative-mig"}
        assert self.one("Trigger")["spec"]["delivery"]["deadLetterSink"] == {"ref": ref}
        assert self.one("Broker")["spec"]["delivery"]["deadLetterSink"] == {"ref": ref}
        assert letters["spec"]["selector"] == one("Deployment", "source")["spec"]["selector"]["matchLabels"]
        [port] = letters["spec"]["ports"]
        assert port["port"] == 80
        assert port["targetPort"] in {each["name"] for each in _ports_of("source")}
        ingress = one("NetworkPolicy", "source")["spec"]["ingress"]
        [rule] = [each for each in ingress if each["ports"] == [{"port": port["targetPort"]}]]
        eventing = {"matchLabels": {"kubernetes.io/metadata.name": "knative-eventing"}}
        assert {"namespaceSelector": eventing} in rule["from"]


@pytest.mark.parametrize("overlay", ["core", "overlays/nvidia", "overlays/simulated"])
def test_the_agent_is_told_only_what_it_understands(overlay: str) -> None:
    manifest = CONFIG / overlay / ("510-agent.yaml" if overlay == "core" else "agent.yaml")
    [container] = yaml.safe_load(manifest.read_text())["spec"]["template"]["spec"]["containers"]
    words = container.get("args", [])
    if words:
        assert words[:2] == ["-m", "reconfigurer.agent"]
        assert {word.partition("=")[0] for word in words[2:]} <= set(options_of(agent))
    understood = {name for option in options_of(agent).values() for name in _names(option)}
    told = {each["name"] for each in container.get("env", []) if not each["name"].startswith("NVIDIA_")}
    assert told <= understood


def _names(option: click.Option) -> list[str]:
    own = f"KNATIVE_MIG_{option.name}".upper()
    return [own] if option.envvar is None else [option.envvar] if isinstance(option.envvar, str) else [*option.envvar]
