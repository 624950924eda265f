"""Which device nodes a process needs to run on a slice, with their numbers, as the driver's own files tell.

Called by `cdi` when a slice has come. A GPU's number in `/dev` is its minor, which is neither its index in NVML nor
stable over boots; the minors of a slice's two capabilities stand in the driver's table of all that can be. The subtle
thing is that no node is looked for: that of a new slice need not exist yet on the host (`nvidia-modprobe` makes it),
and never shows in the `/dev` of the agent's container. By its numbers the container runtime makes it in each container.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from knative_mig.core.inventory import GpuUuid
from knative_mig.ports.injection import InjectionFailed

_UUID = re.compile(r"^GPU UUID:\s*(\S+)\s*$", re.MULTILINE)
_MINOR = re.compile(r"^Device Minor:\s*([0-9]+)\s*$", re.MULTILINE)

# What /proc/devices calls the driver of nvidiactl and of each GPU, in older drivers and newer ones.
_GPU_DRIVERS: Final = ("nvidia-frontend", "nvidia")
_CTL_MINOR: Final = 255
_UVM_MINOR: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceNode:
    """A character device as a container sees it."""

    path: str
    major: int
    minor: int


def device_nodes(gpu: GpuUuid, gi_id: int, ci_id: int, *, proc: Path = Path("/proc")) -> tuple[DeviceNode, ...]:
    """InjectionFailed: the driver names one of them nowhere."""
    majors = _majors(proc)
    gpus = _major(majors, *_GPU_DRIVERS)
    minor = _minor_of(gpu, proc)
    capability = f"gpu{minor}/gi{gi_id}"
    capabilities = _capabilities(proc, f"{capability}/access", f"{capability}/ci{ci_id}/access")
    return (
        DeviceNode(path=f"/dev/nvidia{minor}", major=gpus, minor=minor),
        DeviceNode(path="/dev/nvidiactl", major=gpus, minor=_CTL_MINOR),
        DeviceNode(path="/dev/nvidia-uvm", major=_major(majors, "nvidia-uvm"), minor=_UVM_MINOR),
        *(
            DeviceNode(path=f"/dev/nvidia-caps/nvidia-cap{each}", major=_major(majors, "nvidia-caps"), minor=each)
            for each in capabilities
        ),
    )


def _majors(proc: Path) -> dict[str, int]:
    """`195 nvidia` of the character devices, which come before the block devices."""
    characters, _, _ = _read(proc / "devices").partition("Block devices:")
    lines = (line.split() for line in characters.splitlines())
    return {words[1]: int(words[0]) for words in lines if len(words) == 2 and words[0].isdecimal()}


def _major(majors: dict[str, int], *names: str) -> int:
    for name in names:
        if name in majors:
            return majors[name]
    raise InjectionFailed(f"/proc/devices names no {' and no '.join(names)}: is the driver's module loaded?")


def _minor_of(gpu: GpuUuid, proc: Path) -> int:
    for path in sorted((proc / "driver/nvidia/gpus").glob("*/information")):
        text = _read(path)
        uuid, minor = _UUID.search(text), _MINOR.search(text)
        if uuid and minor and uuid[1] == gpu:
            return int(minor[1])
    raise InjectionFailed(f"{proc}/driver/nvidia/gpus names no {gpu}")


def _capabilities(proc: Path, *names: str) -> list[int]:
    """Their minors, from lines like `gpu0/gi2/ci0/access 22`."""
    table = proc / "driver/nvidia-caps/mig-minors"
    lines = (line.split() for line in _read(table).splitlines())
    minors = {words[0]: words[1] for words in lines if len(words) == 2}
    if missing := [name for name in names if not minors.get(name, "").isdecimal()]:
        raise InjectionFailed(f"{table} names no {missing[0]}")
    return [int(minors[name]) for name in names]


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise InjectionFailed(f"{path}: {error.strerror}") from error
