"""`python -m reconfigurer.agent`: reads the settings, runs the agent until SIGTERM, answers with an exit code.

Exit codes: 0 it was told to end, 1 it failed or another agent runs here, 2 bad input. Each option has an environment
variable, `KNATIVE_MIG_` and its name, and for the node the DaemonSet's own `NODE_NAME`.
"""

from pathlib import Path

import click

from knative_mig.adapters.program import duration, run_program
from knative_mig.core.inventory import NodeName
from reconfigurer.agent.process import run
from reconfigurer.agent.settings import LEGAL_GPUS, Inject, PodsBy, Settings

_DEFAULT = Settings(node=NodeName("any"), gpus="nvml")
_INJECT = [each.value for each in Inject]  # click would show an enum's names, not what they stand for
_PODS_BY = [each.value for each in PodsBy]
_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command(context_settings={"auto_envvar_prefix": "KNATIVE_MIG", "help_option_names": ["-h", "--help"]})
@click.option("--node", envvar=["KNATIVE_MIG_NODE", "NODE_NAME"], required=True, help="The Node this runs on.")
@click.option("--gpus", default="nvml", show_default=True, help=f"{LEGAL_GPUS}.")
@click.option("--gpu-state", type=click.Path(dir_okay=False, path_type=Path), help="The file of simulated GPUs.")
@click.option("--simulated-latency-ms", type=duration(zero=True), default=0.0, help="Of simulated changes.")
@click.option("--inject", type=click.Choice(_INJECT), default=Inject.CDI.value, show_default=True)
@click.option("--pods-by", type=click.Choice(_PODS_BY), default=PodsBy.CGROUP.value, show_default=True)
@click.option("--state-dir", type=_FOLDER, default=_DEFAULT.state_dir, show_default=True, help="Journal, hand-outs.")
@click.option("--sockets-dir", type=_FOLDER, default=_DEFAULT.sockets_dir, show_default=True)
@click.option("--cdi-dir", type=_FOLDER, default=_DEFAULT.cdi_dir, show_default=True)
@click.option("--kubelet-dir", type=_FOLDER, default=_DEFAULT.kubelet_dir, show_default=True)
@click.option("--namespace", default=_DEFAULT.namespace, show_default=True, help="Of the heartbeat's Lease.")
@click.option("--holder", envvar=["KNATIVE_MIG_HOLDER", "POD_NAME"], default="", help="Who holds the Lease.")
@click.option("--ops-host", default=_DEFAULT.ops_host, show_default=True)
@click.option("--ops-port", type=click.IntRange(0, 65535), default=_DEFAULT.ops_port, show_default=True)
@click.option("--kubeconfig", default=_DEFAULT.kubeconfig, show_default=True, help="A file, or in-cluster.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning"]), default="info", show_default=True)
def command(
    *,
    node: str,
    gpus: str,
    gpu_state: Path | None,
    simulated_latency_ms: float,
    inject: str,
    pods_by: str,
    state_dir: Path,
    sockets_dir: Path,
    cdi_dir: Path,
    kubelet_dir: Path,
    namespace: str,
    holder: str,
    ops_host: str,
    ops_port: int,
    kubeconfig: str,
    log_level: str,
) -> None:
    """The agent of one node: the only owner of its GPUs."""

    def body() -> int:
        settings = Settings(
            node=NodeName(node),
            gpus=gpus,
            gpu_state=gpu_state,
            simulated_latency_s=simulated_latency_ms / 1000,
            inject=Inject(inject),
            pods_by=PodsBy(pods_by),
            state_dir=state_dir,
            sockets_dir=sockets_dir,
            cdi_dir=cdi_dir,
            kubelet_dir=kubelet_dir,
            namespace=namespace,
            holder=holder or node,
            ops_host=ops_host,
            ops_port=ops_port,
            kubeconfig=kubeconfig,
        )
        return run(settings)

    run_program(f"agent of {node}", body, log_level=log_level)


if __name__ == "__main__":
    command()
