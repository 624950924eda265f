"""The device nodes of a slice, from a tree as the driver makes it."""

from pathlib import Path

import pytest

from knative_mig.adapters.device_nodes import DeviceNode, device_nodes
from knative_mig.core.inventory import GpuUuid
from knative_mig.ports.injection import InjectionFailed

FIRST = GpuUuid("GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77")
SECOND = GpuUuid("GPU-6f1c3f0a-1111-2222-3333-444455556666")
DEVICES = """Character devices:
  1 mem
195 {driver}
234 nvidia-uvm
237 nvidia-caps

Block devices:
195 nvidia-uvm
"""
MINORS = """config 1
monitor 2
gpu0/gi2/access 21
gpu0/gi2/ci0/access 22
gpu1/gi2/access 156
gpu1/gi2/ci0/access 157
"""


@pytest.fixture(name="proc")
def _proc(tmp_path: Path) -> Path:
    """Two GPUs, whose minors are not in the order of their addresses."""
    for address, uuid, minor in (("0000:07:00.0", SECOND, 1), ("0000:0f:00.0", FIRST, 0)):
        _file(
            tmp_path / f"driver/nvidia/gpus/{address}/information",
            f"Model: \t\t NVIDIA A100-SXM4-40GB\nIRQ:   \t\t 95\nGPU UUID: \t {uuid}\nBus Type: \t PCIe\n"
            f"Device Minor: \t {minor}\nGPU Excluded:\t No\n",
        )
    _file(tmp_path / "driver/nvidia-caps/mig-minors", MINORS)
    _file(tmp_path / "devices", DEVICES.format(driver="nvidia"))
    return tmp_path


def _file(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _node(path: str, major: int, minor: int) -> DeviceNode:
    return DeviceNode(path=path, major=major, minor=minor)


def test_a_slice_needs_its_gpu_the_drivers_and_its_two_capabilities(proc: Path) -> None:
    assert device_nodes(FIRST, 2, 0, proc=proc) == (
        _node("/dev/nvidia0", 195, 0),
        _node("/dev/nvidiactl", 195, 255),
        _node("/dev/nvidia-uvm", 234, 0),
        _node("/dev/nvidia-caps/nvidia-cap21", 237, 21),
        _node("/dev/nvidia-caps/nvidia-cap22", 237, 22),
    )


def test_another_gpus_capabilities_are_its_own(proc: Path) -> None:
    first, *_, gi, ci = device_nodes(SECOND, 2, 0, proc=proc)
    assert first == _node("/dev/nvidia1", 195, 1)
    assert (gi.minor, ci.minor) == (156, 157)


def test_older_drivers_have_another_name_for_themselves(proc: Path) -> None:
    now = device_nodes(FIRST, 2, 0, proc=proc)
    _file(proc / "devices", DEVICES.format(driver="nvidia-frontend"))
    assert device_nodes(FIRST, 2, 0, proc=proc) == now


@pytest.mark.parametrize("module", ["nvidia-uvm", "nvidia-caps"])
def test_a_module_that_is_not_loaded_is_named(proc: Path, module: str) -> None:
    """A block device of that name is another thing."""
    characters, block = DEVICES.format(driver="nvidia").split("\n\n")
    without = [line for line in characters.splitlines() if module not in line]
    _file(proc / "devices", "\n".join([*without, "", block]))
    with pytest.raises(InjectionFailed, match=f"names no {module}: is the driver's module loaded"):
        device_nodes(FIRST, 2, 0, proc=proc)


def test_a_slice_that_the_driver_does_not_list_is_refused(proc: Path) -> None:
    with pytest.raises(InjectionFailed, match="mig-minors names no gpu0/gi7/access"):
        device_nodes(FIRST, 7, 0, proc=proc)
    with pytest.raises(InjectionFailed, match="mig-minors names no gpu0/gi2/ci1/access"):
        device_nodes(FIRST, 2, 1, proc=proc)


def test_a_gpu_that_the_driver_does_not_list_is_refused(proc: Path) -> None:
    with pytest.raises(InjectionFailed, match="names no GPU-none"):
        device_nodes(GpuUuid("GPU-none"), 2, 0, proc=proc)


def test_a_driver_without_mig_is_refused(proc: Path) -> None:
    (proc / "driver/nvidia-caps/mig-minors").unlink()
    with pytest.raises(InjectionFailed, match="mig-minors: No such file"):
        device_nodes(FIRST, 2, 0, proc=proc)


def test_a_capability_without_a_minor_is_refused(proc: Path) -> None:
    _file(proc / "driver/nvidia-caps/mig-minors", "gpu0/gi2/access 21\ngpu0/gi2/ci0/access none\n")
    with pytest.raises(InjectionFailed, match="names no gpu0/gi2/ci0/access"):
        device_nodes(FIRST, 2, 0, proc=proc)
