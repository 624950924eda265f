"""The device nodes of a slice, from a tree as the driver makes it."""

from pathlib import Path

import pytest

from knative_mig.adapters.device_nodes import device_nodes
from knative_mig.core.inventory import GpuUuid
from knative_mig.ports.injection import InjectionFailed

FIRST = GpuUuid("GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77")
SECOND = GpuUuid("GPU-6f1c3f0a-1111-2222-3333-444455556666")


@pytest.fixture(name="host")
def _host(tmp_path: Path) -> Path:
    """Two GPUs, whose minors are not in the order of their addresses; the slice is on the one with minor 0."""
    for address, uuid, minor in (("0000:07:00.0", SECOND, 1), ("0000:0f:00.0", FIRST, 0)):
        _file(
            tmp_path / f"proc/driver/nvidia/gpus/{address}/information",
            f"Model: \t\t NVIDIA A100-SXM4-40GB\nIRQ:   \t\t 95\nGPU UUID: \t {uuid}\nBus Type: \t PCIe\n"
            f"Device Minor: \t {minor}\nGPU Excluded:\t No\n",
        )
    mig = tmp_path / "proc/driver/nvidia/capabilities/gpu0/mig"
    _file(mig / "gi2/access", "DeviceFileMinor: 21\nDeviceFileMode: 292\nDeviceFileModify: 1\n")
    _file(mig / "gi2/ci0/access", "DeviceFileMinor: 22\nDeviceFileMode: 292\nDeviceFileModify: 1\n")
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools"):
        _file(tmp_path / "dev" / name, "")
    for number in (21, 22, 30):
        _file(tmp_path / f"dev/nvidia-caps/nvidia-cap{number}", "")
    return tmp_path


def _file(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _nodes(host: Path, gpu: GpuUuid = FIRST, gi_id: int = 2, ci_id: int = 0) -> tuple[str, ...]:
    return device_nodes(gpu, gi_id, ci_id, proc=host / "proc", dev=host / "dev")


def test_a_slice_needs_its_gpu_the_drivers_and_its_two_capabilities(host: Path) -> None:
    assert _nodes(host) == (
        "/dev/nvidia0",
        "/dev/nvidiactl",
        "/dev/nvidia-uvm",
        "/dev/nvidia-caps/nvidia-cap21",
        "/dev/nvidia-caps/nvidia-cap22",
        "/dev/nvidia-uvm-tools",
    )


def test_the_profilers_node_may_be_missing(host: Path) -> None:
    (host / "dev/nvidia-uvm-tools").unlink()
    assert "/dev/nvidia-uvm-tools" not in _nodes(host)


@pytest.mark.parametrize("name", ["nvidia0", "nvidia-uvm", "nvidia-caps/nvidia-cap22"])
def test_a_node_that_is_not_made_yet_is_named(host: Path, name: str) -> None:
    (host / "dev" / name).unlink()
    with pytest.raises(InjectionFailed, match=f"/dev/{name} is not there"):
        _nodes(host)


def test_a_slice_that_the_driver_does_not_list_is_refused(host: Path) -> None:
    with pytest.raises(InjectionFailed, match="gi7/access: No such file"):
        _nodes(host, gi_id=7)
    with pytest.raises(InjectionFailed, match="ci1/access: No such file"):
        _nodes(host, ci_id=1)


def test_a_gpu_that_the_driver_does_not_list_is_refused(host: Path) -> None:
    with pytest.raises(InjectionFailed, match="names no GPU-none"):
        _nodes(host, GpuUuid("GPU-none"))


def test_a_capability_without_a_minor_is_refused(host: Path) -> None:
    _file(host / "proc/driver/nvidia/capabilities/gpu0/mig/gi2/access", "DeviceFileMode: 292\n")
    with pytest.raises(InjectionFailed, match="no DeviceFileMinor"):
        _nodes(host)
