"""`knative-mig gpus`: every GPU's slots as a picture, and who has them; with `-w` anew whenever one looks different.

The subtle thing of `-w` is that nothing to show and nobody to ask look the same: it says which it is.
"""

import json
import threading
import time
from collections.abc import Callable, Collection
from functools import partial
from typing import Final

import click

from knative_mig.adapters.kube import gpu_node_codec
from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.kinds import GPU_NODE
from knative_mig.adapters.kube.reflector import KubeMirror
from knative_mig.cli import gpu_text, patience
from knative_mig.cli.cluster import client, gpu_nodes, of_a_cluster
from knative_mig.cli.terminal import in_colour, is_screen
from knative_mig.core.gpu_node import GpuNode
from knative_mig.ports.kube import ClusterError

_TOGETHER_S: Final = 0.05  # a plan and what comes of it are a few writes at once
_HEARS_EACH_S: Final = 1.0  # the server is to end a watch that often, so that its silence is noticed as soon
_LOOKS_EACH_S: Final = 0.25
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
        _watch(cluster, _show, partial(click.echo, err=True))


def _show(text: str) -> None:
    click.echo(f"{_SCREEN_AT_THE_TOP}{text}" if is_screen() else f"{time.strftime('%H:%M:%S')}\n{text}\n")


class Look:
    """What was shown last, and when: what differs from it by its age alone is not shown again."""

    def __init__(self, *, colour: bool) -> None:
        self._colour = colour
        self._text, self._at = "", 0.0

    def of(self, nodes: Collection[GpuNode], now: float) -> str | None:
        """`now`: seconds since the epoch. None: as before."""
        if self._text == gpu_text.text_of(nodes, self._at, colour=self._colour):
            return None
        self._text, self._at = gpu_text.text_of(nodes, now, colour=self._colour), now
        return self._text

    def forget(self) -> None:
        self._text = ""


def _watch(cluster: KubeClient, show: Callable[[str], None], tell: Callable[[str], None]) -> None:
    """Until it is interrupted."""
    mirror = KubeMirror(cluster, GPU_NODE, gpu_node_codec.read, watch_s=_HEARS_EACH_S)
    changed, stop = threading.Event(), threading.Event()
    mirror.on_change(lambda _: changed.set())
    threading.Thread(target=mirror.run, args=(stop,), name="GpuNodes", daemon=True).start()
    look, silence, heard = Look(colour=in_colour()), patience.Silence(), time.monotonic()
    try:
        while True:
            if changed.wait(_LOOKS_EACH_S):
                time.sleep(_TOGETHER_S)
                changed.clear()
            now, was_silent = time.monotonic(), silence.was_told
            if mirror.trouble is None:
                heard = max(heard, now - mirror.age_s(now))
            if silence.is_news(now - heard - _HEARS_EACH_S):
                tell(_why_silent(mirror.trouble, cluster.server))
            elif was_silent and not silence.was_told:
                look.forget()  # what stands there is older than the lines on the silence
            if mirror.synced and (text := look.of(mirror.snapshot().values(), time.time())) is not None:
                show(text)
    finally:
        stop.set()
        mirror.interrupt()


def _why_silent(trouble: ClusterError | None, server: str) -> str:
    if trouble is not None and trouble.said:
        return f"{trouble.reason}: {trouble}"
    return f"{patience.no_answer_yet(server)}: it is asked until Ctrl-C"
