"""Composes the cluster: up, down, and the handles that tests use (kubectl, images, nodes).

`up` may be killed at any moment and run again: it knows a finished cluster by `ready.json`, written last, and sweeps
anything less away first. One `up` or `down` runs at a time on a machine.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path

from tests.cluster.testbed import (
    cgroups,
    eventing,
    images,
    knative,
    network,
    packages,
    pki,
    preflight,
    processes,
    system_images,
)
from tests.cluster.testbed.build import Build, build, go_version, located, require_go
from tests.cluster.testbed.control_plane import ControlPlane
from tests.cluster.testbed.errors import BadInputError
from tests.cluster.testbed.images import Image
from tests.cluster.testbed.kubectl import Kubectl
from tests.cluster.testbed.layout import LOCK, RUN, STATE_POINTER, Cache, State
from tests.cluster.testbed.node import NodeProcesses
from tests.cluster.testbed.progress import Progress
from tests.cluster.testbed.topology import Node, Topology
from tests.cluster.testbed.versions import versions

_MARKER = ".knative-mig-testbed"  # a folder without it is never deleted
_MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What `up` finished: enough to see whether the next `up` has anything to do, and to attach to it."""

    network: str
    eventing: bool
    builds: dict[str, str]

    @classmethod
    def read(cls, state: State) -> "Ready | None":
        try:
            return cls(**json.loads(state.ready.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, state: State) -> None:
        half_written = state.ready.with_suffix(".tmp")
        half_written.write_text(json.dumps({"network": self.network, "eventing": self.eventing, "builds": self.builds}))
        half_written.replace(state.ready)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    state: State = field(default_factory=State.from_environment)
    cache: Cache = field(default_factory=Cache.from_environment)
    topology: Topology = field(default_factory=Topology.from_environment)
    builds: dict[str, Build] = field(default_factory=dict)

    @classmethod
    def attach(cls) -> "Cluster":
        """The cluster that is up; what tests start from."""
        cluster = cls()
        ready = Ready.read(cluster.state)
        if ready is None:
            raise BadInputError("no test cluster is up: run `make cluster-up`")
        topology = Topology(network=IPv4Network(ready.network))
        return cls(state=cluster.state, cache=cluster.cache, topology=topology, builds=_recorded(ready))

    @property
    def kubectl(self) -> Kubectl:
        return Kubectl(binary=self.builds["kubernetes"].binary("kubectl"), kubeconfig=self.state.kubeconfig)

    @property
    def kn(self) -> Path:
        return self.builds["kn"].binary("kn")

    def node(self, name: str) -> NodeProcesses:
        return self._processes(self.topology.node(name))

    def _processes(self, node: Node) -> NodeProcesses:
        return NodeProcesses(state=self.state, topology=self.topology, builds=self.builds, node=node)

    def load(self, image: Image, *nodes: str) -> str:
        """Builds an image and imports it into these nodes (all by default); its name."""
        path = images.archive(image, self.cache.images)
        targets = [self.node(name) for name in nodes] or [self._processes(node) for node in self.topology.nodes]
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda node: node.import_image(path), targets))
        return image.name

    def url(self, function: str, namespace: str = "default") -> str:
        return f"http://{function}.{namespace}.{self.topology.domain}"


def _recorded(ready: Ready) -> dict[str, Build]:
    known = versions().components
    return {name: Build(component=known[name], folder=Path(folder)) for name, folder in ready.builds.items()}


@contextmanager
def only_one() -> Iterator[None]:
    """Holds the machine-wide lock. Ends with the process that holds it, however that ends."""
    RUN.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode().strip()
            os.close(descriptor)
            raise BadInputError(
                f"another cluster-up or cluster-down is running (process {holder}): wait for it"
            ) from None
        if LOCK.exists() and os.fstat(descriptor).st_ino == LOCK.stat().st_ino:
            break
        os.close(descriptor)  # `down` deleted the file between our open and our lock
    try:
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


# ---------------------------------------------------------------- down


def down(cluster: Cluster, progress: Progress) -> None:
    preflight.require_root()
    with only_one():
        swept = sweep(cluster)
        shutil.rmtree(RUN)
    progress.say("removed " + ", ".join(swept) if swept else "nothing to remove")


