"""What a node agent is told wrongly is answered with one line, before anything is begun."""

from pathlib import Path

import pytest
import yaml

from knative_mig.core.errors import BadInput
from knative_mig.core.gpu_node import MOST_GPUS_A_NODE
from knative_mig.core.inventory import NodeName
from reconfigurer.agent.settings import PodsBy, Settings

CRD = Path(__file__).parents[4] / "config" / "core" / "300-gpunode.yaml"


def settings(gpus: str) -> Settings:
    return Settings(node=NodeName("n1"), gpus=gpus)


@pytest.mark.parametrize(
    ("gpus", "why"),
    [
        ("amd", "--gpus amd: legal are nvml, or simulated:2xA100-40GB with at most 16 GPUs"),
        ("simulated:17xA100-40GB", "--gpus simulated:17xA100-40GB asks for 17 GPUs: legal are "),
        ("simulated:9xA100-40GB,8xH100-80GB", "--gpus simulated:9xA100-40GB,8xH100-80GB asks for 17 GPUs: "),
        ("simulated:9999xA100-40GB", "--gpus simulated:9999xA100-40GB: "),
        (
            "simulated:two",
            "--gpus simulated:two: 'two' is not written like 2xA100-40GB, a count and a model; legal are nvml, ",
        ),
        ("simulated:1xRTX", "--gpus simulated:1xRTX: "),
    ],
)
def test_gpus_that_no_node_has_are_refused_in_one_line(gpus: str, why: str) -> None:
    with pytest.raises(BadInput) as refused:
        settings(gpus)
    assert str(refused.value).startswith(why)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("node", ["", "Node", "a node", "-n1", "n1.", "n\n1", "n" * 254])
def test_a_name_that_no_node_can_have_is_refused(node: str) -> None:
    with pytest.raises(BadInput, match=r"^--node ") as refused:
        Settings(node=NodeName(node), gpus="nvml")
    assert "\n" not in str(refused.value)


def test_a_folder_in_which_no_socket_could_be_made_is_refused() -> None:
    Settings(node=NodeName("gpu-1.example"), gpus="nvml", kubelet_dir=Path("/" + "k" * 79))
    with pytest.raises(BadInput, match="--kubelet-dir has 81 bytes: legal are 80"):
        Settings(node=NodeName("n1"), gpus="nvml", kubelet_dir=Path("/" + "k" * 80))


def test_a_node_may_have_as_many_as_its_gpu_node_can_name() -> None:
    assert settings(f"simulated:{MOST_GPUS_A_NODE}xA100-40GB").simulated == "16xA100-40GB"
    (version,) = yaml.safe_load(CRD.read_text(encoding="utf-8"))["spec"]["versions"]
    properties = version["schema"]["openAPIV3Schema"]["properties"]
    named = [properties[part]["properties"]["gpus"]["maxItems"] for part in ("spec", "status")]
    assert named == [MOST_GPUS_A_NODE] * 2


def test_on_hardware_nobody_may_say_himself_of_which_pod_he_is() -> None:
    Settings(node=NodeName("n1"), gpus="simulated:1xA100-40GB", pods_by=PodsBy.ENVIRONMENT)
    with pytest.raises(BadInput, match="--pods-by environment is for simulated GPUs alone: legal here is cgroup"):
        Settings(node=NodeName("n1"), gpus="nvml", pods_by=PodsBy.ENVIRONMENT)
