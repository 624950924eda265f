"""The real kubectl on what lives: a function from a file, looked at, changed in each way, and its pods."""

import contextlib
import json
import subprocess
import threading
from collections.abc import Callable, Iterator

from tests.cluster.function import Function
from tests.cluster.waits import eventually
from tests.dev.client import Client
from tests.dev_suite.conftest import ANSWERING, PYTHON

Handle = Callable[[str], Function]
_NAME = "hello"
_POD = f"serving.knative.dev/service={_NAME}"


def _file(answer: str) -> str:
    container = {
        "image": "none",
        "command": [PYTHON, str(ANSWERING)],
        "env": [{"name": "ANSWER", "value": answer}],
    }
    template = {
        "metadata": {"annotations": {"autoscaling.knative.dev/min-scale": "1"}},
        "spec": {"timeoutSeconds": 5, "containers": [container]},
    }
    return json.dumps(
        {
            "apiVersion": "serving.knative.dev/v1",
            "kind": "Service",
            "metadata": {"name": _NAME},
            "spec": {"template": template},
        }
    )


def test_a_function_is_applied_looked_at_changed_and_deleted(kubectl: Client, kn: Client, handle: Handle) -> None:
    hello = handle(_NAME)
    assert "created" in kubectl("apply", "--filename", "-", stdin=_file("first"))
    kubectl("wait", "--for=condition=Ready", f"ksvc/{_NAME}", "--timeout=90s")
    assert hello.ask().text == "first\n"
    kubectl("apply", "--filename", "-", stdin=_file("first"))
    assert hello.revisions() == ["hello-00001"]
    assert "configured" in kubectl("apply", "--filename", "-", stdin=_file("second"))
    eventually("the second answers", lambda: hello.ask().text, lambda text: text == "second\n")
    assert "hello-00002" in kubectl("get", "revisions", "--output", "name")

    patch = {"spec": {"template": {"metadata": {"annotations": {"autoscaling.knative.dev/max-scale": "3"}}}}}
    assert "patched" in kubectl("patch", "ksvc", _NAME, "--type=merge", "--patch", json.dumps(patch))
    place = "/spec/template/spec/containers/0/env/0/value"
    operations = [{"op": "test", "path": place, "value": "second"}, {"op": "replace", "path": place, "value": "third"}]
    kubectl("patch", "ksvc", _NAME, "--type=json", "--patch", json.dumps(operations))
    eventually("the third answers", lambda: hello.ask().text, lambda text: text == "third\n")
    assert "The request is invalid" in kubectl.fails(
        "patch", "ksvc", _NAME, "--type=json", "--patch", json.dumps(operations)
    )
    kn("service", "update", _NAME, "--env", "ANSWER=fourth")
    eventually("the fourth answers", lambda: hello.ask().text, lambda text: text == "fourth\n")
    kubectl("annotate", "ksvc", _NAME, "mine=yes")
    kubectl("label", "ksvc", _NAME, "mine=yes")
    assert _NAME in kubectl("get", "ksvc", "--selector", "mine=yes")

    described = kubectl("describe", "ksvc", _NAME)
    for word in ("ConfigurationsReady", "hello-00005", f"http://{hello.host}", "Created Configuration"):
        assert word in described, word
    assert 'Created Route "hello"' in kubectl("events", "--for", f"ksvc/{_NAME}")
    for kind in ("configurations", "routes", "podautoscalers", "deployments", "replicasets"):
        assert _NAME in kubectl("get", kind), kind

    kubectl("delete", "ksvc", _NAME, "--cascade=foreground")
    assert "No resources found" in kubectl.run("get", "pods,deployments,revisions,routes").stderr


def test_a_pod_is_watched_its_log_followed_and_another_comes_in_its_place(kubectl: Client, handle: Handle) -> None:
    kubectl("apply", "--filename", "-", stdin=_file("first"))
    kubectl("wait", "--for=condition=Ready", f"ksvc/{_NAME}", "--timeout=90s")
    hello = handle(_NAME)
    pod = kubectl("get", "pods", "--selector", _POD, "--output", "name").strip()
    with _said(kubectl, "logs", "--follow", pod) as log, _said(kubectl, "get", "pods", "--watch") as watched:
        eventually("the log has its beginning", lambda: log, lambda lines: "begins on 8080" in "".join(lines))
        eventually("it is watched", lambda: watched, lambda lines: any(pod.partition("/")[2] in line for line in lines))
        hello.ask("/of/the/log")
        eventually("the log has the request", lambda: log, lambda lines: "GET /of/the/log\n" in lines)
        described = kubectl("describe", pod)
        for word in ("Node:             node-1/127.0.0.1", "Successfully assigned", "Container started", "K_REVISION"):
            assert word in described, described
        kubectl("delete", pod, "--wait=false")
        eventually("it is seen to end", lambda: watched, lambda lines: any("Terminating" in line for line in lines))
        [other] = eventually("another one runs", lambda: [each["metadata"]["name"] for each in hello.pods()])
        assert f"pod/{other}" != pod
        kubectl("wait", "--for=delete", pod, "--timeout=60s")
    hello.wait_ready()
    assert hello.ask().text == "first\n"


@contextlib.contextmanager
def _said(client: Client, *words: str) -> Iterator[list[str]]:
    """The lines of a client that goes on, as they come."""
    lines: list[str] = []
    with subprocess.Popen(
        [*client.command, *words], env=client.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        reader = threading.Thread(target=lambda: lines.extend(iter(process.stdout.readline, "")))  # type: ignore[union-attr]
        reader.start()
        try:
            yield lines
        finally:
            process.terminate()
            reader.join()