def sweep(cluster: Cluster) -> list[str]:
    """Removes whatever a run left, found by names and cgroups, not by what a record says; what it found."""
    found = []
    if cgroups.exists():
        found.append(f"{cgroups.kill()} processes")
    if left := network.leftovers():
        found.append(", ".join(left))
        network.remove()
    if cgroups.exists():
        cgroups.remove()
        found.append("cgroups")
    pointed = [State(root=Path(STATE_POINTER.read_text()))] if STATE_POINTER.exists() else []
    for state in {s.root: s for s in (*pointed, cluster.state)}.values():
        if (state.root / _MARKER).exists():
            state.ready.unlink(missing_ok=True)
            shutil.rmtree(state.root)
            found.append(str(state.root))
    STATE_POINTER.unlink(missing_ok=True)
    return found


# ---------------------------------------------------------------- up


def up(cluster: Cluster, progress: Progress, *, with_eventing: bool) -> Cluster:
    preflight.require_root()
    with only_one():
        packages.install(progress)
        go = go_version()
        require_go(go, versions().go)
        names = [name for name in versions().components if with_eventing or name != "eventing"]
        wanted = {name: located(cluster.cache, versions().components[name], go) for name in names}
        if (running := _already_up(cluster, wanted, progress)) is None:
            swept = sweep(cluster)
            if swept:
                progress.say("cleaned the leftover of an earlier run: " + ", ".join(swept))
        missing = [name for name, found in wanted.items() if not found.folder.is_dir()]
        if running is None or missing:
            preflight.check(cluster.topology, cluster.state, cluster.cache, missing=missing)
        if running is None:
            cluster.cache.remove_half_done()
        for component in versions().components.values():
            if component.name in names:
                build(cluster.cache, component, go, progress)
        if running is None:
            running = _boot(_with_builds(cluster, wanted), progress)
        ready = Ready.read(running.state)
        if with_eventing and ready is not None and not ready.eventing:
            running = _with_builds(running, {**running.builds, **wanted})
            _add_eventing(running, progress)
        return running


def _with_builds(cluster: Cluster, builds: dict[str, Build]) -> Cluster:
    return Cluster(state=cluster.state, cache=cluster.cache, topology=cluster.topology, builds=builds)


def _already_up(cluster: Cluster, wanted: dict[str, Build], progress: Progress) -> Cluster | None:
    """The cluster that runs, where it is whole and made of what is wanted now."""
    ready = Ready.read(cluster.state)
    if ready is None:
        return None
    recorded = _recorded(ready)
    stale = [name for name in recorded if name in wanted and recorded[name].folder != wanted[name].folder]
    dead = [component.name for component in processes.components(cluster.state) if not component.alive]
    if stale or dead or ready.network != str(cluster.topology.network):
        why = [*(f"{name} is of another version" for name in stale), *(f"{name} is dead" for name in dead)]
        progress.say(f"the cluster is started anew: {', '.join(why) or 'its network changed'}")
        return None
    progress.say("the cluster is up already")
    return _with_builds(cluster, recorded)


def _boot(cluster: Cluster, progress: Progress) -> Cluster:
    """Runs at once what does not wait for each other: API server and Knative's objects, the nodes' images.

    A kubelet starts when the API server and its node's images are there.
    """
    _claim(cluster.state)
    state, topology, builds = cluster.state, cluster.topology, cluster.builds
    control = ControlPlane(state=state, topology=topology, builds=builds)
    begun = progress.elapsed
    with ThreadPoolExecutor(max_workers=12) as pool:
        archives = pool.submit(_archives, cluster, progress)
        certificates = pool.submit(pki.make, state.pki, topology)
        rendered = pool.submit(knative.render, builds, state, topology)
        with progress.step("namespaces and links"):
            network.create(topology)
        imported = [pool.submit(_prepare_node, cluster, node, archives, progress) for node in topology.nodes]
        certificates.result()
        with progress.step("API server ready"):
            control.start()
            control.wait_ready(60)
        control.start_controllers()
        kubelets = [
            pool.submit(_start_kubelet, cluster, node, done)
            for node, done in zip(topology.nodes, imported, strict=True)
        ]
        knative.apply_types(cluster.kubectl, rendered.result(), progress)
        knative.apply_core(cluster.kubectl, rendered.result(), topology, progress)
        with progress.step("nodes Ready"):
            for kubelet in kubelets:
                kubelet.result()
            cluster.kubectl.wait("create", *(f"node/{node.name}" for node in topology.nodes), seconds=60)
            cluster.kubectl.wait("condition=Ready", "node", "--all", seconds=60)
        knative.wait_available(cluster.kubectl, rendered.result(), progress)
    knative.wait_gateway(topology)
    _write_environment(cluster)
    _mark_ready(cluster, with_eventing=False)
    progress.steps.append(("boot", progress.elapsed - begun))
    return cluster


