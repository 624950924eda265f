"""What of NVIDIA's own CDI files goes into ours, and what stays out."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from knative_mig.adapters.driver_edits import DriverEdits

CUDA = {"hostPath": "/run/nvidia/driver/usr/lib64/libcuda.so.580", "containerPath": "/usr/lib64/libcuda.so.580"}
LDCACHE = {
    "hookName": "createContainer",
    "path": "/usr/local/nvidia/toolkit/nvidia-cdi-hook",
    "args": ["nvidia-cdi-hook", "update-ldcache", "--folder", "/usr/lib64"],
}


def theirs(kind: str, mounts: list[dict[str, str]], **edits: Any) -> str:
    """As the toolkit writes it: the driver for all devices, nodes by device."""
    nodes = {"deviceNodes": [{"path": "/dev/nvidia0"}, {"path": "/dev/nvidia-caps/nvidia-cap1"}]}
    return yaml.safe_dump(
        {
            "cdiVersion": "0.5.0",
            "kind": kind,
            "devices": [{"name": "all", "containerEdits": nodes}],
            "containerEdits": {
                "env": ["NVIDIA_VISIBLE_DEVICES=void", "NVIDIA_CTK_LIBCUDA_DIR=/usr/lib64"],
                "mounts": mounts,
                "hooks": [LDCACHE],
                **edits,
            },
        }
    )


def test_libraries_and_hooks_are_taken_and_neither_device_nodes_nor_what_is_visible(tmp_path: Path) -> None:
    text = theirs("management.nvidia.com/gpu", [CUDA], deviceNodes=[{"path": "/dev/nvidiactl"}], additionalGids=[44])
    (tmp_path / "management.nvidia.com-gpu.yaml").write_text(text)
    assert DriverEdits(tmp_path)() == {
        "mounts": [CUDA],
        "hooks": [LDCACHE],
        "env": ["NVIDIA_CTK_LIBCUDA_DIR=/usr/lib64"],
    }


def test_the_operators_file_counts_more_than_the_machines(tmp_path: Path) -> None:
    older = {**CUDA, "hostPath": "/usr/lib64/libcuda.so.570"}
    (tmp_path / "nvidia.yaml").write_text(theirs("nvidia.com/gpu", [older]))
    assert DriverEdits(tmp_path)()["mounts"] == [older]
    (tmp_path / "management.nvidia.com-gpu.yaml").write_text(theirs("management.nvidia.com/gpu", [CUDA]))
    assert DriverEdits(tmp_path)()["mounts"] == [CUDA]


def test_a_driver_that_was_upgraded_is_described_anew(tmp_path: Path) -> None:
    path, edits = tmp_path / "nvidia.yaml", DriverEdits(tmp_path)
    path.write_text(theirs("nvidia.com/gpu", [CUDA]))
    assert edits()["mounts"] == [CUDA]
    newer = {**CUDA, "hostPath": "/usr/lib64/libcuda.so.595"}
    path.write_text(theirs("nvidia.com/gpu", [newer]))
    os.utime(path, ns=(1, 1))
    assert edits()["mounts"] == [newer]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("nvidia.yaml", "kind: [cut short", id="half written"),
        pytest.param("nvidia.json", "[]", id="no CDI file"),
        pytest.param("nvidia.json", json.dumps({"kind": "nvidia.com/gpu", "containerEdits": None}), id="without edits"),
        pytest.param("nvidia.yaml", theirs("nvidia.com/gpu", []), id="without libraries"),
        pytest.param("nvidia.yaml", theirs("vendor.com/nic", [CUDA]), id="of another kind"),
        pytest.param("vendor.yaml", theirs("nvidia.com/gpu", [CUDA]), id="by another name"),
    ],
)
def test_where_nobody_describes_the_driver_it_is_said_and_nothing_is_made_up(
    tmp_path: Path, name: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / name).write_text(text)
    edits = DriverEdits(tmp_path)
    assert (edits(), edits()) == ({}, {})
    assert caplog.text.count("only where its runtime is NVIDIA's") == 1


def test_our_own_files_are_none_of_nvidias(tmp_path: Path) -> None:
    (tmp_path / "knative-mig.dev-slice_GPU-1-3g.20gb-4.json").write_text('{"cut short')
    assert DriverEdits(tmp_path)() == {}
