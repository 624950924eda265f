"""The nodes' network as their pods see it."""

import json
import sys

import pytest

from knative_mig.adapters.proc_pods import ProcPods
from tests.cluster.api import NODE, POD, Api, Object
from tests.cluster.testbed.shell import run
from tests.cluster.testbed.system_images import FUNCTION_IMAGE
from tests.cluster.waits import is_true, until

_ASK = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())"


@pytest.mark.testbed_only
def test_a_pod_is_reached_from_the_pods_of_all_other_nodes(api: Api, namespace: str) -> None:
    nodes = [str(node["metadata"]["name"]) for node in api.items(NODE)]
    for node in nodes:
        spec = {"containers": [{"name": "serve", "image": FUNCTION_IMAGE}], "nodeName": node}
        api.create(POD, {"metadata": {"name": f"on-{node}"}, "spec": spec}, namespace)
    pods: dict[str, Object] = {
        node: until(api, POD.named(f"on-{node}", namespace), "is Ready", lambda pod: pod if is_true(pod) else None)
        for node in nodes
    }
    found = ProcPods().of_pods([str(pod["metadata"]["uid"]) for pod in pods.values()])
    for here, pod in pods.items():
        inside = ["nsenter", f"--net=/proc/{min(found[pod['metadata']['uid']])}/ns/net"]
        for there, other in pods.items():
            url = f"http://{other['status']['podIP']}:8080/report"
            answer = json.loads(run([*inside, sys.executable, "-c", _ASK, url]))
            assert answer["pod"] == f"on-{there}", f"from {here}"
    assert len(pods) >= 3
