"""Which pods are refused: those that no kubelet could run or no scheduler place, in the real one's words."""

from typing import Any

import pytest

from knative_mig.adapters.kube import parse
from knative_mig.dev.node import pod_spec
from tests.rigs.api_server import PODS, Answered, Json, Rig

_AT = "spec.containers[0]"
_CONTAINER: Json = {"name": "a", "image": "x"}
_BETWEEN = "must be between 1 and 65535, inclusive"
_CHARACTERS = "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
_EFFECTS = 'supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"'
_DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


@pytest.fixture
def rig() -> Rig:
    return Rig()


def _said(rig: Rig, **spec: Any) -> str:
    with pytest.raises(Answered) as refused:
        rig.create(PODS, "p", spec={"containers": [_CONTAINER], **spec})
    assert refused.value.code == 422
    return "\n".join(f"{each['field']}: {each['message']}" for each in refused.value.body["details"]["causes"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": ""}, f"{_AT}.name: Required value"),
        ({"name": None}, f"{_AT}.name: Required value"),
        ({"name": "A"}, f'{_AT}.name: Invalid value: "A": a lowercase RFC 1123 label must consist of'),
        ({"name": "a.b"}, f'{_AT}.name: Invalid value: "a.b": must not contain dots'),
        ({"ports": [{"containerPort": 0}]}, f"{_AT}.ports[0].containerPort: Required value"),
        ({"ports": [{"containerPort": 70000}]}, f"{_AT}.ports[0].containerPort: Invalid value: 70000: {_BETWEEN}"),
        ({"ports": [{"containerPort": -1}]}, f"{_AT}.ports[0].containerPort: Invalid value: -1: {_BETWEEN}"),
        ({"ports": [{"containerPort": 1, "name": "A_"}]}, f'{_AT}.ports[0].name: Invalid value: "A_": {_CHARACTERS}'),
        (
            {"ports": [{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]},
            f'{_AT}.ports[1].name: Duplicate value: "a"',
        ),
        ({"livenessProbe": {}}, f"{_AT}.livenessProbe: Required value: must specify a handler type"),
        (
            {"readinessProbe": {"httpGet": {"port": "a/b"}}},
            f'{_AT}.readinessProbe.httpGet.port: Invalid value: "a/b": {_CHARACTERS}',
        ),
        (
            {"readinessProbe": {"tcpSocket": {"port": "80"}}},
            f'{_AT}.readinessProbe.tcpSocket.port: Invalid value: "80": must contain at least one letter (a-z)',
        ),
        ({"readinessProbe": {"tcpSocket": {}}}, f"{_AT}.readinessProbe.tcpSocket.port: Invalid value: 0: {_BETWEEN}"),
        ({"startupProbe": {"grpc": {"port": 0}}}, f"{_AT}.startupProbe.grpc.port: Invalid value: 0: {_BETWEEN}"),
        ({"livenessProbe": {"exec": {}}}, f"{_AT}.livenessProbe.exec.command: Required value"),
        (
            {"livenessProbe": {"exec": {"command": ["a"]}, "grpc": {"port": 1}}},
            f"{_AT}.livenessProbe.grpc: Forbidden: may not specify more than 1 handler type",
        ),
        (
            {"livenessProbe": {"grpc": {"port": 1}, "periodSeconds": -1}},
            f"{_AT}.livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            {"livenessProbe": {"grpc": {"port": 1}, "successThreshold": 2}},
            f"{_AT}.livenessProbe.successThreshold: Invalid value: 2: must be 1",
        ),
        (
            {"livenessProbe": {"grpc": {"port": 1}, "terminationGracePeriodSeconds": 0}},
            f"{_AT}.livenessProbe.terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0",
        ),
        (
            {"livenessProbe": {"httpGet": {"port": 1, "httpHeaders": [{"name": "", "value": "a"}]}}},
            f'{_AT}.livenessProbe.httpGet.httpHeaders: Invalid value: "": a valid HTTP header must consist of',
        ),
        (
            {"lifecycle": {"preStop": {"sleep": {"seconds": -1}}}},
            f"{_AT}.lifecycle.preStop.sleep: Invalid value: -1: must be non-negative and less than",
        ),
        ({"env": [{"name": ""}]}, f"{_AT}.env[0].name: Required value"),
        (
            {"env": [{"name": "a=b"}]},
            f'{_AT}.env[0].name: Invalid value: "a=b": a valid environment variable name must',
        ),
        ({"env": [{"name": "A", "valueFrom": {}}]}, f'{_AT}.env[0].valueFrom: Invalid value: "": must specify one of'),
        (
            {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": ""}}}]},
            f"{_AT}.env[0].valueFrom.secretKeyRef.key: Required value",
        ),
        (
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]},
            f'{_AT}.env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "spec.x": supported values: "metadata',
        ),
        (
            {"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": ""}}}]},
            f"{_AT}.env[0].valueFrom.resourceFieldRef.resource: Required value",
        ),
        ({"envFrom": [{}]}, f'{_AT}.envFrom[0]: Invalid value: "": must specify one of: `configMapRef` or `secretRef`'),
        ({"envFrom": [{"secretRef": {}}]}, f"{_AT}.envFrom[0].secretRef.name: Required value"),
        ({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}, f'{_AT}.volumeMounts[0].name: Not found: "v"'),
        ({"volumeMounts": [{"name": "v", "mountPath": ""}]}, f"{_AT}.volumeMounts[0].mountPath: Required value"),
        (
            {"resources": {"limits": {"cpu": "-1"}}},
            f'{_AT}.resources.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0',
        ),
    ],
)
def test_a_container_is_held_to_its_form(rig: Rig, change: Json, said: str) -> None:
    container = {key: value for key, value in {**_CONTAINER, **change}.items() if value is not None}
    found = _said(rig, containers=[container])
    assert said in found
    assert len(set(found.splitlines())) == len(found.splitlines())


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"containers": [_CONTAINER, _CONTAINER]}, 'spec.containers[1].name: Duplicate value: "a"'),
        ({"initContainers": [_CONTAINER]}, 'spec.initContainers[0].name: Duplicate value: "a"'),
        ({"initContainers": [{"image": "x", "name": ""}]}, "spec.initContainers[0].name: Required value"),
        (
            {"initContainers": [{"image": "x", "name": "b", "livenessProbe": {"grpc": {"port": 1}}}]},
            "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without",
        ),
        ({"volumes": [{"name": ""}]}, "spec.volumes[0].name: Required value"),
        ({"volumes": [{"name": "v"}, {"name": "v"}]}, 'spec.volumes[1].name: Duplicate value: "v"'),
        ({"volumes": [{"name": "v", "secret": {}}]}, "spec.volumes[0].secret.secretName: Required value"),
        (
            {"volumes": [{"name": "v", "configMap": {"name": "c", "items": [{"key": "", "path": "a"}]}}]},
            "spec.volumes[0].configMap.items[0].key: Required value",
        ),
        (
            {"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": ""}}]}}]},
            "spec.volumes[0].projected.sources[0].secret.name: Required value",
        ),
        (
            {"volumes": [{"name": "v", "downwardAPI": {"items": [{"path": ""}]}}]},
            "spec.volumes[0].downwardAPI.items[0].path: Required value",
        ),
        (
            {"volumes": [{"name": "v", "downwardAPI": {"items": [{"path": "a"}]}}]},
            "spec.volumes[0].downwardAPI.items[0]: Required value: one of fieldRef and resourceFieldRef is required",
        ),
        (
            {
                "volumes": [
                    {"name": "v", "downwardAPI": {"items": [{"path": "a", "resourceFieldRef": {"resource": ""}}]}}
                ]
            },
            "spec.volumes[0].downwardAPI.items[0].resourceFieldRef.containerName: Required value",
        ),
        (
            {
                "volumes": [
                    {"name": "v", "downwardAPI": {"items": [{"path": "a", "fieldRef": {"fieldPath": "spec.x"}}]}}
                ]
            },
            'spec.volumes[0].downwardAPI.items[0].fieldRef.fieldPath: Unsupported value: "spec.x": supported values: ',
        ),
        (
            {"restartPolicy": "Sometimes"},
            'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"',
        ),
        (
            {"activeDeadlineSeconds": 0},
            "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
        ),
        ({"schedulingGates": [{"name": ""}]}, 'spec.schedulingGates[0]: Invalid value: "": name part must'),
        (
            {"tolerations": [{"key": "a", "effect": "NoSchedul"}]},
            f'spec.tolerations[0].effect: Unsupported value: "NoSchedul": {_EFFECTS}',
        ),
        (
            {"tolerations": [{"key": "a", "operator": "Is"}]},
            'spec.tolerations[0].operator: Unsupported value: "Is": supported values: "Equal", "Exists"',
        ),
    ],
)
def test_a_pod_is_held_to_its_form(rig: Rig, spec: Json, said: str) -> None:
    assert said in _said(rig, **spec)


