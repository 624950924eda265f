"""Who else would cut or serve the node's GPUs is told by the pods beside the agent."""

import pytest

from knative_mig.core.agent.other_owners import other_owners
from knative_mig.core.cluster.objects import Phase, PodFacts
from tests.rigs.agent_worlds import NODE, pod


@pytest.mark.parametrize(
    ("each", "owner"),
    [
        pytest.param("gpu-operator/nvidia-device-plugin-daemonset-x7f", True, id="the operator's plugin"),
        pytest.param("kube-system/nvdp-nvidia-device-plugin-abc", True, id="the chart's plugin"),
        pytest.param("kube-system/nvidia-gpu-device-plugin-small-cos", True, id="a cloud's plugin"),
        pytest.param("gpu-operator/nvidia-mig-manager-q2w", True, id="mig-manager"),
        pytest.param("nvidia/nvidia-dra-driver-gpu-kubelet-plugin-q2w", True, id="the DRA driver"),
        pytest.param("a/dra-driver-nvidia-gpu-kubelet-plugin-q2w", True, id="the DRA driver of today's chart"),
        pytest.param("gpu-operator/nvidia-dra-driver-kubelet-plugin-q2w", True, id="the operator's DRA driver"),
        pytest.param("nvidia/nvidia-dra-driver-gpu-controller-7b", False, id="the DRA driver's controller"),
        pytest.param("gpu-operator/nvidia-dcgm-exporter-q2w", False, id="a monitor"),
    ],
)
def test_who_would_serve_or_cut_the_same_slices(each: str, *, owner: bool) -> None:
    assert other_owners([pod(each, owner="DaemonSet")], NODE) == ((each,) if owner else ())


def test_a_static_pod_of_the_node_counts_too() -> None:
    static = pod("kube-system/nvidia-device-plugin-n1", owner="Node")
    assert other_owners([static], NODE) == ("kube-system/nvidia-device-plugin-n1",)


@pytest.mark.parametrize(
    "each",
    [
        pytest.param(pod("a/nvidia-mig-manager-q2w", owner="DaemonSet", node="n2"), id="elsewhere"),
        pytest.param(pod("a/nvidia-mig-manager-q2w", owner="DaemonSet", phase=Phase.SUCCEEDED), id="over"),
        pytest.param(pod("a/nvidia-device-plugin-test-00001-deployment-x", "1g.5gb"), id="a function of such a name"),
        pytest.param(pod("a/nvidia-device-plugin-test", "1g.5gb", owner=""), id="somebody's bare pod"),
    ],
)
def test_who_only_has_the_name_stops_nothing(each: PodFacts) -> None:
    assert other_owners([each], NODE) == ()
