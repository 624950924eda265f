"""Breaks the cluster on purpose, and mends it: components, nodes, cables, disks.

Tests call these with `Cluster.attach()`. What has a duration is a context manager that mends on the way out; `mend`
puts right whatever a test that died left broken. A component is named as its log is (`kubelet-gpu-1`, `etcd`).
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.cluster.testbed import cgroups, network, node, processes
from tests.cluster.testbed.cluster import Cluster
from tests.cluster.testbed.control_plane import ControlPlane
from tests.cluster.testbed.errors import BadInputError, ClusterError
from tests.cluster.testbed.processes import Component
from tests.cluster.testbed.shell import run
from tests.cluster.testbed.topology import CONTROL, FABRIC, namespace

API_SERVER = "kube-apiserver"

# ---------------------------------------------------------------- one component


def kill(cluster: Cluster, component: str) -> None:
    """Ends a component as a crash does. It stays down until `start`."""
    processes.end([processes.find(cluster.state, component)], grace=0)


def start(cluster: Cluster, component: str) -> Component:
    """Starts a component that is down, with the flags it had; does nothing to one that runs."""
    found = processes.find(cluster.state, component)
    if found.alive:
        return found
    started = processes.start(cluster.state, found.command)
    if component == API_SERVER:
        _control_plane(cluster).wait_ready(60)
    return started


def restart(cluster: Cluster, component: str) -> Component:
    """Ends a component as a crash does and starts it again. The API server is ready again when this returns.

    Ended in order, an API server would first wait for its watches: not what a fault looks like.
    """
    kill(cluster, component)
    return start(cluster, component)


@contextmanager
def paused(cluster: Cluster, component: str) -> Iterator[None]:
    """Holds a component (SIGSTOP): its connections stay open and nothing answers."""
    found = processes.find(cluster.state, component)
    if not found.alive or found.pid is None:
        raise ClusterError(f"{component} does not run, so it cannot be paused")
    found.pid.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        found.pid.signal(signal.SIGCONT)


def _control_plane(cluster: Cluster) -> ControlPlane:
    return ControlPlane(state=cluster.state, topology=cluster.topology, builds=cluster.builds)


# ---------------------------------------------------------------- a whole node


def kill_node(cluster: Cluster, name: str) -> None:
    """Takes a node's power: daemons, containers and what lay in memory (/run, CDI files too) go; its disk stays."""
    cluster.topology.node(name)
    cgroups.kill(name)
    cgroups.remove_pods(name)
    network.remove_mounts(name, cluster.state.node(name))


def start_node(cluster: Cluster, name: str) -> None:
    """Gives a node its power back: the daemons start on the disk they left."""
    machine = cluster.node(name)
    network.create_mounts(name, machine.folder)
    start(cluster, node.component_name("containerd", name))
    machine.wait_containerd()  # a kubelet that finds no container runtime ends itself
    for component in ("kubelet", "kube-proxy"):
        start(cluster, node.component_name(component, name))


@contextmanager
def frozen(cluster: Cluster, name: str) -> Iterator[None]:
    """Holds everything on a node, containers too, as a hung machine does."""
    cluster.topology.node(name)
    cgroups.freeze(name)
    try:
        yield
    finally:
        cgroups.thaw(name)


# ---------------------------------------------------------------- cables


def cut(cluster: Cluster, name: str) -> None:
    """Takes a member (a node, or `control`) off the switch: packets vanish, links stay up."""
    run(["ip", "-n", FABRIC, "link", "set", _port(cluster, name), "nomaster"])


def heal(cluster: Cluster, name: str) -> None:
    network.plug_in(_port(cluster, name))


@contextmanager
def unplugged(cluster: Cluster, name: str) -> Iterator[None]:
    cut(cluster, name)
    try:
        yield
    finally:
        heal(cluster, name)


