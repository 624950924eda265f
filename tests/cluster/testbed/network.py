"""Network and mount namespaces of the cluster, and the links between them.

    host ── kmig0 ─┐
    control plane ─┤
    system ────────┤ switch in `kmig-fabric`
    gpu-1 ─────────┤
    gpu-2 ─────────┘

Each member is plugged into a bridge that lives in a namespace of its own, so that no rule of the host's firewall (a
Docker daemon's FORWARD DROP) and no setting of its bridges reaches the traffic between nodes. Nodes route to each
other's pods; the host routes to pods and Services too, so tests can talk to them.
"""

import contextlib
import shlex
import shutil
from ipaddress import IPv4Network
from pathlib import Path

from tests.cluster.testbed import cgroups
from tests.cluster.testbed.errors import BadInputError, ClusterError
from tests.cluster.testbed.layout import NAMESPACE_PINS, NodeFolder
from tests.cluster.testbed.processes import Home
from tests.cluster.testbed.shell import run
from tests.cluster.testbed.topology import (
    CONTROL,
    FABRIC,
    HOST_LINK,
    NETWORK_VARIABLE,
    PREFIX,
    PRIVATE_NETWORKS,
    Topology,
    namespace,
)

_SWITCH = "switch"
_NETNS = Path("/run/netns")
_ROUTE_TYPES = frozenset({"local", "broadcast", "unreachable", "blackhole", "prohibit", "throw"})


def port(member: str) -> str:
    """The switch's end of a member's cable."""
    return f"to-{member}"


def network_namespace(member: str) -> str:
    return str(_NETNS / namespace(member))


def mount_namespace(member: str) -> str:
    return str(NAMESPACE_PINS / member)


def home(member: str) -> Home:
    """Where the daemons of a member run. The control plane needs no mounts of its own."""
    mounts = None if member == CONTROL else mount_namespace(member)
    return Home(network=network_namespace(member), mounts=mounts, cgroups=cgroups.create(member))


def routed_elsewhere(routes: str) -> list[IPv4Network]:
    """The networks in the output of `ip route` that lead somewhere else than to us."""
    found = []
    for line in routes.splitlines():
        words = [word for word in line.split() if word not in _ROUTE_TYPES]
        ours = f" dev {HOST_LINK} " in f" {line} "
        if words and words[0] != "default" and not ours:
            with contextlib.suppress(ValueError):
                found.append(IPv4Network(words[0], strict=False))
    return found


def create(topology: Topology) -> None:
    _pin_folder()
    _link(FABRIC)
    run(["ip", "-n", FABRIC, "link", "add", _SWITCH, "type", "bridge", "forward_delay", "0", "stp_state", "0"])
    run(["ip", "-n", FABRIC, "link", "set", _SWITCH, "up"])
    run(["ip", "link", "add", HOST_LINK, "type", "veth", "peer", "name", port("host"), "netns", FABRIC])
    plug_in(port("host"))
    run(["ip", "addr", "add", f"{topology.host}/24", "dev", HOST_LINK])
    run(["ip", "link", "set", HOST_LINK, "up"])
    _member(CONTROL, str(topology.control))
    for node in topology.nodes:
        _member(node.name, str(node.address))
        _forwarding(node.name)
    _routes(topology)


def _link(name: str) -> None:
    run(["ip", "netns", "add", name])
    run(["ip", "-n", name, "link", "set", "lo", "up"])


def _member(member: str, address: str) -> None:
    name = namespace(member)
    _link(name)
    run(["ip", "-n", FABRIC, "link", "add", port(member), "type", "veth", "peer", "name", "eth0", "netns", name])
    plug_in(port(member))
    run(["ip", "-n", name, "addr", "add", f"{address}/24", "dev", "eth0"])
    run(["ip", "-n", name, "link", "set", "eth0", "up"])


def plug_in(cable: str) -> None:
    run(["ip", "-n", FABRIC, "link", "set", cable, "master", _SWITCH, "up"])


def plugged_in(cable: str) -> bool:
    return f"master {_SWITCH}" in run(["ip", "-n", FABRIC, "link", "show", "dev", cable])


def _forwarding(member: str) -> None:
    # /proc/sys/net shows the namespace of who reads it, so the shell must be inside. Loose reverse paths: a reply of
    # a Service may come back over another way than the kernel would choose.
    settings = "echo 1 > ip_forward; for f in conf/*/rp_filter; do echo 0 > $f; done"
    run(["nsenter", f"--net={network_namespace(member)}", "sh", "-c", f"cd /proc/sys/net/ipv4 && {settings}"])


