"""What the gateway reads of the API's objects."""

from typing import Any

import pytest

from knative_mig.core.errors import BadInput
from knative_mig.dev.gateway import parse
from knative_mig.dev.gateway.facts import Pod, PodFacts, RevisionFacts, RouteFacts, Traffic
from knative_mig.dev.gateway.timeouts import Limits
from knative_mig.ports.kube import Key


def a_pod(**changes: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "team",
            "name": "p",
            "labels": {"serving.knative.dev/revision": "fn-00001"},
            **changes.get("metadata", {}),
        },
        "spec": changes.get("spec", {"containers": [{"name": "user-container"}]}),
        "status": {
            "phase": "Running",
            "podIP": "127.64.0.1",
            "conditions": [{"type": "Ready", "status": "True"}],
            **changes.get("status", {}),
        },
    }


def test_a_route_is_what_its_status_can_serve() -> None:
    body = {
        "metadata": {"labels": {"networking.knative.dev/visibility": "cluster-local"}},
        "spec": {"traffic": [{"latestRevision": True, "percent": 100}]},
        "status": {
            "traffic": [
                {"revisionName": "fn-00001", "percent": 100, "latestRevision": False},
                {"revisionName": "fn-00002", "tag": "next", "latestRevision": True},
            ]
        },
    }
    assert parse.route(body) == RouteFacts(
        traffic=(Traffic(revision="fn-00001", percent=100), Traffic(revision="fn-00002", tag="next")), is_local=True
    )
    assert parse.route({"metadata": {}}) == RouteFacts(traffic=())


def test_a_revision_has_its_limits_or_knatives() -> None:
    spec = {
        "containerConcurrency": 3,
        "timeoutSeconds": 600,
        "responseStartTimeoutSeconds": 400,
        "idleTimeoutSeconds": 60,
    }
    assert parse.revision({"metadata": {"uid": "u"}, "spec": spec}) == RevisionFacts(
        uid="u", concurrency=3, limits=Limits(whole_s=600, answer_begins_s=400, idle_s=60)
    )
    for body in ({"metadata": {"uid": "u"}}, {"metadata": {"uid": "u"}, "spec": {"timeoutSeconds": 0}}):
        assert parse.revision(body) == RevisionFacts(uid="u", concurrency=0, limits=Limits())


def test_a_ready_pod_is_where_its_container_listens() -> None:
    assert parse.pod(a_pod()) == PodFacts(
        revision=Key("team", "fn-00001"), at=Pod("127.64.0.1", 8080, Key("team", "p"))
    )
    spec = {"containers": [{"name": "sidecar"}, {"name": "user", "ports": [{"containerPort": 9000}]}]}
    at = parse.pod(a_pod(spec=spec)).at
    assert at is not None
    assert at.port == 9000


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}},
        {"status": {"conditions": [{"type": "Ready", "status": "False"}]}},
        {"status": {"conditions": None}},
        {"status": {"phase": "Succeeded"}},
        {"status": {"podIP": ""}},
    ],
    ids=["being deleted", "not ready", "says nothing", "over", "without an address"],
)
def test_any_other_pod_gets_nothing(changes: dict[str, Any]) -> None:
    assert parse.pod(a_pod(**changes)).at is None


def test_a_pod_of_no_revision_is_none_of_ours() -> None:
    with pytest.raises(BadInput):
        parse.pod({"metadata": {"namespace": "team", "name": "p"}})


def test_requests_go_past_the_activator_where_a_serverless_service_serves() -> None:
    assert parse.is_direct({"spec": {"mode": "Serve"}})
    assert not parse.is_direct({"spec": {"mode": "Proxy"}})
    assert not parse.is_direct({})