@pytest.mark.parametrize(
    ("requirement", "said"),
    [
        ({"key": "a", "operator": "Is"}, 'operator: Invalid value: "Is": not a valid selector operator'),
        ({"key": "", "operator": "Exists"}, 'key: Invalid value: "": name part must'),
        ({"key": "a", "operator": "In"}, "values: Required value: must be specified when `operator` is 'In'"),
    ],
)
def test_a_pods_choice_of_nodes_is_held_to_its_form(rig: Rig, requirement: Json, said: str) -> None:
    required = {"nodeSelectorTerms": [{"matchExpressions": [requirement]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    at = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]"
    assert f"{at}.matchExpressions[0].{said}" in _said(rig, affinity=affinity)


def test_what_makes_pods_is_held_to_their_form_too(rig: Rig) -> None:
    labels = {"a": "b"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "", "image": "x"}]}}
    with pytest.raises(Answered, match=r"spec\.template\.spec\.containers\[0\]\.name: Required value"):
        rig.create(_DEPLOYMENTS, "d", spec={"selector": {"matchLabels": labels}, "template": template})


def test_a_pod_that_says_all_that_it_may_is_taken_and_can_be_read(rig: Rig) -> None:
    field_ref = {"fieldRef": {"fieldPath": "metadata.labels['a']"}}
    container = {
        **_CONTAINER,
        "ports": [{"name": "http1", "containerPort": 8080}],
        "env": [{"name": "A", "value": "b"}, {"name": "B", "valueFrom": field_ref}],
        "envFrom": [{"prefix": "P_", "secretRef": {"name": "s"}}],
        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
        "readinessProbe": {"httpGet": {"port": "http1", "httpHeaders": [{"name": "A-b", "value": ""}]}},
        "lifecycle": {"preStop": {"exec": {"command": ["a"]}}},
    }
    first = {**_CONTAINER, "name": "first", "restartPolicy": "Always", "startupProbe": {"tcpSocket": {"port": 1}}}
    made = rig.create(
        PODS,
        "p",
        spec={
            "containers": [container],
            "initContainers": [first],
            "volumes": [{"name": "v", "projected": {"sources": [{"configMap": {"name": "c"}}]}}],
            "tolerations": [{"operator": "Exists"}, {"key": "a", "value": "b", "effect": "NoExecute"}],
            "terminationGracePeriodSeconds": -1,
        },
    )
    assert pod_spec.pod(made).grace_s == 1  # as a kubelet takes one below nothing
    assert parse.pod(made).name == "p"


def test_a_pod_that_was_let_in_before_is_still_told_of(rig: Rig) -> None:
    rig.create(PODS, "p", spec={"containers": [_CONTAINER]})
    key = next(key for key, _ in rig.server.store if key.place == "pods")
    stored = rig.server.store.read(key)
    assert stored
    odd = {**stored.body, "spec": {**stored.body["spec"], "containers": [{**_CONTAINER, "name": ""}]}}
    rig.server.store.put(key, odd, over=stored.version)
    assert rig.merge(f"{PODS}/p/status", {"status": {"phase": "Failed"}})["status"]["phase"] == "Failed"
