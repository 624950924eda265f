"""What a newcomer came to see: idle fragments of a GPU become the slice that a function needs."""

from collections.abc import Callable

import pytest

from tests.cluster.api import Api
from tests.cluster.function import Function
from tests.cluster.slices import GpuNodeView
from tests.cluster.waits import eventually
from tests.dev.client import Client
from tests.dev_suite.conftest import QUICK

_QUICK = (*QUICK, "--timeout", "5")  # so long do their pods drain
# Profiles that only the H100 has, and only this test asks for.
_NODE, _PARTS, _WHOLE = "node-2", ("2g.20gb", "3g.40gb"), "7g.80gb"


@pytest.mark.long
def test_idle_fragments_are_merged_for_a_function_that_needs_the_whole_gpu(
    kn: Client, kubectl: Client, handle: Callable[[str], Function], api: Api
) -> None:
    node = GpuNodeView(_NODE, api)
    for profile in _PARTS:
        kn("service", "create", f"part-{profile[0]}", *_QUICK, "--limit", f"nvidia.com/mig-{profile}=1")
    node.wait(
        "its slices are idle",
        lambda slices: {(each.profile, each.state) for each in slices} == {(profile, "Idle") for profile in _PARTS},
    )

    kn("service", "create", "whole", *_QUICK, "--limit", f"nvidia.com/mig-{_WHOLE}=1", "--no-wait")
    whole = handle("whole").wait_ready()
    assert whole.ask().text == "hello\n"
    [pod] = [each["metadata"]["name"] for each in whole.pods()]
    node.wait(
        "it is that pod's", lambda slices: [(each.profile, each.holders) for each in slices] == [(_WHOLE, (pod,))]
    )
    eventually("that is told", lambda: kubectl("get", "events"), lambda said: "SliceProvisioned" in said)
    row = kubectl("get", "gpunodes", _NODE).splitlines()[1].split()
    assert row[0] == _NODE

    # One that finds no room is told why where its user looks, and has its slice when there is room.
    late = handle("late")
    kn("service", "create", "late", *_QUICK, "--limit", f"nvidia.com/mig-{_PARTS[0]}=1", "--no-wait")
    eventually(
        "it is told why it waits",
        lambda: kubectl("describe", "pods", "--selector", "serving.knative.dev/service=late"),
        lambda said: f"held by {late.namespace}/whole-00001" in said,
    )
    assert "SchedulingGated" in kubectl("get", "pods")
    kn("service", "delete", "whole")
    assert late.wait_ready().ask().text == "hello\n"
