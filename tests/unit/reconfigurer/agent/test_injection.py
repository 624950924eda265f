"""Which files an agent writes for the containers that get its slices."""

import json
from pathlib import Path
from typing import Any

import pytest

from knative_mig.adapters.cdi import no_nodes
from knative_mig.core.gpu_node import Layout
from knative_mig.core.inventory import NodeName
from knative_mig.core.mig_tables import gpu_model
from reconfigurer.agent.process import injection_of
from reconfigurer.agent.settings import Inject, Settings
from tests.rigs.agent_worlds import slice_id

SLICE = slice_id("A", "3g.20gb@4")
CUDA = {"hostPath": "/usr/lib64/libcuda.so.580", "containerPath": "/usr/lib64/libcuda.so.580"}
NVIDIAS = {"kind": "management.nvidia.com/gpu", "containerEdits": {"mounts": [CUDA]}}


def published(folder: Path, layout: Layout = Layout.DYNAMIC, **told: Any) -> list[dict[str, Any]]:
    """Our files beside one of NVIDIA's."""
    (folder / "management.nvidia.com-gpu.json").write_text(json.dumps(NVIDIAS))
    settings = Settings(node=NodeName("n1"), cdi_dir=folder, **told)
    model = gpu_model("A100-40GB")
    place = model.place(model.profile(SLICE.profile), SLICE.start)
    injection_of(settings, layout, nodes_of=no_nodes).publish(SLICE, place, "MIG-1", 9, 0)
    return [json.loads(path.read_text()) for path in folder.glob("knative-mig.dev-*")]


def test_on_hardware_a_slices_file_brings_the_drivers_libraries_too(tmp_path: Path) -> None:
    [spec] = published(tmp_path, gpus="nvml")
    assert spec["containerEdits"] == {"mounts": [CUDA]}


def test_a_simulated_slice_needs_no_driver(tmp_path: Path) -> None:
    [spec] = published(tmp_path, gpus="simulated:1xA100-40GB")
    assert "containerEdits" not in spec


@pytest.mark.parametrize(
    ("layout", "inject"),
    [
        pytest.param(Layout.STATIC, Inject.CDI, id="another plugin hands the slices out"),
        pytest.param(Layout.DYNAMIC, Inject.ENV, id="NVIDIA's runtime brings all"),
    ],
)
def test_no_file_where_somebody_else_brings_the_slice(tmp_path: Path, layout: Layout, inject: Inject) -> None:
    assert published(tmp_path, layout, gpus="nvml", inject=inject) == []
