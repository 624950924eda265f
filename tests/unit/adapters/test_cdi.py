"""CDI files: what a container runtime finds there, and what it never finds."""

import json
from pathlib import Path
from typing import Any

import pytest

from knative_mig.adapters.cdi import CdiFiles, cdi_device
from knative_mig.adapters.device_nodes import DeviceNode
from knative_mig.core.gpu_node import SliceId
from knative_mig.core.inventory import GpuUuid
from knative_mig.core.mig_tables import gpu_model
from knative_mig.core.profile import ProfileName
from knative_mig.ports.injection import InjectionFailed

GPU = GpuUuid("GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77")
OTHER = GpuUuid("GPU-00000000-0000-0000-0000-000000000000")


def _slice(profile: str, start: int, gpu: GpuUuid = GPU) -> SliceId:
    return SliceId(gpu=gpu, profile=ProfileName.parse(profile), start=start)


def _publish(files: CdiFiles, slice_id: SliceId, mig_uuid: str) -> None:
    model = gpu_model("A100-40GB")
    place = model.place(model.profile(slice_id.profile), slice_id.start)
    files.publish(slice_id, place, mig_uuid, gi_id=9, ci_id=0)


def _specs(folder: Path) -> dict[str, dict[str, Any]]:
    """By device, as a runtime reads them: whatever ends in .json or .yaml."""
    found = {}
    for path in folder.iterdir():
        if path.suffix in {".json", ".yaml"}:
            spec = json.loads(path.read_text())
            for device in spec["devices"]:
                found[f"{spec['kind']}={device['name']}"] = spec
    return found


def test_a_slice_is_a_device_with_its_uuid_as_environment(tmp_path: Path) -> None:
    _publish(CdiFiles(tmp_path / "cdi"), _slice("1g.5gb+me", 3), "MIG-1")

    assert _specs(tmp_path / "cdi") == {
        f"knative-mig.dev/slice={GPU}-1g.5gb.me-3": {
            "cdiVersion": "0.6.0",
            "kind": "knative-mig.dev/slice",
            "annotations": {"knative-mig.dev/slice": f"{GPU}/1g.5gb+me/3"},
            "devices": [
                {
                    "name": f"{GPU}-1g.5gb.me-3",
                    "containerEdits": {"env": ["NVIDIA_VISIBLE_DEVICES=MIG-1"]},
                }
            ],
        }
    }
    assert cdi_device(_slice("1g.5gb+me", 3)) in _specs(tmp_path / "cdi")


def test_a_slice_that_is_made_anew_keeps_its_name_and_has_the_new_uuid(tmp_path: Path) -> None:
    files = CdiFiles(tmp_path)
    _publish(files, _slice("3g.20gb", 4), "MIG-old")
    _publish(files, _slice("3g.20gb", 4), "MIG-new")

    (spec,) = _specs(tmp_path).values()
    assert spec["devices"][0]["containerEdits"]["env"] == ["NVIDIA_VISIBLE_DEVICES=MIG-new"]
    assert len(list(tmp_path.iterdir())) == 1, "nothing half written stays"


def test_a_runtime_that_read_the_old_file_keeps_it_whole(tmp_path: Path) -> None:
    files = CdiFiles(tmp_path)
    _publish(files, _slice("3g.20gb", 4), "MIG-old")
    (path,) = tmp_path.iterdir()
    with path.open() as reader:
        _publish(files, _slice("3g.20gb", 4), "MIG-of-another-length")
        assert "MIG-old" in json.loads(reader.read())["devices"][0]["containerEdits"]["env"][0]


def test_a_slice_that_is_as_it_was_is_not_written_again(tmp_path: Path) -> None:
    files = CdiFiles(tmp_path)
    _publish(files, _slice("3g.20gb", 4), "MIG-1")
    before = next(tmp_path.iterdir()).stat().st_ino
    _publish(files, _slice("3g.20gb", 4), "MIG-1")
    assert next(tmp_path.iterdir()).stat().st_ino == before, "each new file makes the runtime read the folder again"


def test_device_nodes_and_what_every_container_gets_are_in_the_file(tmp_path: Path) -> None:
    asked = []

    def nodes(gpu: GpuUuid, gi_id: int, ci_id: int) -> tuple[DeviceNode, ...]:
        asked.append((gpu, gi_id, ci_id))
        capability = DeviceNode(path="/dev/nvidia-caps/nvidia-cap30", major=237, minor=30)
        return (DeviceNode(path="/dev/nvidia0", major=195, minor=0), capability)

    libraries = {"mounts": [{"hostPath": "/lib/libcuda.so.1", "containerPath": "/lib/libcuda.so.1"}]}
    _publish(CdiFiles(tmp_path, device_nodes=nodes, for_all=lambda: libraries), _slice("3g.20gb", 4), "MIG-1")

    (spec,) = _specs(tmp_path).values()
    assert spec["containerEdits"] == libraries
    assert spec["devices"][0]["containerEdits"]["deviceNodes"] == [
        {"path": "/dev/nvidia0", "type": "c", "major": 195, "minor": 0, "permissions": "rw"},
        {"path": "/dev/nvidia-caps/nvidia-cap30", "type": "c", "major": 237, "minor": 30, "permissions": "rw"},
    ]
    assert asked == [(GPU, 9, 0)]


def test_a_slice_that_is_gone_is_withdrawn_once_or_twice(tmp_path: Path) -> None:
    files = CdiFiles(tmp_path)
    _publish(files, _slice("3g.20gb", 4), "MIG-1")
    files.withdraw(_slice("3g.20gb", 4))
    files.withdraw(_slice("3g.20gb", 4))
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_removes_what_an_earlier_run_left_of_that_gpu_and_nothing_else(tmp_path: Path) -> None:
    files = CdiFiles(tmp_path)
    live, gone, others = _slice("3g.20gb", 4), _slice("1g.5gb", 0), _slice("1g.5gb", 0, OTHER)
    for slice_id in (live, gone, others):
        _publish(files, slice_id, f"MIG-{slice_id.start}")
    (tmp_path / "nvidia.yaml").write_text("cdiVersion: 0.5.0\n")
    (tmp_path / f"knative-mig.dev-slice_{GPU}-1g.5gb-1.json").write_text('{"cut short')

    files.sweep(GPU, {live})

    left = {path.name for path in tmp_path.iterdir()}
    assert left == {
        "nvidia.yaml",
        f"knative-mig.dev-slice_{GPU}-3g.20gb-4.json",
        f"knative-mig.dev-slice_{OTHER}-1g.5gb-0.json",
    }


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "cdi").write_text("a file stands in its place")
    with pytest.raises(InjectionFailed, match="cdi"):
        _publish(CdiFiles(tmp_path / "cdi"), _slice("3g.20gb", 4), "MIG-1")
