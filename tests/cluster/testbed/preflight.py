"""Says before anything is started whether this machine can run the cluster: one line each, with what to do."""

import os
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
_HIDDEN: Final = ("/run", "/var/run", "/var/lib", "/var/log")


def free_space(path: Path) -> int:
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def require_space(path: Path, wanted: int, why: str) -> None:
    free = free_space(path)
    if free < wanted:
        raise BadInputError(f"{path} has {free / _GIB:.1f} GiB free and {why} needs {wanted / _GIB:.0f}: free some")


def check_state_folder(state: State) -> None:
    root = str(state.root)
    if len(root) > _LONGEST_STATE:
        raise BadInputError(
            f"the state folder {root} is {len(root)} characters long; sockets below it allow {_LONGEST_STATE}: "
            "set KNATIVE_MIG_TESTBED_STATE to a shorter path"
        )
    if any(root == hidden or root.startswith(hidden + "/") for hidden in _HIDDEN):
        raise BadInputError(
            f"the state folder {root} lies where each node mounts its own folders ({', '.join(_HIDDEN)}): "
            "set KNATIVE_MIG_TESTBED_STATE to another, for example /var/tmp/knative-mig-testbed"
        )
    if state.root.exists() and not state.marker.exists() and any(state.root.iterdir()):
        raise BadInputError(
            f"the state folder {root} is not empty and was not made by cluster-up, which deletes it at the end: "
            "set KNATIVE_MIG_TESTBED_STATE to another"
        )


def available_memory(meminfo: str) -> int:
    for line in meminfo.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def require_root() -> None:
    if os.geteuid() != 0:
        raise BadInputError(
            "the test cluster makes namespaces, mounts and cgroups: run it as root (sudo make cluster-up)"
        )


def build_space(missing: list[str]) -> int:
    return sum(KUBERNETES_BUILD_SPACE if name == "kubernetes" else BUILD_SPACE for name in missing)


def check(topology: Topology, state: State, cache: Cache, *, missing: list[str]) -> None:
    """Everything but root (asked first of all), Go (asked by build.py) and memory (asked when no cluster uses it)."""
    check_state_folder(state)
    cgroups.check()
    network.check_addresses(topology)
    require_space(state.root, RUN_SPACE, "a cluster")
    if missing:
        require_space(cache.root, build_space(missing), f"building {', '.join(missing)}")


def check_memory() -> None:
    memory = available_memory(Path("/proc/meminfo").read_text())
    if memory < MEMORY:
        raise BadInputError(f"{memory / _GIB:.1f} GiB of memory are free and the cluster needs {MEMORY / _GIB:.0f}")
