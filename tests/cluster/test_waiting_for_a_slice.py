"""A function whose slice is not there yet: what stock Knative does by itself while the slice is made.

This is the control for the parts that make slices; here the node's capacity is patched by hand.
"""

from tests.cluster.api import AUTOSCALER, POD, REVISION, Api
from tests.cluster.conftest import DeployFunction
from tests.cluster.figures import Measured
from tests.cluster.function import BURST_CAPACITY, MIN_SCALE
from tests.cluster.gpu_node import GpuNode
from tests.cluster.waits import condition, is_true, until, until_all

_SLICE = "nvidia.com/mig-4g.24gb"  # of an A30, which no fleet of the suite has: no agent and no planner answers for it
_LATE_SECONDS = 10  # a busy machine; the default limit, which must not be what counts here, is 300 s


def test_a_function_waits_for_its_slice_without_failing_and_is_served_when_it_is_there(
    function: DeployFunction, api: Api, namespace: str, gpu_node: GpuNode
) -> None:
    llm = function("llm", limits={_SLICE: "1"}, annotations={MIN_SCALE: "1"}, wait=False)
    revision = llm.revision

    def unschedulable(world: dict[str, dict[str, object]]) -> str | None:
        return next(
            (name for name, pod in world.items() if condition(pod, "PodScheduled").get("status") == "False"), None
        )

    pod = until_all(api, POD, namespace, "the pod finds no node", unschedulable)
    message = condition(api.get(POD, pod, namespace), "PodScheduled")["message"]
    assert f"Insufficient {_SLICE}" in message
    until(
        api,
        AUTOSCALER.named(revision, namespace),
        "is Queued",
        lambda item: condition(item, "Active").get("reason") == "Queued",
    )
    # `pod-is-always-schedulable`: neither the Revision nor the Service may fail while the slice is being made.
    assert condition(api.get(REVISION, revision, namespace))["status"] == "Unknown"
    assert condition(llm.service)["status"] == "Unknown"

    with gpu_node.offering(_SLICE):
        llm.wait_ready()
        assert llm.ask().text == f"hello from {revision}\n"
        served = api.get(POD, pod, namespace)
        assert served["spec"]["nodeName"] == gpu_node.name
        assert is_true(served)


def test_a_request_is_held_until_its_timeout_and_then_gets_504(
    function: DeployFunction, gpu_node: GpuNode, measured: Measured
) -> None:
    resource = "nvidia.com/mig-4g.40gb"
    options = {"limits": {resource: "1"}, "annotations": {BURST_CAPACITY: "-1"}}
    with gpu_node.offering(resource, 2):
        short = function("short", timeoutSeconds=4, **options)
        first_byte = function("first-byte", timeoutSeconds=60, responseStartTimeoutSeconds=2, **options)
        short.wait_zero()
        first_byte.wait_zero()
    # Their slices are gone: what arrives now waits at the activator for a pod that cannot be placed.
    for held, seconds in ((short, 4), (first_byte, 2)):
        answer = held.ask()
        waited = answer.ended - answer.asked
        assert answer.status == 504
        assert "activator request timeout" in answer.text
        assert seconds <= waited < seconds + _LATE_SECONDS
        measured(f"held with a limit of {seconds} s", waited, "s")
