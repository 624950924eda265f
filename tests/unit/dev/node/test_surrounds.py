"""What a program finds around it in place of a container."""

from typing import Any

import pytest

from knative_mig.dev.node.pod_spec import pod as parsed
from knative_mig.dev.node.surrounds import CannotSetUp, Entries, Place, environment, expanded, moved, wanted_entries
from tests.unit.dev.node.pods import Object, container, pod

ROOM = {"cpu": "32", "memory": "128Gi"}
PLACE = Place(node="n1", node_ip="127.0.0.1", pod_ip="127.64.0.1", allocatable=ROOM)
ENTRIES = Entries(of={("Secret", "s"): {"key": b"hidden"}, ("ConfigMap", "c"): {"A": b"1"}})


def told(*env: Object, entries: Entries = ENTRIES, **rest: Any) -> dict[str, str]:
    found = parsed(pod(containers=[container(env=list(env), **rest)], metadata={"labels": {"app": "x"}}))
    return environment(found, found.containers[0], PLACE, entries, {"PORT": "8080"})


def ref(kind: str, name: str, key: str, **more: object) -> Object:
    return {"name": "V", "valueFrom": {kind: {"name": name, "key": key, **more}}}


def test_a_value_may_name_those_before_it() -> None:
    found = told({"name": "A", "value": "$(PORT)/x"}, {"name": "B", "value": "$(A) $(NONE) $$(A)"})
    assert found == {"PORT": "8080", "A": "8080/x", "B": "8080/x $(NONE) $(A)"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "chat"),
        ("metadata.namespace", "default"),
        ("metadata.uid", "uid-chat"),
        ("metadata.labels['app']", "x"),
        ("spec.nodeName", "n1"),
        ("status.podIP", "127.64.0.1"),
        ("status.hostIP", "127.0.0.1"),
    ],
)
def test_it_is_told_of_its_own_pod(path: str, value: str) -> None:
    assert told({"name": "V", "valueFrom": {"fieldRef": {"fieldPath": path}}})["V"] == value


def test_what_secrets_and_config_maps_hold() -> None:
    assert told(ref("secretKeyRef", "s", "key"))["V"] == "hidden"
    assert told(ref("configMapKeyRef", "c", "A"))["V"] == "1"
    assert told(envFrom=[{"configMapRef": {"name": "c"}, "prefix": "P_"}])["P_A"] == "1"
    assert "V" not in told(ref("secretKeyRef", "none", "key", optional=True))
    limits = {"limits": {"nvidia.com/mig-3g.20gb": "1"}}
    wants = {"name": "V", "valueFrom": {"resourceFieldRef": {"resource": "limits.nvidia.com/mig-3g.20gb"}}}
    assert told(wants, resources=limits)["V"] == "1"


@pytest.mark.parametrize(
    ("asked", "value"),
    [
        ({"resource": "limits.cpu"}, "2"),  # one and a half, and up
        ({"resource": "limits.cpu", "divisor": "1m"}, "1500"),
        ({"resource": "limits.cpu", "divisor": "0"}, "2"),
        ({"resource": "limits.memory"}, str(128 << 30)),
        ({"resource": "limits.memory", "divisor": "1Gi"}, "128"),
        ({"resource": "requests.memory"}, "0"),
        ({"resource": "requests.cpu", "divisor": "1m"}, "250"),
        ({"resource": "limits.cpu", "containerName": "other"}, "32"),
        ({"resource": "limits.memory", "containerName": "other", "divisor": "1Mi"}, "1"),
    ],
)
def test_it_is_told_of_what_it_may_take_which_is_all_where_nobody_says_less(asked: Object, value: str) -> None:
    variable = {"name": "V", "valueFrom": {"resourceFieldRef": asked}}
    resources = {"limits": {"cpu": "1500m", "memory": "0"}, "requests": {"cpu": "250m"}}
    other = container("other", resources={"limits": {"memory": "1023Ki"}})
    found = parsed(pod(containers=[container(env=[variable], resources=resources), other]))
    assert environment(found, found.containers[0], PLACE, ENTRIES, {})["V"] == value


@pytest.mark.parametrize(
    ("variable", "why"),
    [
        (
            {"name": "V", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "containerName": "none"}}},
            "container none not found",
        ),
        (ref("secretKeyRef", "none", "key"), 'secret "none" not found'),
        (ref("configMapKeyRef", "none", "key"), 'configmap "none" not found'),
        (ref("secretKeyRef", "s", "other"), "couldn't find key other in Secret default/s"),
    ],
)
def test_without_what_it_names_it_cannot_begin(variable: Object, why: str) -> None:
    with pytest.raises(CannotSetUp) as refused:
        told(variable)
    assert str(refused.value) == why


MOUNTS = {"/var/run/knative-mig/relay": "/d/relay", "/var/run": "/d/run", "/data": "/d/data"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/data", "/d/data"),
        ("/var/run/knative-mig/relay/secret", "/d/relay/secret"),
        ("/var/run/other", "/d/run/other"),
        ("--file=/data/x", "--file=/d/data/x"),
        ("/bin:/data/bin:/usr/bin", "/bin:/d/data/bin:/usr/bin"),
        ("cat /data/x '/data/y'", "cat /d/data/x '/d/data/y'"),
        ("/database", "/database"),
        ("/srv/data", "/srv/data"),
        ("http://host/data", "http://host/data"),
    ],
)
def test_wherever_a_mounts_path_is_named_the_folder_is(text: str, found: str) -> None:
    assert moved(text, MOUNTS) == found


def test_an_argument_that_names_nothing_known_stays() -> None:
    assert expanded("$(date) $HOME $$", {}) == "$(date) $HOME $"


def test_what_has_to_be_read_for_a_pod() -> None:
    body = pod(
        containers=[container(env=[ref("secretKeyRef", "a", "k")], envFrom=[{"configMapRef": {"name": "b"}}])],
        volumes=[
            {"name": "v", "secret": {"secretName": "c"}},
            {"name": "w", "projected": {"sources": [{"configMap": {"name": "d"}}, {"secret": {"name": "e"}}]}},
            {"name": "x", "emptyDir": {}},
        ],
    )
    assert wanted_entries(parsed(body)) == {
        ("Secret", "a"), ("ConfigMap", "b"), ("Secret", "c"), ("ConfigMap", "d"), ("Secret", "e"),
    }  # fmt: skip
