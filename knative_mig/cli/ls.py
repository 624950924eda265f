"""`knative-mig ls`: the functions of a cluster, what each is at now, and which slices it has."""

import json

import click

from knative_mig.adapters.kube.kinds import FUNCTION, POD
from knative_mig.adapters.kube.parse import SERVICE_LABEL
from knative_mig.cli import function_text
from knative_mig.cli.cluster import all_of, causes_of, client, gpu_nodes, of_a_cluster


@click.command(name="ls")
@click.option("-n", "--namespace", default="", help="One namespace alone; else all.")
@click.option("--json", "as_json", is_flag=True, help="Print data instead of a table.")
@of_a_cluster
def command(*, namespace: str, as_json: bool, kubeconfig: str | None, context: str | None) -> None:
    """List functions: their state, what they want, the slices that they have, and their URLs."""
    cluster = client(kubeconfig, context)
    services = all_of(cluster, FUNCTION, namespace)
    pods = all_of(cluster, POD, namespace, {"labelSelector": SERVICE_LABEL})
    known = causes_of(cluster, services, pods, namespace)
    found = function_text.functions(services, pods, gpu_nodes(cluster), known)
    if as_json:
        click.echo(json.dumps(function_text.data_of(found), indent=2))
    elif namespace and not found:
        click.echo(f"No resources found in {namespace} namespace.", err=True)  # kubectl's words
    else:
        click.echo(function_text.text_of(found))
