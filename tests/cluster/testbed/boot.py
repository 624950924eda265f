"""Boots a cluster on a swept machine, and adds Eventing to one that runs."""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tests.cluster.testbed import cgroups, eventing, knative, network, pki, system_images
from tests.cluster.testbed.cluster import Cluster, Ready
from tests.cluster.testbed.control_plane import ControlPlane
from tests.cluster.testbed.layout import STATE_POINTER, State
from tests.cluster.testbed.node import NodeProcesses
from tests.cluster.testbed.progress import Progress
from tests.cluster.testbed.topology import Node
from tests.cluster.testbed.versions import versions

_MIB: Final = 2**20
# What a run may take on two cores; printed beside what it took.
_BUILD_BUDGET: Final = 1200
_BOOT_BUDGET: Final = 90
_MEMORY_BUDGET: Final = 2560


def boot(cluster: Cluster, progress: Progress) -> Cluster:
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
    state.root.mkdir(parents=True, exist_ok=True)
    state.marker.touch()
    STATE_POINTER.write_text(str(state.root))


def _archives(cluster: Cluster, progress: Progress) -> dict[str, Path]:
    with progress.step("images written or found in the cache"):
        return system_images.archives(system_images.serving(cluster.builds, cluster.cache), cluster.cache)


def _prepare_node(
    cluster: Cluster, node: Node, archives: "Future[dict[str, Path]]", progress: Progress
) -> NodeProcesses:
    """Starts containerd and brings in the images that this node needs."""
    machine = cluster.node(node.name)
    machine.start_containerd()
    paths = [path for name, path in archives.result().items() if not node.gpu or name in system_images.ON_EVERY_NODE]
    with progress.step(f"{len(paths)} images imported into {node.name}"), ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(machine.import_image, paths))
    return machine


def _start_kubelet(cluster: Cluster, node: Node, imported: "Future[NodeProcesses]") -> None:
    imported.result().start_kubelet()


def add_eventing(cluster: Cluster, progress: Progress) -> None:
    archives = system_images.archives(system_images.eventing(cluster.builds), cluster.cache)
    system = cluster.node(cluster.topology.system.name)
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
    built = any(what.startswith("build ") for what, _ in progress.steps)
    memory = cgroups.memory_used() / _MIB
    budget = f"{_BUILD_BUDGET} s from empty caches" if built else f"{_BOOT_BUDGET} s with built binaries"
    return [
        "versions: " + ", ".join(versions().lines()),
        f"took {progress.elapsed:.1f} s (budget {budget})"
        + "".join(f", {what} {seconds:.1f} s" for what, seconds in slowest),
        f"memory: {memory:.0f} MiB (budget {_MEMORY_BUDGET} MiB) in {len(cgroups.members())} processes",
        f"logs: {cluster.state.logs}",
        f"functions: {cluster.url('<function>', '<namespace>')} (or curl --connect-to ::{topology.gateway}: URL)",
        f"kubectl and kn: . {cluster.state.environment}",
        "stop: make cluster-down",
        f"KUBECONFIG={cluster.state.kubeconfig}",
    ]
