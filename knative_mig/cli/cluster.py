"""Which cluster a verb speaks with, whole lists of what is there, and why some of it is not ready.

Called by the verbs that show a cluster. Who names a kubeconfig, by option or $KUBECONFIG, means it. Else it is the
running `dev`, for whoever has started one means that; else what kubectl takes.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from knative_mig.adapters.kube import gpu_node_codec
from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.kinds import EVENT, GPU_NODE, REVISION, Kind
from knative_mig.cli import causes, patience
from knative_mig.core.errors import BadInput
from knative_mig.core.gpu_node import GpuNode
from knative_mig.dev import whereabouts
from knative_mig.ports.kube import Forbidden, ObjectNotFound

F = TypeVar("F", bound=Callable[..., Any])
_PAGE = 500
_START_ONE = "start one with `knative-mig dev`"


def of_a_cluster(command: F) -> F:
    """The options that say which."""
    file = click.option("--kubeconfig", default=None, help="A file; else $KUBECONFIG, the running dev, or as kubectl.")
    context = click.option("--context", default=None, help="Of the kubeconfig.")
    return file(context(command))


def client(kubeconfig: str | None, context: str | None, *, is_quiet: bool = False) -> KubeClient:
    """`is_quiet`: who waits for its answers is not told so. BadInput: there is none."""
    # What the adapters log is for a process's log. A verb says itself what is to be known.
    logging.getLogger("knative_mig").addHandler(logging.NullHandler())
    named = os.environ.get("KUBECONFIG", "")
    if kubeconfig is not None:
        _check("--kubeconfig", (kubeconfig,))
    elif named:
        kubeconfig = named
        _check("$KUBECONFIG", tuple(filter(None, named.split(os.pathsep))))
    elif context is None and (running := whereabouts.kubeconfig_of_running()) is not None:
        kubeconfig = str(running)
    else:
        kubeconfig = str(_of_kubectl())
    patient = patience.Patience((lambda _: None) if is_quiet else partial(click.echo, err=True))
    return KubeClient.of_kubeconfig(
        kubeconfig, context, around=patient.around, answers_within_s=patience.ANSWERS_WITHIN_S
    )


def _check(where: str, files: tuple[str, ...]) -> None:
    """BadInput: `where` names no file that is there, or that of a `dev` which has ended. Of several some may be
    missing, as kubectl has it.
    """
    ended = [each for each in files if whereabouts.is_of_one_that_ended(Path(each))]
    missing = [each for each in files if not Path(each).expanduser().exists() and each not in ended]
    if len(ended) + len(missing) < len(files):
        return
    names = f"{where} names {' and '.join(files)}"
    if not ended:
        raise BadInput(f"{names}, which {'is' if len(files) == 1 else 'are'} not there")
    runs = whereabouts.kubeconfig_of_running() is not None
    to_do = "the one that runs is had by `export KUBECONFIG=$(knative-mig kubeconfig)`" if runs else _START_ONE
    raise BadInput(f"{names}, and the dev that wrote it has ended: {to_do}")


def _of_kubectl() -> Path:
    """BadInput: it is not there."""
    path = Path("~/.kube/config").expanduser()
    if path.exists():
        return path
    runs = whereabouts.kubeconfig_of_running() is not None  # and who names a context means another cluster
    dev = "" if runs else "no knative-mig dev is running, and "
    start = "" if runs else f"{_START_ONE}, or "
    raise BadInput(
        f"{dev}no kubeconfig is there (~/.kube/config): {start}name a cluster's file with --kubeconfig or $KUBECONFIG"
    )


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
    nodes: list[GpuNode] = []
    with suppress(Forbidden, ObjectNotFound):  # as above, and a cluster may have none
        nodes = gpu_nodes(cluster)
    return causes.causes(services, revisions=revisions, pods=pods, events=events, nodes=nodes, now=time.time())


def _readable_of(
    client: KubeClient, kind: Kind, namespace: str, query: Mapping[str, str] | None
) -> list[dict[str, Any]]:
    """None where this account may not read them: they explain what it did ask for."""
    try:
        return all_of(client, kind, namespace, query)
    except Forbidden:
        return []
