"""What a namespace has from its beginning, and has again when somebody takes it away."""

import json

import pytest

from knative_mig.dev.api.admission import Hook, Phase
from tests.rigs.api_server import CONFIG_MAPS, PODS, Rig

_ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
_ROOT = "kube-root-ca.crt"


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.server.beginnings.settle()
    return rig


def test_each_namespace_has_its_account_and_whom_to_trust(rig: Rig) -> None:
    for namespace in ("default", "kube-system", "knative-serving"):
        assert rig.names(f"/api/v1/namespaces/{namespace}/serviceaccounts") == ["default"]
        assert rig.names(f"/api/v1/namespaces/{namespace}/configmaps") == [_ROOT]
    rig.create("/api/v1/namespaces", "n")
    rig.server.beginnings.settle()
    assert rig.names("/api/v1/namespaces/n/serviceaccounts") == ["default"]
    found = rig.get(f"/api/v1/namespaces/n/configmaps/{_ROOT}")
    assert found["data"] == {"ca.crt": ""}
    assert found["metadata"]["annotations"]["kubernetes.io/description"].startswith("Contains a CA bundle")


def test_what_somebody_takes_away_comes_back_and_what_he_made_stays(rig: Rig) -> None:
    uid = rig.get(f"{_ACCOUNTS}/default")["metadata"]["uid"]
    rig.merge(f"{CONFIG_MAPS}/{_ROOT}", {"metadata": {"labels": {"a": "b"}}})
    rig.delete(f"{_ACCOUNTS}/default")
    rig.server.beginnings.settle()
    assert rig.get(f"{_ACCOUNTS}/default")["metadata"]["uid"] != uid
    assert rig.get(f"{CONFIG_MAPS}/{_ROOT}")["metadata"]["labels"] == {"a": "b"}


def test_the_api_server_itself_is_a_service_of_the_namespace_default_alone(rig: Rig) -> None:
    services = "/api/v1/namespaces/default/services"
    for _ in range(2):
        found = rig.get(f"{services}/kubernetes")
        assert found["metadata"]["labels"] == {"component": "apiserver", "provider": "kubernetes"}
        assert (found["spec"]["type"], found["spec"]["clusterIP"]) == ("ClusterIP", "10.96.0.1")
        assert found["spec"]["ports"] == [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}]
        rig.delete(f"{services}/kubernetes")
        rig.server.beginnings.settle()
    rig.create("/api/v1/namespaces", "n")
    rig.server.beginnings.settle()
    assert rig.names("/api/v1/namespaces/n/services") == []


def test_a_namespace_that_goes_gets_nothing_any_more(rig: Rig) -> None:
    rig.create("/api/v1/namespaces", "n")
    rig.create("/api/v1/namespaces/n/configmaps", "held", metadata={"finalizers": ["example.com/a"]})
    rig.server.beginnings.settle()
    rig.delete("/api/v1/namespaces/n")
    for _ in range(2):
        rig.settle()
        rig.server.beginnings.settle()
    assert rig.names("/api/v1/namespaces/n/serviceaccounts") == []
    assert rig.names("/api/v1/namespaces/n/configmaps") == ["held"]


def test_who_is_refused_is_not_in_the_way_of_the_others() -> None:
    def refuses(_: bytes) -> bytes:
        return json.dumps({"response": {"allowed": False}}).encode()

    rig = Rig([Hook(name="no.example.com", phase=Phase.VALIDATE, ask=refuses, resources=("serviceaccounts",))])
    rig.server.beginnings.settle()
    assert rig.names(_ACCOUNTS) == []
    assert rig.names(CONFIG_MAPS) == [_ROOT]


def test_a_pod_that_comes_before_the_account_is_let_in() -> None:
    rig = Rig()
    spec = {"containers": [{"name": "a", "image": "x"}]}
    assert rig.create(PODS, "p", spec=spec)["spec"]["serviceAccountName"] == "default"