@contextmanager
def rate_limited(cluster: Cluster, name: str, *, kilobits: int) -> Iterator[None]:
    """Lets only so many kilobits a second pass to and from a node."""
    # The burst covers what a timer tick at 100 Hz lets through, and at least a few full frames.
    burst = max(6000, kilobits * 1000 // 8 // 100)
    with _shaped(cluster, name, ["tbf", "rate", f"{kilobits}kbit", "burst", str(burst), "latency", "400ms"]):
        yield


@contextmanager
def delayed(cluster: Cluster, name: str, *, milliseconds: int) -> Iterator[None]:
    """Delays each packet to and from a node. Needs the kernel's netem; `rate_limited` is there without."""
    with _shaped(cluster, name, ["netem", "delay", f"{milliseconds}ms"]):
        yield


@contextmanager
def _shaped(cluster: Cluster, name: str, discipline: list[str]) -> Iterator[None]:
    ends = [(FABRIC, _port(cluster, name)), (namespace(name), "eth0")]
    try:
        for space, device in ends:
            try:
                run(["tc", "-n", space, "qdisc", "replace", "dev", device, "root", *discipline])
            except ClusterError as error:
                option = f"CONFIG_NET_SCH_{discipline[0].upper()}"
                raise BadInputError(
                    f"cannot shape traffic with {discipline[0]}; has the kernel {option}? {error}"
                ) from None
        yield
    finally:
        _unshape(ends)


def _unshape(ends: list[tuple[str, str]]) -> None:
    for space, device in ends:
        with suppress(ClusterError):  # nothing was set on this end
            run(["tc", "-n", space, "qdisc", "delete", "dev", device, "root"])


def _port(cluster: Cluster, name: str) -> str:
    if name != CONTROL:
        cluster.topology.node(name)
    return network.port(name)


# ---------------------------------------------------------------- disks


@contextmanager
def small_disk(cluster: Cluster, name: str, folder: str, *, mebibytes: int) -> Iterator[Path]:
    """Lays a small file system over a folder of a node (as the node names it); yields its path as the host sees it.

    A hostPath volume mounted from now on lies on it; one that a container has already does not.
    """
    inside = ["nsenter", f"--mount={network.mount_namespace(cluster.topology.node(name).name)}", "--"]
    run([*inside, "mkdir", "-p", folder])
    run([*inside, "mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "small-disk", folder])
    try:
        yield _seen_from_host(cluster, name, folder)
    finally:
        run([*inside, "umount", "--lazy", folder])  # lazily: a container may still use it


def fill(folder: Path) -> Path:
    """Writes a file until the disk that `folder` lies on is full; for small disks only. Delete the file to mend."""
    most = 512 * 2**20  # a guard against filling the machine's own disk
    path, block = folder / "filled-by-a-test", b"\0" * 2**16
    written = 0
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while written < most:
            written += file.write(block)
    if written >= most:
        path.unlink()
        raise BadInputError(f"{folder} is no small disk: {most >> 20} MiB did not fill it; use `small_disk`")
    return path


def _seen_from_host(cluster: Cluster, name: str, folder: str) -> Path:
    """A mount made inside the node's mount namespace is seen through one of the node's processes."""
    pid = processes.find(cluster.state, node.component_name("containerd", name)).pid
    if pid is None:
        raise ClusterError(f"containerd of {name} does not run")
    return Path(f"/proc/{pid.number}/root") / folder.strip("/")


# ---------------------------------------------------------------- everything


def mend(cluster: Cluster) -> list[str]:
    """Undoes whatever is broken now; what it did. For a suite's teardown."""
    done = []
    for member in (CONTROL, *(n.name for n in cluster.topology.nodes)):
        if not network.plugged_in(network.port(member)):
            heal(cluster, member)
            done.append(f"plugged {member} in")
        if cgroups.is_frozen(member):
            cgroups.thaw(member)
            done.append(f"thawed {member}")
        _unshape([(FABRIC, network.port(member)), (namespace(member), "eth0")])
    for machine in cluster.topology.nodes:
        if not network.has_mounts(machine.name):
            start_node(cluster, machine.name)
            done.append(f"started {machine.name}")
    order = {"etcd": 0, API_SERVER: 1}  # the others end themselves where these two are not there
    for component in sorted(processes.components(cluster.state), key=lambda found: order.get(found.name, 2)):
        if component.pid and component.alive:
            component.pid.signal(signal.SIGCONT)
        else:
            start(cluster, component.name)
            done.append(f"started {component.name}")
    return done
