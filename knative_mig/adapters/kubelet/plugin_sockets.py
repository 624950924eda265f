"""The sockets in the kubelet's folder of device plugins: which are alive, and which are NVIDIA's.

Called by `registration`. The subtle thing is a socket whose plugin was killed: its file stays until the kubelet starts
anew, so only one that takes a connection counts.
"""

import socket
from pathlib import Path
from typing import Final

from knative_mig.core.errors import BadInput
from knative_mig.core.profile import ProfileName

_VENDOR: Final = "nvidia.com"
_PREFIX: Final = "nvidia-"  # NVIDIA's plugin names its sockets nvidia-<resource without the vendor>.sock


def nvidias_plugins(folder: Path) -> dict[ProfileName, str]:
    """The profiles that NVIDIA's plugins serve now, each with how that shows."""
    found = {}
    for path in folder.glob(f"{_PREFIX}*.sock"):
        try:
            profile = ProfileName.from_resource(f"{_VENDOR}/{path.stem.removeprefix(_PREFIX)}")
        except BadInput:
            continue
        if answers(path):
            found[profile] = f"NVIDIA's device plugin listens on {path.name}"
    return found


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(0.2)
        try:
            client.connect(str(path))
        except OSError:
            return False
        return True
