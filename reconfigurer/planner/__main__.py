"""`python -m reconfigurer.planner`: reads the settings, runs the planner until SIGTERM, answers with an exit code.

Exit codes: 0 it was told to end, 1 it failed, 2 bad input. Each option has an environment variable, `KNATIVE_MIG_` and
its name; where outcomes go is told as Knative tells it, so that a SinkBinding can.
"""

import logging

import click

from knative_mig.adapters.event_sender import TOKEN_FILE, Sink
from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.program import SECONDS, common_options, duration, run_program
from knative_mig.core.cluster.idle_worth import Reuse
from knative_mig.core.cluster.staleness import Patience
from knative_mig.core.planner.policy import Policy
from reconfigurer.planner.process import run
from reconfigurer.planner.settings import PlannerSettings

_DEFAULT = PlannerSettings()


@click.command(context_settings={"auto_envvar_prefix": "KNATIVE_MIG", "help_option_names": ["-h", "--help"]})
@common_options(ops_port=_DEFAULT.ops_port)
@click.option(
    "--namespace", envvar=["KNATIVE_MIG_NAMESPACE", "POD_NAMESPACE"], default=_DEFAULT.namespace, show_default=True
)
@click.option("--agent-namespace", default=_DEFAULT.agent_namespace, show_default=True, help="Of the heartbeats.")
@click.option("--resync-s", type=SECONDS, default=_DEFAULT.resync_s, show_default=True)
@click.option("--mirror-age-limit-s", type=SECONDS, default=_DEFAULT.mirror_age_limit_s, show_default=True)
@click.option("--agent-answers-within-s", type=SECONDS, default=_DEFAULT.patience.answer_s, show_default=True)
@click.option("--agent-silent-after-s", type=SECONDS, default=_DEFAULT.patience.silence_s, show_default=True)
@click.option("--idle-cold-start-s", type=SECONDS, default=_DEFAULT.reuse.cold_start_s, show_default=True)
@click.option("--idle-half-life-s", type=SECONDS, default=_DEFAULT.reuse.half_life_s, show_default=True)
@click.option("--max-moves", type=click.IntRange(0, 2), default=_DEFAULT.policy.max_moves, show_default=True)
@click.option("--starving-after-s", type=SECONDS, default=_DEFAULT.policy.starving_after_s, show_default=True)
@click.option("--wait-at-most-s", type=duration(zero=True), default=_DEFAULT.policy.wait_at_most_s, show_default=True)
@click.option("--reserve-whole", type=click.IntRange(min=0), default=_DEFAULT.policy.reserve_whole, show_default=True)
@click.option("--events-port", type=click.IntRange(0, 65535), default=_DEFAULT.events_port, show_default=True)
@click.option(
    "--advertise-address",
    envvar=["KNATIVE_MIG_ADVERTISE_ADDRESS", "POD_IP"],
    default="",
    help="Where the other replica finds this one's events port; without it, events that come to the other wait.",
)
@click.option("--sink", envvar="K_SINK", default="", help="Where outcomes go: http or https; without it, nowhere.")
@click.option("--ce-overrides", envvar="K_CE_OVERRIDES", default="", help="JSON with extensions that each event gets.")
@click.option("--ca-certs", envvar="K_CA_CERTS", default="", help="PEM, trusted for the sink beside the system's.")
@click.option("--token-file", default=TOKEN_FILE, show_default=True, help="Sent to the sink, if it is there.")
@click.option("--ops-host", default="0.0.0.0", show_default=True)  # noqa: S104 - probes come from the node
def command(
    *,
    kubeconfig: str,
    context: str | None,
    namespace: str,
    agent_namespace: str,
    resync_s: float,
    mirror_age_limit_s: float,
    agent_answers_within_s: float,
    agent_silent_after_s: float,
    idle_cold_start_s: float,
    idle_half_life_s: float,
    max_moves: int,
    starving_after_s: float,
    wait_at_most_s: float,
    reserve_whole: int,
    events_port: int,
    advertise_address: str,
    sink: str,
    ce_overrides: str,
    ca_certs: str,
    token_file: str,
    ops_host: str,
    ops_port: int,
    log_level: str,
) -> None:
    """The planner: decides which slices are made on which node."""

    def body() -> int:
        # At its lowest level it writes down whom it asks, URL and all.
        logging.getLogger("urllib3").setLevel(logging.WARNING)
        settings = PlannerSettings(
            namespace=namespace,
            agent_namespace=agent_namespace,
            resync_s=resync_s,
            mirror_age_limit_s=mirror_age_limit_s,
            events_port=events_port,
            ops_port=ops_port,
            patience=Patience(answer_s=agent_answers_within_s, silence_s=agent_silent_after_s),
            reuse=Reuse(cold_start_s=idle_cold_start_s, half_life_s=idle_half_life_s),
            policy=Policy(
                max_moves=max_moves,
                starving_after_s=starving_after_s,
                wait_at_most_s=wait_at_most_s,
                reserve_whole=reserve_whole,
            ),
        )
        client = KubeClient.of(kubeconfig, context)
        where = Sink.parse(sink, overrides=ce_overrides, ca_certs=ca_certs, token_file=token_file) if sink else None
        return run(settings, client, sink=where, advertise=advertise_address, host=ops_host)

    run_program("planner", body, log_level=log_level)


if __name__ == "__main__":
    command()
