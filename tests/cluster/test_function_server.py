"""The function under test does what tests ask of it: each of these is a thing that some story needs to be true."""

import http.client
import time

import pytest

from tests.cluster.api import POD, Api, Object
from tests.cluster.conftest import DeployFunction
from tests.cluster.function import MIN_SCALE
from tests.cluster.testbed.system_images import FUNCTION_IMAGE
from tests.cluster.waits import until, until_gone

_GRACE_SECONDS = 20  # on a busy machine a pod that ends at once may take half of it to be gone


def test_it_streams_sleeps_fails_and_breaks_off_as_the_query_says(function: DeployFunction) -> None:
    hello = function(annotations={MIN_SCALE: "1"})
    stream = hello.ask("/?chunks=3&every=2s")
    assert stream.text.count("data: ") == 4
    assert stream.text.endswith("data: [DONE]\n\n")
    assert stream.ended - stream.first_byte > 0.5  # it takes 4 s, and nobody held it back until the end

    slept = hello.ask("/?sleep=1s")
    assert slept.first_byte - slept.asked >= 1

    assert hello.ask("/?status=418").status == 418
    assert hello.ask("/?status=42").status == 400  # no status of HTTP's
    assert hello.ask("/?abort=1").status == 502
    with pytest.raises((TimeoutError, http.client.HTTPException)):
        hello.ask("/?hang=1", timeout=1)


def _pod(name: str, **environment: str) -> Object:
    variables = [{"name": key, "value": value} for key, value in environment.items()]
    container = {"name": "function", "image": FUNCTION_IMAGE, "env": variables}
    spec = {"containers": [container], "restartPolicy": "Never", "terminationGracePeriodSeconds": _GRACE_SECONDS}
    return {"metadata": {"name": name}, "spec": spec}


def test_it_ends_on_sigterm_at_once_unless_told_to_ignore_it(api: Api, namespace: str) -> None:
    deaf_for = {}
    for name, variables in {"polite": {}, "deaf": {"IGNORE_SIGTERM": "1"}}.items():
        api.create(POD, _pod(name, **variables), namespace)
        until(api, POD.named(name, namespace), "runs", lambda pod: pod["status"].get("phase") == "Running")
        deleted = time.monotonic()
        api.delete(POD, name, namespace)
        deaf_for[name] = until_gone(api, POD.named(name, namespace)) - deleted
    assert deaf_for["polite"] < _GRACE_SECONDS - 1
    assert deaf_for["deaf"] >= _GRACE_SECONDS


def test_it_fails_at_its_start_with_the_code_that_it_is_given(api: Api, namespace: str) -> None:
    api.create(POD, _pod("fails", FAIL_START="7"), namespace)
    until(api, POD.named("fails", namespace), "failed", lambda pod: pod["status"].get("phase") == "Failed")
    (status,) = api.get(POD, "fails", namespace)["status"]["containerStatuses"]
    assert status["state"]["terminated"]["exitCode"] == 7
