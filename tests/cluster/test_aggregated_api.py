"""An aggregated API registers, is reached through the API server and knows the real caller, whom nobody can play."""

import base64
import http.client
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import aggregated_api
from tests.cluster.aggregated_api import VERSION, FrontProxy, Served
from tests.cluster.api import API_SERVICE, CORE_SERVICE, ENDPOINT_SLICE, Api
from tests.cluster.driver import Cluster
from tests.cluster.testbed.errors import ClusterError
from tests.cluster.testbed.kubectl import Kubectl
from tests.cluster.waits import eventually, is_true, until

_NAME = "whoami"


@pytest.fixture
def group(namespace: str) -> str:
    return f"{namespace}.tests.example.com"  # of this test alone, so that two runs do not share it


@pytest.fixture
def served(api: Api, cluster: Cluster, namespace: str, group: str, tmp_path: Path) -> Iterator[Served]:
    """Served by this process on the host; a Service without a selector leads the API server there."""
    dns_name = f"{_NAME}.{namespace}.svc"
    with aggregated_api.serving(group, cluster.host, dns_name, FrontProxy.of_cluster(api), tmp_path) as server:
        port = {"name": "https", "port": server.port, "protocol": "TCP"}
        api.create(CORE_SERVICE, {"metadata": {"name": _NAME}, "spec": {"ports": [{**port, "port": 443}]}}, namespace)
        endpoints = {
            "metadata": {"name": _NAME, "labels": {"kubernetes.io/service-name": _NAME}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [cluster.host], "conditions": {"ready": True}}],
            "ports": [port],
        }
        api.create(ENDPOINT_SLICE, endpoints, namespace)
        registration = {
            "group": group, "version": VERSION, "groupPriorityMinimum": 1000, "versionPriority": 15,
            "service": {"name": _NAME, "namespace": namespace, "port": 443},
            "caBundle": base64.b64encode(server.certificate.text.encode()).decode(),
        }  # fmt: skip
        name = f"{VERSION}.{group}"
        api.create(API_SERVICE, {"metadata": {"name": name}, "spec": registration})
        try:
            until(api, API_SERVICE.named(name), "is available", lambda item: is_true(item, "Available"))
            yield server
        finally:
            api.delete(API_SERVICE, name)


def test_the_server_sees_the_real_caller_vouched_for_by_the_front_proxy(
    served: Served, group: str, kubectl: Kubectl
) -> None:
    def whoami(*options: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(kubectl("get", "--raw", f"/apis/{group}/{VERSION}/whoami", *options))
        return found

    admin = eventually("the API server leads there", whoami)  # a moment after it says so
    assert admin["user"] in ("admin", "kubernetes-admin")
    assert "system:authenticated" in admin["groups"]
    assert admin["vouchedBy"] == "front-proxy-client"
    # Somebody else: the API server's own RBAC decides who may ask at all, and says on whose behalf.
    with pytest.raises(ClusterError, match='User "jane" cannot list resource "whoami"'):
        whoami("--as=jane", "--as-group=readers")
    kubectl("create", "clusterrole", group, "--verb=list", f"--resource=whoami.{group}")
    kubectl("create", "clusterrolebinding", group, f"--clusterrole={group}", "--user=jane")
    try:
        jane = eventually("the role holds", lambda: whoami("--as=jane", "--as-group=readers"))
    finally:
        kubectl("delete", f"clusterrole/{group}", f"clusterrolebinding/{group}")
    assert jane["user"] == "jane"
    assert "readers" in jane["groups"]


def test_a_direct_caller_cannot_claim_to_be_somebody(served: Served, group: str, cluster: Cluster, api: Api) -> None:
    claim = {"X-Remote-User": "admin", "X-Remote-Group": "system:masters"}

    def claimed(context: ssl.SSLContext) -> int:
        context.load_verify_locations(served.certificate.path)
        connection = http.client.HTTPSConnection(cluster.host, served.port, context=context, timeout=10)
        try:
            connection.request("GET", f"/apis/{group}/{VERSION}/whoami", headers=claim)
            return connection.getresponse().status
        finally:
            connection.close()

    assert claimed(ssl.create_default_context()) == 401
    # The cluster's own administrator, whose certificate is of the other authority, is no front proxy either.
    own = cluster.connect().tls
    assert own is not None
    with pytest.raises(OSError):  # the handshake's end, which TLS lets the client see as an alert or as a cut
        claimed(own)
