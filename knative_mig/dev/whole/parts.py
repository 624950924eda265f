"""The processes of `dev` that are a cluster's own, unchanged: planner, node agents, webhooks, pending source.

Called by `process`. What is said to each here is what config/core says to it on a cluster, but for addresses, folders
and the GPUs, which are simulated. The subtle thing is the planner's name: a Lease that its killed self held is its own,
so the next one does not wait for it to run out.
"""

import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from knative_mig.dev.whole.fleet import SimulatedNode
from knative_mig.dev.whole.folders import Folders
from knative_mig.dev.whole.identities import account, written
from knative_mig.dev.whole.settings import HOST, DevSettings
from knative_mig.dev.whole.supervision import Part

SYSTEM: Final = "knative-mig"
BROKER: Final = "knative-mig"
AGENTS: Final = "knative-mig-agent"
CHANGE_MS: Final = 150.0  # of each of two calls: hardware makes a slice in about 0.3 s, and is slower in destroying one
_OTHERS: Final = 4 + 3  # ports of their own, and who is asked whether it is ready
LOOKS_EVERY_S: Final = 1.0  # the webhooks, at who believes them


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Free ones, which stay a part's own when it is started again: no other `dev` and no connection is given them."""

    webhook: int
    events: int  # of the planner
    dead_letters: int  # of the source
    brokers: int
    probes: tuple[int, ...]
    held: tuple[socket.socket, ...]

    def close(self) -> None:
        for each in self.held:
            each.close()


def free_ports(nodes: int) -> Ports:
    held = tuple(_held() for _ in range(_OTHERS + nodes))
    webhook, events, dead_letters, brokers, *probes = (each.getsockname()[1] for each in held)
    return Ports(
        webhook=webhook, events=events, dead_letters=dead_letters, brokers=brokers, probes=tuple(probes), held=held
    )


def _held() -> socket.socket:
    """Bound, and never listened on: who sets SO_REUSEADDR, as our servers do, may listen there all the same."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind((HOST, 0))
    return held


def parts(
    settings: DevSettings,
    nodes: Sequence[SimulatedNode],
    folders: Folders,
    server: str,
    ports: Ports,
) -> tuple[Part, ...]:
    probes = iter(ports.probes)

    def part(
        name: str,
        module: str,
        manifest: str,
        who: str,
        *arguments: str,
        host_option: str = "--ops-host",
        **variables: str,
    ) -> Part:
        config = written(folders.run / f"{name}.kubeconfig", server, who)
        at = next(probes)
        common = ("--kubeconfig", str(config), host_option, HOST, "--ops-port", str(at))
        return Part(
            name=name,
            module=module,
            arguments=(*common, *arguments),
            log=folders.logs / f"{name}.log",
            ready_at=(HOST, at),
            manifest=f"core/{manifest}.yaml",
            variables=variables,
        )

    # As on a cluster with Eventing: what the source tells the planner, and what the planner tells, others may hear too.
    sink = ("--sink", f"http://{HOST}:{ports.brokers}/{SYSTEM}/{BROKER}")
    events = ("--events-port", str(ports.events))
    reviews = ("--port", str(ports.webhook), "--look-every-s", str(LOOKS_EVERY_S))
    letters = ("--dead-letters-port", str(ports.dead_letters))
    agent = account(AGENTS, "agent")
    planner, webhook, source = (account(SYSTEM, each) for each in ("planner", "webhook", "source"))
    return (
        # They take longest: each starts a process for each GPU.
        *(
            part(f"agent-of-{node.name}", "reconfigurer.agent", "510-agent", agent, *_of(node, settings, folders))
            for node in nodes
        ),
        part("planner", "reconfigurer.planner", "500-planner", planner, *sink, *events, POD_NAME="planner"),
        part(
            "webhook",
            "activator_hooks.webhook",
            "530-webhook",
            webhook,
            *reviews,
            host_option="--host",
            POD_NAMESPACE=SYSTEM,
        ),
        part("source", "activator_hooks.source", "520-source", source, *sink, *letters),
    )


def _of(node: SimulatedNode, settings: DevSettings, folders: Folders) -> Iterator[str]:
    """What its agent is told."""
    yield from ("--node", str(node.name), "--gpus", f"simulated:{node.gpus}", "--inject", "env")
    yield from ("--pods-by", "environment", "--simulated-latency-ms", str(CHANGE_MS / settings.speed))
    run = folders.run / f"n{node.number}"
    for option, folder in (
        ("--state-dir", kept_of(node, folders) / "agent"),
        ("--kubelet-dir", sockets_of(node, folders)),
        ("--sockets-dir", run / "s"),
        ("--cdi-dir", run / "cdi"),
    ):
        yield from (option, str(folder))


def kept_of(node: SimulatedNode, folders: Folders) -> Path:
    return folders.kept / str(node.name)


def sockets_of(node: SimulatedNode, folders: Folders) -> Path:
    return folders.run / f"n{node.number}" / "k"
