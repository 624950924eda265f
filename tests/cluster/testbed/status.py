"""Says what of the cluster is healthy, and why the rest is not: `make cluster-status`, and a suite before it starts."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.testbed import cgroups, knative, lifecycle, network, preflight, processes
from tests.cluster.testbed.cluster import Cluster, Ready
from tests.cluster.testbed.control_plane import ControlPlane, last_words
from tests.cluster.testbed.errors import ClusterError
from tests.cluster.testbed.kubectl import why_unready
from tests.cluster.testbed.layout import STATE_VARIABLE, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at. `trouble` is None for a healthy one."""

    what: str
    trouble: str | None = None

    def __str__(self) -> str:
        return f"{'ok  ' if self.trouble is None else 'FAIL'}  {self.what}{f': {self.trouble}' if self.trouble else ''}"


def look() -> list[Finding]:
    if Ready.read(State.from_environment()) is None:
        if other := lifecycle.elsewhere():
            return [
                Finding(what="cluster", trouble=f"one is up with its state in {other}: set {STATE_VARIABLE} to that")
            ]
        if process := lifecycle.runs_now():
            return [Finding(what="cluster", trouble=f"process {process} is just bringing it up or down: wait for it")]
        left = network.leftovers() or (["cgroups"] if cgroups.exists() else [])
        trouble = (
            f"half-way up or down ({', '.join(left)}); run make cluster-up or cluster-down"
            if left
            else "not up: run make cluster-up"
        )
        return [Finding(what="cluster", trouble=trouble)]
    cluster = Cluster.attach()
    findings = [_process(component) for component in processes.components(cluster.state)]
    findings += [_plug(member) for member in ("control", *(node.name for node in cluster.topology.nodes))]
    api = ControlPlane(state=cluster.state, topology=cluster.topology, builds=cluster.builds).ready()
    findings.append(Finding(what="API server answers", trouble=api))
    if api is None:
        findings += _guarded("nodes", lambda: _nodes(cluster))
        findings += _guarded("pods", lambda: _pods(cluster))
    findings.append(
        Finding(what=f"gateway at {cluster.topology.gateway}:80", trouble=knative.gateway_trouble(cluster.topology))
    )
    free = preflight.free_space(cluster.state.root) / 2**30
    findings.append(Finding(what=f"disk: {free:.1f} GiB free", trouble="nearly full" if free < 1 else None))
    return findings


def wait_healthy(seconds: float = 60) -> None:
    """Waits until nothing is in trouble; a just-mended node needs some seconds."""
    deadline = time.monotonic() + seconds
    while troubles := [str(finding) for finding in look() if finding.trouble]:
        if time.monotonic() > deadline:
            raise ClusterError(
                f"the cluster is not healthy ({'; '.join(troubles)}): `make cluster-down` and start anew"
            )
        time.sleep(0.5)


def _guarded(what: str, check: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return check()
    except ClusterError as error:
        return [Finding(what=what, trouble=str(error))]


def _process(component: processes.Component) -> Finding:
    if not component.alive:
        return Finding(what=component.name, trouble=f"dead; {last_words(Path(component.command.log))}")
    stopped = component.pid is not None and component.pid.stopped()
    return Finding(what=component.name, trouble="paused" if stopped else None)


def _plug(member: str) -> Finding:
    try:
        trouble = None if network.plugged_in(network.port(member)) else "cut off"
    except ClusterError as error:
        trouble = str(error)
    if trouble is None and cgroups.is_frozen(member):
        trouble = "frozen"
    return Finding(what=f"{member} on the network", trouble=trouble)


def _nodes(cluster: Cluster) -> list[Finding]:
    findings = []
    for node in cluster.kubectl.get("nodes")["items"]:
        conditions = {entry["type"]: entry for entry in node["status"]["conditions"]}
        bad = [
            f"{kind} is {entry['status']}: {entry.get('message', '')}"
            for kind, entry in conditions.items()
            if entry["status"] != ("True" if kind == "Ready" else "False")
        ]
        findings.append(Finding(what=f"node {node['metadata']['name']}", trouble="; ".join(bad) or None))
    return findings


def _pods(cluster: Cluster) -> list[Finding]:
    """System pods; functions may be unready for reasons of their own."""
    ours = ("knative-serving", "kourier-system", "knative-eventing")
    pods = [
        pod for pod in cluster.kubectl.get("pods", "--all-namespaces")["items"] if pod["metadata"]["namespace"] in ours
    ]
    return [Finding(what=f"pod {pod['metadata']['name']}", trouble=why_unready(pod)) for pod in pods]
