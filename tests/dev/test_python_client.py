"""The kubernetes Python library against the API server of `dev`: its generated, its dynamic and its watching parts, and
the adapter of this project that is built on it.
"""

import threading
from typing import Any

import pytest
from kubernetes import client as kubernetes
from kubernetes.dynamic import DynamicClient
from kubernetes.watch import Watch

from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.kinds import CONFIG_MAP, LEASE, POD
from knative_mig.dev.api.server import ApiServer
from knative_mig.ports.kube import Conflict, Key, ObjectNotFound, TooManyRequests

Object = dict[str, Any]


@pytest.fixture
def library(api: ApiServer) -> Any:
    """Its types want models where it takes what a manifest has."""
    return kubernetes.ApiClient(kubernetes.Configuration(host=api.url))


def _pod(name: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [{"name": "a", "image": "x"}]},
    }


def test_generated_models_are_read_and_written(library: Any, namespace: str) -> None:
    core: Any = kubernetes.CoreV1Api(library)
    made = core.create_namespaced_pod(namespace, _pod("typed"))
    assert made.status.phase == "Pending"
    assert [each.metadata.name for each in core.list_namespaced_pod(namespace).items] == ["typed"]
    core.patch_namespaced_pod(name="typed", namespace=namespace, body={"metadata": {"labels": {"a": "b"}}})
    assert core.read_namespaced_pod(name="typed", namespace=namespace).metadata.labels == {"app": "typed", "a": "b"}
    core.delete_namespaced_pod(name="typed", namespace=namespace)
    assert core.list_namespaced_pod(namespace).items == []
    assert kubernetes.VersionApi(library).get_code().minor == "36"


def test_the_dynamic_client_finds_kinds_by_discovery(library: Any, namespace: str) -> None:
    found: Any = DynamicClient(library).resources.get(api_version="serving.knative.dev/v1", kind="Service")  # type: ignore[no-untyped-call]
    body = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": "f"},
        "spec": {"template": {"spec": {"containers": [{"image": "x"}]}}},
    }
    found.create(body=body, namespace=namespace)
    assert [each.metadata.name for each in found.get(namespace=namespace).items] == ["f"]
    found.server_side_apply(body=body, namespace=namespace, field_manager="tests", force_conflicts=True)
    found.delete(name="f", namespace=namespace)


def test_a_watch_goes_on_from_a_list(library: Any, namespace: str) -> None:
    core: Any = kubernetes.CoreV1Api(library)
    version = core.list_namespaced_pod(namespace).metadata.resource_version
    core.create_namespaced_pod(namespace, _pod("one"))
    threading.Timer(0.2, lambda: core.create_namespaced_pod(namespace, _pod("two"))).start()
    seen = []
    watching: Any = Watch()  # type: ignore[no-untyped-call]
    for event in watching.stream(core.list_namespaced_pod, namespace, resource_version=version, timeout_seconds=30):
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 2:
            watching.stop()
    assert seen == [("ADDED", "one"), ("ADDED", "two")]


def test_this_projects_adapter_writes_and_is_told_of_conflicts(client: KubeClient, namespace: str) -> None:
    made = client.create(CONFIG_MAP, namespace, {"metadata": {"name": "c"}, "data": {"a": "1"}})
    key = Key(namespace, "c")
    client.merge(CONFIG_MAP, key, {"data": {"a": "2"}}, manager="tests")
    with pytest.raises(Conflict):
        client.replace(CONFIG_MAP, key, {**made, "data": {"a": "3"}})
    client.patch(
        CONFIG_MAP, key, [{"op": "test", "path": "/data/a", "value": "2"}, {"op": "remove", "path": "/data/a"}]
    )
    assert "a" not in client.get(CONFIG_MAP, key).get("data", {})
    client.delete(CONFIG_MAP, key)
    with pytest.raises(ObjectNotFound):
        client.get(CONFIG_MAP, key)


def test_an_eviction_is_held_up_by_a_budget(client: KubeClient, library: Any, namespace: str) -> None:
    client.create(POD, namespace, _pod("held"))
    budget = {
        "metadata": {"name": "b"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "held"}}},
    }
    policy: Any = kubernetes.PolicyV1Api(library)
    policy.create_namespaced_pod_disruption_budget(namespace, budget)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "held", "namespace": namespace}}
    with pytest.raises(TooManyRequests):
        client.create_below(POD, Key(namespace, "held"), "eviction", eviction)
    allowed = {"status": {"disruptionsAllowed": 1, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}}
    policy.patch_namespaced_pod_disruption_budget_status(name="b", namespace=namespace, body=allowed)
    client.create_below(POD, Key(namespace, "held"), "eviction", eviction)
    with pytest.raises(ObjectNotFound):
        client.get(POD, Key(namespace, "held"))


def test_leases_are_taken_by_one(client: KubeClient, namespace: str) -> None:
    lease = client.create(LEASE, namespace, {"metadata": {"name": "l"}, "spec": {"holderIdentity": "a"}})
    client.replace(LEASE, Key(namespace, "l"), {**lease, "spec": {"holderIdentity": "b"}})
    with pytest.raises(Conflict):
        client.replace(LEASE, Key(namespace, "l"), {**lease, "spec": {"holderIdentity": "c"}})
