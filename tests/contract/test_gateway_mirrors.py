"""The gateway's hall follows the API: functions come, change and go, and their pods with them."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from knative_mig.adapters.kube.kinds import POD, REVISION
from knative_mig.dev.gateway.facts import Pod
from knative_mig.dev.gateway.mirrors import ROUTE, SERVERLESS_SERVICE, Mirrors
from knative_mig.ports.kube import Key
from tests.fake_api import FakeApi
from tests.rigs.gateway import PATIENCE_S, GatewayRig, Line, ScriptedPod, answers, gateway_rig, until

FN = Key("team", "fn-00001")


class Cluster:
    """An API server with a function, and a gateway that looks at it."""

    def __init__(self, api: FakeApi, rig: GatewayRig, opened: ExitStack) -> None:
        self.api, self.rig = api, rig
        self.put("Revision", FN.name, {"spec": {"containerConcurrency": 1, "timeoutSeconds": 30}})
        self.route({"revisionName": FN.name, "percent": 100})
        self.mirrors = Mirrors(api.client(), rig.gateway)
        stop = threading.Event()
        threads = [threading.Thread(target=run, args=(stop,), name=name) for name, run in self.mirrors.bodies().items()]
        for thread in threads:
            thread.start()

        def end() -> None:
            stop.set()
            self.mirrors.interrupt()
            for thread in threads:
                thread.join(PATIENCE_S)

        opened.callback(end)
        assert self.mirrors.wait_synced(PATIENCE_S)

    def put(self, kind: str, name: str, body: dict[str, Any], **about: Any) -> None:
        metadata = {"namespace": "team", "name": name, "uid": f"uid-{name}", **about}
        self.api.put_object({"apiVersion": "v1", "kind": kind, "metadata": metadata, **body})

    def route(self, *traffic: dict[str, Any]) -> None:
        self.put("Route", "fn", {"status": {"traffic": list(traffic)}})

    def put_pod(self, at: Pod, revision: str = FN.name, *, is_ready: bool = True) -> None:
        ready = {"type": "Ready", "status": str(is_ready)}
        self.put(
            "Pod",
            at.key.name,
            {
                "spec": {"containers": [{"name": "user-container", "ports": [{"containerPort": at.port}]}]},
                "status": {"phase": "Running", "podIP": at.host, "conditions": [ready]},
            },
            labels={"serving.knative.dev/revision": revision},
        )

    def pod(self, answer: bytes = b"ok", *, is_ready: bool = True) -> ScriptedPod:
        pod = ScriptedPod(answers(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer))
        self.rig.pods.append(pod)
        self.put_pod(pod.at, is_ready=is_ready)
        return pod

    def answer(self, host: str = "fn.team.localhost") -> bytes:
        line = self.rig.client().say(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        return line.answer()[1]


@pytest.fixture(name="cluster")
def _cluster() -> Iterator[Cluster]:
    with FakeApi() as api, gateway_rig() as rig, ExitStack() as opened:
        yield Cluster(api, rig, opened)


def waits(cluster: Cluster) -> Line:
    line = cluster.rig.asks()
    until(lambda: cluster.rig.held(FN) == 1)
    return line


def test_a_held_request_runs_as_soon_as_the_api_says_that_its_pod_is_ready(cluster: Cluster) -> None:
    line = waits(cluster)
    pod = cluster.pod(is_ready=False)
    assert cluster.rig.held(FN) == 1
    cluster.put_pod(pod.at)
    assert line.answer()[1] == b"ok"


@pytest.mark.parametrize(
    "leave",
    [
        lambda cluster, pod: cluster.put_pod(pod.at, is_ready=False),
        lambda cluster, pod: cluster.api.remove_object(POD, pod.at.key),
    ],
    ids=["not ready", "gone"],
)
def test_a_pod_that_leaves_is_asked_no_more(cluster: Cluster, leave: Callable[[Cluster, ScriptedPod], None]) -> None:
    pod = cluster.pod()
    assert cluster.answer() == b"ok"
    leave(cluster, pod)
    until(lambda: cluster.rig.gateway.scraped(FN) == {})
    line = waits(cluster)
    cluster.pod(b"another")
    assert line.answer()[1] == b"another"


def test_pods_of_no_revision_are_not_even_looked_at(cluster: Cluster) -> None:
    cluster.put("Pod", "somebodys", {"status": {"phase": "Running"}})
    pod = cluster.pod()
    until(lambda: pod.at.key in cluster.rig.gateway.scraped(FN))
    assert cluster.mirrors._pods.counts.unreadable == 0


def test_traffic_moves_with_the_route_and_a_tag_gets_a_url(cluster: Cluster) -> None:
    cluster.put("Revision", "fn-00002", {"spec": {}})
    new = ScriptedPod(answers(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew"))
    cluster.rig.pods.append(new)
    cluster.put_pod(new.at, "fn-00002")
    cluster.pod(b"old")
    assert cluster.answer() == b"old"
    cluster.route({"revisionName": FN.name, "percent": 100}, {"revisionName": "fn-00002", "tag": "next"})
    until(lambda: cluster.answer("next-fn.team.localhost") == b"new")
    assert cluster.answer("fn.team") == b"old"
    cluster.route({"revisionName": "fn-00002", "percent": 100})
    until(lambda: cluster.answer() == b"new")


def test_a_function_that_is_deleted_is_nobodys_url(cluster: Cluster) -> None:
    cluster.pod()
    assert cluster.answer() == b"ok"
    cluster.api.remove_object(ROUTE, Key("team", "fn"))
    until(lambda: cluster.answer().startswith(b"no function has the host"))
    cluster.route({"revisionName": FN.name, "percent": 100})
    cluster.api.remove_object(REVISION, FN)
    until(lambda: b'revision.serving.knative.dev "fn-00001" not found' in cluster.answer())


def test_requests_go_past_the_activator_while_the_autoscaler_has_it_so(cluster: Cluster) -> None:
    pod = cluster.pod()
    cluster.answer()
    assert len(cluster.rig.told) == 1
    cluster.put("ServerlessService", FN.name, {"spec": {"mode": "Serve"}})
    heads: list[bytes] = []
    pod.behave(lambda line: heads.append(line.head()))

    def asked() -> bytes:
        cluster.answer()
        return heads[-1]

    until(lambda: b"K-Proxy-Request" not in asked())
    cluster.api.remove_object(SERVERLESS_SERVICE, FN)
    until(lambda: b"K-Proxy-Request: activator" in asked())