def _claim(state: State) -> None:
    if state.root.exists() and any(state.root.iterdir()):
        raise BadInputError(f"{state.root} is not empty and not ours: choose another with KNATIVE_MIG_TESTBED_STATE")
    state.root.mkdir(parents=True, exist_ok=True)
    (state.root / _MARKER).touch()
    STATE_POINTER.write_text(str(state.root))


def _archives(cluster: Cluster, progress: Progress) -> dict[str, Path]:
    with progress.step("images written or found in the cache"):
        return system_images.archives(system_images.serving(cluster.builds, cluster.cache), cluster.cache)


def _prepare_node(
    cluster: Cluster, node: Node, archives: "Future[dict[str, Path]]", progress: Progress
) -> NodeProcesses:
    """Starts containerd and brings in the images that this node needs."""
    machine = cluster._processes(node)
    machine.start_containerd()
    paths = [path for name, path in archives.result().items() if not node.gpu or name in system_images.ON_EVERY_NODE]
    with progress.step(f"{len(paths)} images imported into {node.name}"), ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(machine.import_image, paths))
    return machine


def _start_kubelet(cluster: Cluster, node: Node, imported: "Future[NodeProcesses]") -> None:
    imported.result().start_kubelet()


def _add_eventing(cluster: Cluster, progress: Progress) -> None:
    archives = system_images.archives(system_images.eventing(cluster.builds), cluster.cache)
    system = cluster._processes(cluster.topology.system)
    with progress.step(f"{len(archives)} images imported into {system.node.name}"), ThreadPoolExecutor(2) as pool:
        list(pool.map(system.import_image, archives.values()))
    eventing.install(cluster.kubectl, cluster.builds, cluster.state, cluster.topology, progress)
    _mark_ready(cluster, with_eventing=True)


def _mark_ready(cluster: Cluster, *, with_eventing: bool) -> None:
    Ready(
        network=str(cluster.topology.network),
        eventing=with_eventing,
        builds={name: str(found.folder) for name, found in cluster.builds.items()},
    ).write(cluster.state)


def _write_environment(cluster: Cluster) -> None:
    path = ":".join(str(cluster.builds[name].bin) for name in ("kubernetes", "kn"))
    cluster.state.environment.write_text(f'export KUBECONFIG={cluster.state.kubeconfig}\nexport PATH="{path}:$PATH"\n')


def report(cluster: Cluster, progress: Progress) -> list[str]:
    """What `up` prints at its end."""
    topology = cluster.topology
    slowest = sorted(progress.steps, key=lambda step: -step[1])[:8]
    return [
        "versions: " + ", ".join(versions().lines()),
        f"took {progress.elapsed:.1f} s" + "".join(f", {what} {seconds:.1f} s" for what, seconds in slowest),
        f"memory: {cgroups.memory_used() / _MIB:.0f} MiB in {len(cgroups.members())} processes",
        f"logs: {cluster.state.logs}",
        f"functions: {cluster.url('<function>', '<namespace>')} (or curl --connect-to ::{topology.gateway}: URL)",
        f"kubectl and kn: . {cluster.state.environment}",
        "stop: make cluster-down",
        f"KUBECONFIG={cluster.state.kubeconfig}",
    ]
