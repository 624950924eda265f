"""Which device nodes a process needs to run on a slice, as the driver's own files tell.

Called by `cdi` when a slice has come. A GPU's number in `/dev` is its minor, which is neither its index in NVML nor
stable over boots, and the minors of a slice's two capabilities are the driver's choice: both are read from `/proc`. The
subtle thing is that a capability's node may not exist yet when the slice does: the driver leaves that to
`nvidia-modprobe`, and a container that is started before is refused its GPU without a word.
"""

import re
from pathlib import Path
from typing import Final

from knative_mig.core.inventory import GpuUuid
from knative_mig.ports.injection import InjectionFailed

_UUID = re.compile(r"^GPU UUID:\s*(\S+)\s*$", re.MULTILINE)
_MINOR = re.compile(r"^Device Minor:\s*([0-9]+)\s*$", re.MULTILINE)
_CAPABILITY = re.compile(r"^DeviceFileMinor:\s*([0-9]+)\s*$", re.MULTILINE)

_ALWAYS: Final = ("nvidiactl", "nvidia-uvm")
_WHERE_THERE: Final = ("nvidia-uvm-tools",)  # profilers' alone


def device_nodes(
    gpu: GpuUuid, gi_id: int, ci_id: int, *, proc: Path = Path("/proc"), dev: Path = Path("/dev")
) -> tuple[str, ...]:
    """Their paths in a container, which are those of the host. `proc` and `dev` are the host's, as they are seen here.

    InjectionFailed: one of them is not there.
    """
    minor = _minor_of(gpu, proc)
    instance = proc / f"driver/nvidia/capabilities/gpu{minor}/mig/gi{gi_id}"
    capabilities = [_capability(instance / "access"), _capability(instance / f"ci{ci_id}" / "access")]
    needed = [f"nvidia{minor}", *_ALWAYS, *(f"nvidia-caps/nvidia-cap{each}" for each in capabilities)]
    if missing := [name for name in needed if not (dev / name).exists()]:
        raise InjectionFailed(f"/dev/{missing[0]} is not there: nvidia-modprobe makes it")
    return tuple(f"/dev/{name}" for name in (*needed, *(each for each in _WHERE_THERE if (dev / each).exists())))


def _minor_of(gpu: GpuUuid, proc: Path) -> int:
    for path in sorted((proc / "driver/nvidia/gpus").glob("*/information")):
        text = _read(path)
        uuid, minor = _UUID.search(text), _MINOR.search(text)
        if uuid and minor and uuid[1] == gpu:
            return int(minor[1])
    raise InjectionFailed(f"{proc}/driver/nvidia/gpus names no {gpu}")


def _capability(path: Path) -> int:
    found = _CAPABILITY.search(_read(path))
    if found is None:
        raise InjectionFailed(f"{path} names no DeviceFileMinor")
    return int(found[1])


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise InjectionFailed(f"{path}: {error.strerror}") from error
