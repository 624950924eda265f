"""A namespace's quotas: which pods they keep out, in which words, and what they say is used."""

import pytest

from knative_mig.dev.api.store import Key
from tests.rigs.api_server import PODS, Answered, Json, Rig

_QUOTAS = "/api/v1/namespaces/default/resourcequotas"
_SLICE = "nvidia.com/mig-1g.5gb"


@pytest.fixture
def rig() -> Rig:
    return Rig()


def _quota(rig: Rig, **hard: str) -> None:
    rig.create(_QUOTAS, "q", spec={"hard": hard})


def _pod(rig: Rig, name: str, **limits: str) -> Json:
    return rig.create(PODS, name, spec={"containers": [{"name": "c", "image": "x", "resources": {"limits": limits}}]})


def _status(rig: Rig) -> Json:
    rig.server.usage.settle()
    found: Json = rig.call("GET", f"{_QUOTAS}/q")["status"]
    return found


def test_a_pod_too_many_is_refused_with_all_that_its_owner_has_to_know(rig: Rig) -> None:
    _quota(rig, **{f"requests.{_SLICE}": "1", "pods": "5"})
    _pod(rig, "has", **{_SLICE: "1"})
    with pytest.raises(Answered) as refused:
        _pod(rig, "wants", **{_SLICE: "1"})
    assert refused.value.body["message"] == (
        f'pods "wants" is forbidden: exceeded quota: q, requested: requests.{_SLICE}=1, used: requests.{_SLICE}=1, '
        f"limited: requests.{_SLICE}=1"
    )
    assert refused.value.code == 403
    _pod(rig, "wants-none")


def test_what_is_used_follows_pods_as_they_come_end_and_go(rig: Rig) -> None:
    _quota(rig, **{"limits.cpu": "2", "pods": "2"})
    assert _status(rig) == {"hard": {"limits.cpu": "2", "pods": "2"}, "used": {"limits.cpu": "0", "pods": "0"}}
    _pod(rig, "a", cpu="500m")
    _pod(rig, "b", cpu="1")
    assert _status(rig)["used"] == {"limits.cpu": "1500m", "pods": "2"}
    rig.merge(f"{PODS}/a/status", {"status": {"phase": "Failed"}})
    assert _status(rig)["used"] == {"limits.cpu": "1", "pods": "1"}
    rig.delete(f"{PODS}/b")
    assert _status(rig)["used"] == {"limits.cpu": "0", "pods": "0"}


def test_one_that_cannot_be_read_leaves_no_other_uncounted() -> None:
    """As one that a state folder has of a run before."""
    kept = Rig()
    for namespace, most in (("default", "many"), ("knative-serving", "1")):
        about = {"namespace": namespace, "name": "q", "uid": f"in-{namespace}"}
        kept.server.store.put(
            Key("resourcequotas", namespace, "q"), {"metadata": about, "spec": {"hard": {"pods": most}}}, over=0
        )
    rig = Rig(store=kept.server.store)
    rig.server.usage.settle()
    assert rig.get("/api/v1/namespaces/knative-serving/resourcequotas/q")["status"]["used"] == {"pods": "0"}


def test_a_quota_that_is_lifted_is_enough(rig: Rig) -> None:
    _quota(rig, pods="0")
    with pytest.raises(Answered, match="exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0"):
        _pod(rig, "p")
    rig.merge(f"{_QUOTAS}/q", {"spec": {"hard": {"pods": "1"}}})
    _pod(rig, "p")


def test_a_table_of_quotas_shows_what_is_used_of_what(rig: Rig) -> None:
    hard = {"limits.cpu": "2", f"requests.{_SLICE}": "1", "pods": "3", "limits.memory": "1Gi", "requests.cpu": "1"}
    _quota(rig, **hard)
    _pod(rig, "a", cpu="500m", **{_SLICE: "1"})
    _status(rig)
    table = rig.get(_QUOTAS, accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    assert [each["name"] for each in table["columnDefinitions"]] == ["Name", "Request", "Limit", "Age"]
    assert table["rows"][0]["cells"] == [
        "q",
        f"pods: 1/3, requests.cpu: 500m/1, requests.{_SLICE}: 1/1",
        "limits.cpu: 500m/2, limits.memory: 0/1Gi",
        "0s",
    ]
