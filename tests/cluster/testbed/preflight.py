"""Says before anything is started whether this machine can run the cluster: one line each, with what to do."""

import os
import platform
import shutil
from pathlib import Path
from typing import Final

from tests.cluster.testbed import cgroups, network
from tests.cluster.testbed.errors import BadInputError
from tests.cluster.testbed.layout import Cache, State
from tests.cluster.testbed.topology import Topology

_GIB: Final = 2**30
# Measured: module cache, build cache, binaries and images of one component, and of the largest.
BUILD_SPACE: Final = 3 * _GIB // 2
KUBERNETES_BUILD_SPACE: Final = 5 * _GIB
# Measured: three nodes with their unpacked images, etcd and logs.
RUN_SPACE: Final = 3 * _GIB
MEMORY: Final = 3 * _GIB
# A socket's path may have 107 characters; below the state folder lie up to 60 (nodes/<name>/run/containerd/…).
_LONGEST_STATE: Final = 47
# Their bits in CapEff, as linux/capability.h numbers them.
_CAPABILITIES: Final = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}
_HIDDEN: Final = ("/run", "/var/run", "/var/lib", "/var/log")


def free_space(path: Path) -> int:
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def require_space(path: Path, wanted: int, why: str) -> None:
    free = free_space(path)
    if free < wanted:
        raise BadInputError(f"{path} has {free / _GIB:.1f} GiB free and {why} needs {wanted / _GIB:.0f}: free some")


def require_folder(path: Path, variable: str) -> None:
    """A folder that can be made and written: what is there of its path is one, and is not mounted read-only."""
    there = next(part for part in (path, *path.parents) if part.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        trouble = "cannot be written" if there.is_dir() else "is a file"
        raise BadInputError(f"{there} {trouble}, so {path} cannot be a folder: set {variable} to another path")


def require_seen_by_nodes(path: Path, variable: str, example: str) -> None:
    if any(path.resolve().is_relative_to(Path(hidden).resolve()) for hidden in _HIDDEN):
        raise BadInputError(
            f"{path} lies where each node mounts its own folders ({', '.join(_HIDDEN)}): set {variable} to another, "
            f"for example {example}"
        )


def check_state_folder(state: State) -> None:
    root = str(state.root)
    if len(root) > _LONGEST_STATE:
        raise BadInputError(
            f"the state folder {root} is {len(root)} characters long; sockets below it allow {_LONGEST_STATE}: "
            "set KNATIVE_MIG_TESTBED_STATE to a shorter path"
        )
    require_seen_by_nodes(state.root, "KNATIVE_MIG_TESTBED_STATE", "/var/tmp/knative-mig-testbed")  # noqa: S108
    require_folder(state.root, "KNATIVE_MIG_TESTBED_STATE")
    if state.root.exists() and not state.marker.exists() and any(state.root.iterdir()):
        raise BadInputError(
            f"the state folder {root} is not empty and was not made by cluster-up, which deletes it at the end: "
            "set KNATIVE_MIG_TESTBED_STATE to another"
        )


def memory(meminfo: str, what: str = "MemAvailable") -> int:
    for line in meminfo.splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024
    return 0


def check_machine(machine: str, status: str, meminfo: str) -> None:
    """What no build can mend. The texts are those of uname -m, /proc/self/status and /proc/meminfo."""
    if machine != "x86_64":
        raise BadInputError(f"this machine is {machine}, and the cluster's images are made for x86_64 only")
    held = next((int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:")), 0)
    lacking = [name for name, bit in _CAPABILITIES.items() if not held >> bit & 1]
    if lacking:
        raise BadInputError(
            f"root has no {' and no '.join(lacking)} here, which namespaces, mounts and links take: start the "
            "container with them (docker run --privileged), or use a virtual machine"
        )
    total = memory(meminfo, "MemTotal")
    if total < MEMORY:
        raise BadInputError(
            f"this machine has {total / _GIB:.1f} GiB of memory and the cluster needs {MEMORY / _GIB:.0f}"
        )


def require_root() -> None:
    if os.geteuid() != 0:
        raise BadInputError("the test cluster makes namespaces, mounts and cgroups: run it as root")


def build_space(missing: list[str]) -> int:
    return sum(KUBERNETES_BUILD_SPACE if name == "kubernetes" else BUILD_SPACE for name in missing)


def check(topology: Topology, state: State, cache: Cache, *, missing: list[str]) -> None:
    """Everything but root (asked first of all), Go (build.py) and free memory (asked when no cluster uses it)."""
    check_machine(platform.machine(), Path("/proc/self/status").read_text(), Path("/proc/meminfo").read_text())
    check_state_folder(state)
    require_folder(cache.root, "KNATIVE_MIG_TESTBED_CACHE")
    require_seen_by_nodes(cache.root, "KNATIVE_MIG_TESTBED_CACHE", "/var/cache/knative-mig-testbed")
    cgroups.check()
    network.check_addresses(topology)
    require_space(state.root, RUN_SPACE, "a cluster")
    if missing:
        require_space(cache.root, build_space(missing), f"building {', '.join(missing)}")


def check_memory() -> None:
    free = memory(Path("/proc/meminfo").read_text())
    if free < MEMORY:
        raise BadInputError(f"{free / _GIB:.1f} GiB of memory are free and the cluster needs {MEMORY / _GIB:.0f}")
