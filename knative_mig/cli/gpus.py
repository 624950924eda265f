"""`knative-mig gpus`: every GPU's slots as a picture, and who has them; with `-w` anew whenever one changes."""

import json
import threading
import time
from collections.abc import Callable

import click

from knative_mig.adapters.kube import gpu_node_codec
from knative_mig.adapters.kube.kinds import GPU_NODE
from knative_mig.adapters.kube.reflector import KubeMirror
from knative_mig.cli import gpu_text
from knative_mig.cli.cluster import client, gpu_nodes, of_a_cluster
from knative_mig.cli.terminal import in_colour, is_screen
from knative_mig.core.gpu_node import GpuNode

_TOGETHER_S = 0.05  # a plan and what comes of it are a few writes at once
_SCREEN_AT_THE_TOP = "\x1b[H\x1b[2J"


@click.command(name="gpus")
@click.option("-w", "--watch", is_flag=True, help="Show them again whenever one changes, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print data instead of pictures.")
@of_a_cluster
def command(*, watch: bool, as_json: bool, kubeconfig: str | None, context: str | None) -> None:
    """Show every GPU's slots: what is busy, idle, being made and free, and who has it."""
    if watch and as_json:
        raise click.UsageError("--watch and --json: legal is one of them.")
    cluster = client(kubeconfig, context)
    nodes = gpu_nodes(cluster)  # what is wrong with the cluster is told here
    if as_json:
        click.echo(json.dumps(gpu_text.data_of(nodes), indent=2))
    elif not watch:
        click.echo(gpu_text.text_of(nodes, time.time(), colour=in_colour()))
    else:
        _watch(KubeMirror(cluster, GPU_NODE, gpu_node_codec.read), _show)


def _show(text: str) -> None:
    click.echo(f"{_SCREEN_AT_THE_TOP}{text}" if is_screen() else f"{time.strftime('%H:%M:%S')}\n{text}\n")


def _watch(mirror: KubeMirror[GpuNode], show: Callable[[str], None]) -> None:
    """Until it is interrupted."""
    changed, stop = threading.Event(), threading.Event()
    mirror.on_change(lambda _: changed.set())
    threading.Thread(target=mirror.run, args=(stop,), name="GpuNodes", daemon=True).start()
    mirror.wait_synced(10.0)
    try:
        while True:
            changed.clear()
            show(gpu_text.text_of(mirror.snapshot().values(), time.time(), colour=in_colour()))
            changed.wait()
            time.sleep(_TOGETHER_S)
    finally:
        stop.set()
        mirror.interrupt()
