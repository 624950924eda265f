"""`knative-mig usage`: how much of whole GPUs each namespace has used, as the planner has metered it.

Reads the ConfigMap in which the planner keeps its meters, or with `--metrics` a saved page of its /metrics. A share is
memory units over the GPU's: an hour of a whole GPU and two hours of half of one are the same.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.kube.meter_store import NAME, KubeMeterStore
from knative_mig.cli.cluster import client, of_a_cluster
from knative_mig.cli.table import table
from knative_mig.core.cluster.meters import Whose, decoded
from knative_mig.core.cluster.usage import Used, shares_on, used
from knative_mig.core.errors import BadInput


@click.command(name="usage")
@click.option("--by-service", is_flag=True, help="One line for each service.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as data.")
@click.option("--metrics", help="A page of the planner's /metrics, saved (- for the standard input).")
@click.option("--namespace", default="knative-mig", show_default=True, help="Where the planner runs.")
@of_a_cluster
def command(
    *, by_service: bool, as_json: bool, metrics: str | None, namespace: str, kubeconfig: str | None, context: str | None
) -> int:
    """Print how many seconds of whole GPUs each namespace has used."""
    shares = _on_page(metrics) if metrics else _stored(client(kubeconfig, context), namespace)
    lines = used(shares, by_service=by_service)
    click.echo(
        json.dumps([_data(each) for each in lines], indent=2) if as_json else text_of(lines, by_service=by_service)
    )
    return 0


def _on_page(name: str) -> dict[Whose, float]:
    try:
        page = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{name} cannot be read: {error}") from None
    return shares_on(page)


def _stored(cluster: KubeClient, namespace: str) -> dict[Whose, float]:
    found = KubeMeterStore(cluster, namespace).load()
    if found is None:
        raise BadInput(f"no ConfigMap {namespace}/{NAME}: the planner has metered nothing there yet")
    return dict(decoded(found.data).share_seconds)


def text_of(lines: Sequence[Used], *, by_service: bool) -> str:
    names = ("namespace", "service") if by_service else ("namespace",)
    rows = [
        (each.namespace or "(nobody)", *((each.service or "-",) if by_service else ()), *_seconds(each))
        for each in lines
    ]
    total = Used(
        namespace="all",
        busy_s=sum(each.busy_s for each in lines),
        idle_s=sum(each.idle_s for each in lines),
        other_s=sum(each.other_s for each in lines),
    )
    rows.append(("all", *(("",) if by_service else ()), *_seconds(total)))
    return table(tuple(each.upper() for each in (*names, "busy s", "idle s", "other s", "GPU hours")), rows)


def _seconds(each: Used) -> tuple[int, int, int, str]:
    return round(each.busy_s), round(each.idle_s), round(each.other_s), f"{each.whole_s / 3600:.2f}"


def _data(each: Used) -> dict[str, object]:
    return {
        "namespace": each.namespace,
        "service": each.service,
        "busySeconds": round(each.busy_s, 3),
        "idleSeconds": round(each.idle_s, 3),
        "otherSeconds": round(each.other_s, 3),
    }
