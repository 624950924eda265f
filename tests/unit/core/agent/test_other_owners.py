"""Who else would cut or serve the node's GPUs is told by the pods beside the agent."""

import pytest

from knative_mig.core.agent.other_owners import other_owners
from knative_mig.core.cluster.objects import Phase, PodFacts
from tests.rigs.agent_worlds import NODE, pod


@pytest.mark.parametrize(
    ("each", "owner"),
    [
        pytest.param(pod("gpu-operator/nvidia-device-plugin-daemonset-x7f"), True, id="the operator's plugin"),
        pytest.param(pod("kube-system/nvdp-nvidia-device-plugin-abc"), True, id="the chart's plugin"),
        pytest.param(pod("kube-system/nvidia-gpu-device-plugin-small-cos"), True, id="a cloud's plugin"),
        pytest.param(pod("gpu-operator/nvidia-mig-manager-q2w"), True, id="mig-manager"),
        pytest.param(pod("gpu-operator/nvidia-dcgm-exporter-q2w"), False, id="a monitor"),
        pytest.param(pod("a/nvidia-mig-manager-q2w", node="n2"), False, id="elsewhere"),
        pytest.param(pod("a/nvidia-mig-manager-q2w", phase=Phase.SUCCEEDED), False, id="over"),
    ],
)
def test_other_owners(each: PodFacts, *, owner: bool) -> None:
    assert other_owners([each], NODE) == ((f"{each.namespace}/{each.name}",) if owner else ())
