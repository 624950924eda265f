"""The whole of `knative-mig dev` once: real planner, agent, webhooks and replicas as processes.

What it prints, refuses and survives, and what people's own clients see of it, is in tests/dev_suite. All is one test:
tests are shared out one by one, so that each of several would start a whole `dev` on another worker.
"""

import signal
import socket
from typing import Any

import pytest

from knative_mig.adapters.kube.gpu_nodes import KubeGpuNodes
from knative_mig.adapters.kube.kinds import CONFIG_MAP, POD
from knative_mig.core.inventory import NodeName
from knative_mig.dev.serving import objects
from knative_mig.dev.serving.objects import SERVICE
from knative_mig.ports.kube import Key, Refused
from tests.rigs.running_dev import RunningDev, until

PROMPT = {"model": "tiny-llm", "prompt": "Once upon a time", "max_tokens": 8}
PARTS = 4  # planner, webhook, source and the one node's agent; more is a replica's


def function(name: str, profile: str = "2g.10gb", **annotations: str) -> dict[str, Any]:
    container = {"image": "dev.local/tiny-llm", "resources": {"limits": {f"nvidia.com/mig-{profile}": "1"}}}
    return {
        "apiVersion": SERVICE.group,
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"template": {"metadata": {"annotations": annotations}, "spec": {"containers": [container]}}},
    }


def make(dev: RunningDev, body: dict[str, Any]) -> str:
    """Its name, once it is ready."""
    name = str(body["metadata"]["name"])
    dev.client.create(SERVICE, "default", body)
    until(lambda: objects.is_ready(dev.client.get(SERVICE, Key("default", name))))
    return name


def replicas(dev: RunningDev, name: str) -> list[str]:
    """That are not ending."""
    found = dev.client.page(POD, "default", {"labelSelector": f"serving.knative.dev/service={name}"}).items
    return [each["metadata"]["name"] for each in found if "deletionTimestamp" not in each["metadata"]]


def slices(dev: RunningDev, node: str) -> list[str]:
    status = KubeGpuNodes(dev.client).read(NodeName(node)).status
    return [str(each.key) for gpu in (status.gpus if status else ()) for each in gpu.slices]


def test_a_function_is_served_goes_to_zero_and_comes_back_and_all_ends_with_dev() -> None:
    with RunningDev("--gpus", "1xA100-40GB", "--speed", "20") as dev:
        # As short as Knative allows: a function is at zero some seconds after its last request.
        settings = {"stable-window": "6s", "scale-to-zero-grace-period": "1s"}
        dev.client.merge(CONFIG_MAP, Key("knative-serving", "config-autoscaler"), {"data": settings})
        the_projects_own_webhook_is_in_the_path(dev)
        name = make(dev, function("story"))
        its_url_and_the_name_that_others_in_the_cluster_have_for_it_are_both_served(dev, name)
        it_goes_to_zero_and_comes_back_on_a_slice_that_is_made_for_it(dev, name)
        it_ends_with_all_that_it_started(dev)


def the_projects_own_webhook_is_in_the_path(dev: RunningDev) -> None:
    with pytest.raises(Refused, match=r"functions\.knative-mig\.dev.*slo-ttft-ms"):
        dev.client.create(SERVICE, "default", function("bad", **{"knative-mig.dev/slo-ttft-ms": "soon"}))


def its_url_and_the_name_that_others_in_the_cluster_have_for_it_are_both_served(dev: RunningDev, name: str) -> None:
    url = dev.client.get(SERVICE, Key("default", name))["status"]["url"]
    assert url == f"http://{name}.default.localhost:{dev.port}"
    with socket.create_connection(("127.0.0.1", dev.port)) as connection:
        connection.sendall(f"GET /v1/models HTTP/1.1\r\nHost: {name}.default.svc\r\nConnection: close\r\n\r\n".encode())
        assert connection.recv(64).startswith(b"HTTP/1.1 200")


def it_goes_to_zero_and_comes_back_on_a_slice_that_is_made_for_it(dev: RunningDev, name: str) -> None:
    status, said = dev.ask(name, "/v1/completions", PROMPT)
    assert status == 200, said
    assert '"text": ' in said
    assert "2g.10gb" in [each.partition("@")[0] for each in slices(dev, "node-1")]
    first = replicas(dev, name)
    until(lambda: not replicas(dev, name))
    assert dev.ask(name, "/v1/completions", PROMPT)[0] == 200
    assert set(replicas(dev, name)).isdisjoint(first)


def it_ends_with_all_that_it_started(dev: RunningDev) -> None:
    assert len(dev.processes()) > PARTS
    dev.process.send_signal(signal.SIGINT)
    assert dev.process.wait(30) == 0
    assert not dev.processes()
    assert not dev.folder.exists()
