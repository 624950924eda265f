"""Which cluster a verb speaks with, whole lists of what is there, and why some of it is not ready.

Called by the verbs that show a cluster. Who names a kubeconfig, by option or $KUBECONFIG, means it. Else it is the
running `dev`, for whoever has started one means that; else what kubectl takes.
"""

import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import click

from knative_mig.adapters.kube import gpu_node_codec
from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.kinds import EVENT, GPU_NODE, REVISION, Kind
from knative_mig.cli import causes
from knative_mig.core.errors import BadInput
from knative_mig.core.gpu_node import GpuNode
from knative_mig.dev import whereabouts
from knative_mig.ports.kube import Forbidden

F = TypeVar("F", bound=Callable[..., Any])
_PAGE = 500


def of_a_cluster(command: F) -> F:
    """The options that say which."""
    file = click.option("--kubeconfig", default=None, help="A file; else $KUBECONFIG, the running dev, or as kubectl.")
    context = click.option("--context", default=None, help="Of the kubeconfig.")
    return file(context(command))


def client(kubeconfig: str | None, context: str | None) -> KubeClient:
    """BadInput: there is none."""
    # What the adapters log is for a process's log. A verb says itself what is to be known.
    logging.getLogger("knative_mig").addHandler(logging.NullHandler())
    if kubeconfig is None and context is None and not os.environ.get("KUBECONFIG"):
        running = whereabouts.kubeconfig_of_running()
        kubeconfig = str(running) if running else None
    return KubeClient.of_kubeconfig(kubeconfig, context)


def gateway_of(client: KubeClient) -> str | None:
    """HOST:PORT at which every function is, whatever its host. None: it speaks with no running `dev`, and DNS knows."""
    return whereabouts.gateway_beside(client.server)


def all_of(
    client: KubeClient, kind: Kind, namespace: str = "", query: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Of one moment, however many pages that takes. ClusterError."""
    asked, found = {**(query or {}), "limit": str(_PAGE)}, []
    while True:
        page = client.page(kind, namespace, asked)
        found += page.items
        if not page.next_page:
            return found
        asked = {**asked, "continue": page.next_page}


def gpu_nodes(cluster: KubeClient) -> list[GpuNode]:
    found = []
    for body in all_of(cluster, GPU_NODE):
        with suppress(BadInput):  # one odd node must not hide all others
            found.append(gpu_node_codec.read(body))
    return found


def causes_of(
    cluster: KubeClient, services: list[dict[str, Any]], pods: list[dict[str, Any]], namespace: str
) -> dict[tuple[str, str], str]:
    """Why each of these functions is not ready, by namespace and name. ClusterError."""
    if not causes.are_wanted(services, pods):
        return {}
    revisions = _readable_of(cluster, REVISION, namespace, None)
    events = [each for query in causes.TELLING for each in _readable_of(cluster, EVENT, namespace, query)]
    return causes.causes(services, revisions=revisions, pods=pods, events=events)


def _readable_of(
    client: KubeClient, kind: Kind, namespace: str, query: Mapping[str, str] | None
) -> list[dict[str, Any]]:
    """None where this account may not read them: they explain what it did ask for."""
    try:
        return all_of(client, kind, namespace, query)
    except Forbidden:
        return []
