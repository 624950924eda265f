"""How a pod is read from the API's JSON."""

from typing import Any

import pytest

from knative_mig.core.errors import BadInput
from knative_mig.dev.node.pod_spec import Exec, HttpGet, NoPort, ProbeKind, RestartPolicy, Sleep, TcpSocket, seen
from knative_mig.dev.node.pod_spec import pod as parsed
from tests.unit.dev.node.pods import Object, container, pod


def checked(probe: Object, **fields: Any) -> object:
    body = pod(containers=[container(livenessProbe=probe, **fields)])
    return parsed(body).containers[0].probes[ProbeKind.LIVENESS].check


def test_a_pod_that_says_nothing_has_what_kubernetes_gives_it() -> None:
    found = parsed(pod())
    assert (found.restarts, found.grace_s, found.deleted, found.phase) == (RestartPolicy.ALWAYS, 30, False, "Pending")
    assert found.containers[0].port == 8080


def test_a_grace_of_nothing_is_not_none() -> None:
    assert parsed(pod(terminationGracePeriodSeconds=0)).grace_s == 0
    about = {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 0}
    assert parsed(pod(metadata=about)).deletion_grace_s == 0


@pytest.mark.parametrize(
    ("probe", "check"),
    [
        ({"httpGet": {"path": "/x", "port": "web"}}, HttpGet(port=9000, path="/x")),
        (
            {"httpGet": {"port": 0, "httpHeaders": [{"name": "A", "value": "b"}]}},
            HttpGet(port=9000, headers=(("A", "b"),)),
        ),
        ({"tcpSocket": {"port": "9001"}}, TcpSocket(port=9001)),
        ({"grpc": {"port": 9002}}, TcpSocket(port=9002)),
        ({"exec": {"command": ["true"]}}, Exec(argv=("true",))),
    ],
)
def test_what_a_probe_asks(probe: Object, check: object) -> None:
    assert checked(probe, ports=[{"name": "web", "containerPort": 9000}]) == check


@pytest.mark.parametrize("how", ["httpGet", "tcpSocket"])
def test_a_port_that_no_port_has_the_name_of_is_asked_in_vain(how: str) -> None:
    assert checked({how: {"port": "other"}}, ports=[{"name": "web", "containerPort": 9000}]) == NoPort(name="other")


def test_one_that_cannot_be_read_is_seen_with_what_is_wrong() -> None:
    odd = pod(containers=[container(ports=[{"containerPort": 0}])])
    with pytest.raises(BadInput):
        parsed(odd)
    found = seen(odd)
    assert "spec.containers[0].ports[0].containerPort: is 0, legal is" in found.unreadable
    assert (found.key.name, found.uid, found.containers) == ("chat", "uid-chat", ())
    assert seen(pod()) == parsed(pod())


def test_the_hook_that_waits_for_queue_proxy_is_the_gateways() -> None:
    def hook(of: Object) -> object:
        return parsed(pod(containers=[container(lifecycle={"preStop": of})])).containers[0].pre_stop

    assert hook({"httpGet": {"path": "/wait-for-drain", "port": 8022}}) is None
    assert hook({"httpGet": {"path": "/bye", "port": 8080}}) == HttpGet(port=8080, path="/bye")
    assert hook({"sleep": {"seconds": 3}}) == Sleep(seconds=3)


def test_one_that_stays_beside_the_others_is_no_start_that_has_to_end() -> None:
    found = parsed(pod(initContainers=[container("first"), container("side", restartPolicy="Always")]))
    assert [each.name for each in found.init] == ["first"]
    assert [each.name for each in found.containers] == ["side", "user-container"]


def test_slices_are_devices_and_cpu_is_none() -> None:
    limits = {"limits": {"nvidia.com/mig-3g.20gb": "1", "cpu": "2"}}
    assert parsed(pod(containers=[container(resources=limits)])).containers[0].devices == {"nvidia.com/mig-3g.20gb": 1}
