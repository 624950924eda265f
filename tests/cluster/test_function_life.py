"""A function's life with the real kn: created, listed, updated with its traffic split, deleted without a trace.

And that functions run at the pod security level that the design asks of everything but the node agent.
"""

import time
from collections import Counter
from collections.abc import Callable

import pytest

from tests.cluster.api import (
    AUTOSCALER,
    DEPLOYMENT,
    NAMESPACE,
    POD,
    REVISION,
    SERVERLESS_SERVICE,
    SERVICE,
    Api,
    RefusedError,
)
from tests.cluster.conftest import DeployFunction
from tests.cluster.figures import Measured
from tests.cluster.function import Function
from tests.cluster.kn import Kn
from tests.cluster.testbed.system_images import FUNCTION_IMAGE
from tests.cluster.waits import eventually, until_all


def test_kn_creates_lists_splits_and_deletes_a_function(
    kn: Kn, handle: Callable[[str], Function], api: Api, namespace: str, measured: Measured
) -> None:
    begun = time.monotonic()
    said = kn("service", "create", "hello", "--image", FUNCTION_IMAGE, "--env", "ANSWER=first")
    measured("kn service create", time.monotonic() - begun, "s")
    hello = handle("hello")
    assert f"http://{hello.host}" in said
    assert hello.ask().text == "first\n"

    row = kn("service", "list").splitlines()[1].split()
    assert row[:3] == ["hello", f"http://{hello.host}", "hello-00001"]
    assert "True" in row

    kn("service", "update", "hello", "--env", "ANSWER=second", "--traffic", "hello-00001=50", "--traffic", "@latest=50")
    assert hello.revisions() == ["hello-00001", "hello-00002"]
    both = {"first\n", "second\n"}  # and nothing of the gateway's own
    eventually("both revisions answer", lambda: _asked(hello, 10), lambda answers: answers.keys() == both)
    answers = _asked(hello, 100)
    # 100 fair coins fall outside of 25..75 once in some million runs.
    assert 25 <= answers["first\n"] <= 75, answers
    measured("share of the old revision at 50:50", answers["first\n"], "of 100")

    kn("service", "delete", "hello")
    for kind in (SERVICE, REVISION, AUTOSCALER, SERVERLESS_SERVICE, DEPLOYMENT):
        until_all(api, kind, namespace, f"no {kind.plural} left", lambda world: not world)
    eventually("its host is unknown to the gateway", lambda: hello.ask().status, lambda status: status == 404)
    assert "No services found" in kn("service", "list")


def test_a_function_runs_where_the_restricted_pod_security_level_is_enforced(
    function: DeployFunction, api: Api, namespace: str
) -> None:
    api.merge(NAMESPACE, namespace, {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}})
    assert function().ask().status == 200
    with pytest.raises(RefusedError, match="violates PodSecurity"):  # the control: it is enforced indeed
        api.create(
            POD, {"metadata": {"name": "lax"}, "spec": {"containers": [{"name": "lax", "image": "x"}]}}, namespace
        )


def _asked(function: Function, times: int) -> Counter[str]:
    return Counter(function.ask().text for _ in range(times))