def _routes(topology: Topology) -> None:
    """Everybody reaches everybody's pods; the host and the control plane reach Services through the system node."""
    for member in ("", CONTROL, *(node.name for node in topology.nodes)):
        inside = ["-n", namespace(member)] if member else []
        for node in topology.nodes:
            if node.name != member:
                run(["ip", *inside, "route", "add", str(node.pods), "via", str(node.address)])
        if member in ("", CONTROL):
            run(["ip", *inside, "route", "add", str(topology.service_network), "via", str(topology.system.address)])
        else:
            run(["ip", *inside, "route", "add", "default", "via", str(topology.host)])


def create_mounts(node: str, folder: NodeFolder) -> None:
    """A mount namespace in which the node's folders lie over /run, /var/lib and /var/log, pinned to a file."""
    for path in (*folder.mounts.values(), folder.settings, folder.cdi):
        path.mkdir(parents=True, exist_ok=True)
    pin = Path(mount_namespace(node))
    pin.touch()
    binds = " && ".join(f"mount --bind {shlex.quote(str(path))} {place}" for place, path in folder.mounts.items())
    run(["unshare", f"--mount={pin}", "--propagation", "private", "sh", "-c", binds])


def has_mounts(node: str) -> bool:
    return mount_namespace(node) in _mounted()


def remove_mounts(node: str, folder: NodeFolder) -> None:
    """Lets go of a node's mount namespace and of what would be memory on a real machine (/run)."""
    if has_mounts(node):
        run(["umount", mount_namespace(node)])
    shutil.rmtree(folder.mounts["/run"], ignore_errors=True)


def _pin_folder() -> None:
    """A mount namespace cannot be pinned below a shared mount, and systemd shares /run: lay a private one there."""
    NAMESPACE_PINS.mkdir(parents=True, exist_ok=True)
    run(["mount", "-t", "tmpfs", "-o", "size=64k", "knative-mig-testbed", NAMESPACE_PINS])
    run(["mount", "--make-private", NAMESPACE_PINS])


def _mounted() -> list[str]:
    return [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]


def leftovers() -> list[str]:
    """Names of what an earlier run left in the machine's own namespaces."""
    spaces = [path.name for path in sorted(_NETNS.glob(f"{PREFIX}-*"))] if _NETNS.is_dir() else []
    pins = ["mount namespaces"] if any(path.startswith(str(NAMESPACE_PINS)) for path in _mounted()) else []
    links = [HOST_LINK] if Path("/sys/class/net", HOST_LINK).exists() else []
    return [*spaces, *links, *pins]


def remove() -> None:
    """Removes everything that `create` and `create_mounts` make, from whatever state; processes must be gone before."""
    for path in sorted(_mounted(), reverse=True):
        if path.startswith(str(NAMESPACE_PINS)):
            run(["umount", path])
    if Path("/sys/class/net", HOST_LINK).exists():
        run(["ip", "link", "delete", HOST_LINK])
    for name in leftovers():
        if name.startswith(f"{PREFIX}-"):
            run(["ip", "netns", "delete", name])
    if left := leftovers():
        raise ClusterError(f"cannot remove {', '.join(left)}")
    if _NETNS.is_dir() and not any(_NETNS.iterdir()):  # `ip netns add` makes it, and mounts it on itself
        with contextlib.suppress(ClusterError, OSError):  # somebody else just makes a namespace there
            if str(_NETNS) in _mounted():
                run(["umount", _NETNS])
            _NETNS.rmdir()


def check_addresses(topology: Topology) -> None:
    require_free(topology, routed_elsewhere(run(["ip", "-4", "route", "show", "table", "all"])))


def require_free(topology: Topology, routes: list[IPv4Network]) -> None:
    for route in routes:
        if route.overlaps(topology.network):
            free = next((each for each in PRIVATE_NETWORKS if not any(each.overlaps(taken) for taken in routes)), None)
            advice = (
                f"for example {NETWORK_VARIABLE}={free}" if free else f"no private one is free; set {NETWORK_VARIABLE}"
            )
            where = f"{topology.network} is in use on this machine ({route} is routed elsewhere)"
            raise BadInputError(f"{where}: choose a free /16, {advice}")
