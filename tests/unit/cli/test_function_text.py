"""Functions as `knative-mig ls` prints them."""

from typing import Any

import pytest

from knative_mig.cli.function_text import Function, data_of, functions, text_of
from knative_mig.core.gpu_node import SliceState

from .test_gpu_text import TINY, a_node, a_slice

MIG = {"nvidia.com/mig-1g.5gb": "1"}


def a_service(
    name: str = "tiny", *, ready: str = "True", reason: str = "", namespace: str = "default", **limits: str
) -> dict[str, Any]:
    condition = {"type": "Ready", "status": ready, "reason": reason, "message": f"{reason} it is" if reason else ""}
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"template": {"spec": {"containers": [{"resources": {"limits": limits or MIG}}]}}},
        "status": {"url": f"http://{name}.{namespace}.localhost:8080", "conditions": [condition]},
    }


def a_pod(*, ready: bool, **about: Any) -> dict[str, Any]:
    labels = {"serving.knative.dev/service": "tiny"}
    return {
        "metadata": {"name": TINY.pod, "namespace": "default", "labels": labels, **about},
        "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def only(services: list[dict[str, Any]], pods: list[dict[str, Any]]) -> Function:
    (found,) = functions(services, pods, [a_node(a_slice("1g.5gb@0", SliceState.BUSY, holders=(TINY,)))])
    return found


def test_prints_what_each_function_is_at_and_has() -> None:
    node = a_node(a_slice("1g.5gb@0", SliceState.BUSY, holders=(TINY,)))
    failed = a_service("chat", ready="False", reason="RevisionFailed", namespace="shop", cpu="1")
    assert text_of(functions([failed, a_service()], [a_pod(ready=True)], [node])).splitlines() == [
        "NAMESPACE  FUNCTION  STATE   PODS  WANTS   SLICES                          URL",
        "default    tiny      ready      1  1g.5gb  1g.5gb@0 on dev-0 GPU-1a2b3c4d  http://tiny.default.localhost:8080",
        "shop       chat      failed     0  -       -                               http://chat.shop.localhost:8080",
        "",
        "shop/chat: RevisionFailed: RevisionFailed it is",
    ]


def test_the_cause_is_said_in_place_of_what_knative_says_and_of_nothing_else() -> None:
    causes = {("default", "tiny"): "no GPU can be cut so"}
    failed, starting = a_service(ready="False", reason="RevisionMissing"), a_service()
    for service, pods in ((failed, []), (starting, [a_pod(ready=False)])):
        (found,) = functions([service], pods, [], causes)
        assert found.why == "no GPU can be cut so"
    (found,) = functions([starting], [a_pod(ready=True)], [], causes)
    assert found.why == ""


def test_no_function_says_how_to_make_one() -> None:
    assert text_of(functions([], [], [])) == "no functions: make one with `kn service create`"


@pytest.mark.parametrize(
    ("service", "pods", "state"),
    [
        pytest.param(a_service(), [a_pod(ready=True)], "ready", id="ready"),
        pytest.param(a_service(), [a_pod(ready=False)], "starting", id="from zero"),
        pytest.param(a_service(), [], "at zero", id="at zero"),
        pytest.param(
            a_service(), [a_pod(ready=True, deletionTimestamp="2026-01-01T00:00:00Z")], "at zero", id="to zero"
        ),
        pytest.param(a_service(ready="Unknown", reason="Deploying"), [], "deploying", id="new"),
        pytest.param(a_service() | {"status": {}}, [], "deploying", id="nobody has looked at it"),
    ],
)
def test_says_whether_it_is_at_zero_which_knative_does_not(
    service: dict[str, Any], pods: list[dict[str, Any]], state: str
) -> None:
    assert only([service], pods).state == state


def test_a_function_without_a_size_wants_one_for_its_model() -> None:
    service = a_service(cpu="1")
    service["spec"]["template"]["metadata"] = {"annotations": {"knative-mig.dev/model": "llama-8b"}}
    assert only([service], []).wants == "a slice for llama-8b"


def test_data_names_the_slices_of_its_pods() -> None:
    (found,) = data_of([only([a_service()], [a_pod(ready=True)])])
    assert found["slices"][0] | {"gpu": ""} == {
        "pod": TINY.pod, "node": "dev-0", "gpu": "", "profile": "1g.5gb", "start": 0,
    }  # fmt: skip
    assert (found["state"], found["pods"], found["readyPods"]) == ("ready", 1, 1)
