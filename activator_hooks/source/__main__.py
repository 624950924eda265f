"""`python -m activator_hooks.source`: reads the settings, runs the pending source until SIGTERM, answers with an exit
code.

Exit codes: 0 it was told to end, 1 it failed, 2 bad input. Each option has an environment variable, `KNATIVE_MIG_` and
its name; where the events go is told as Knative tells it, so that a SinkBinding can.
"""

import logging

import click

from activator_hooks.source.process import run
from activator_hooks.source.settings import SourceSettings
from knative_mig.adapters.event_sender import TOKEN_FILE, Sink
from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.program import SECONDS, common_options, run_program
from knative_mig.core.pending.asks import Rhythm

PLANNER = "http://planner.knative-mig.svc"
_DEFAULT = SourceSettings()
_PORT = click.IntRange(0, 65535)


@click.command(context_settings={"auto_envvar_prefix": "KNATIVE_MIG", "help_option_names": ["-h", "--help"]})
@common_options(ops_port=_DEFAULT.ops_port)
@click.option("--sink", envvar="K_SINK", default=PLANNER, show_default=True, help="Where events go: http or https.")
@click.option("--ce-overrides", envvar="K_CE_OVERRIDES", default="", help="JSON with extensions that each event gets.")
@click.option("--ca-certs", envvar="K_CA_CERTS", default="", help="PEM, trusted for the sink beside the system's.")
@click.option("--token-file", default=TOKEN_FILE, show_default=True, help="Sent to the sink, if it is there.")
@click.option("--again-s", type=SECONDS, default=_DEFAULT.rhythm.again_s, show_default=True)
@click.option("--again-most-s", type=SECONDS, default=_DEFAULT.rhythm.again_most_s, show_default=True)
@click.option("--retry-s", type=SECONDS, default=_DEFAULT.rhythm.retry_s, show_default=True)
@click.option("--retry-most-s", type=SECONDS, default=_DEFAULT.rhythm.retry_most_s, show_default=True)
@click.option("--senders", type=click.IntRange(1, 64), default=_DEFAULT.senders, show_default=True)
@click.option("--dead-letters-port", type=_PORT, default=_DEFAULT.dead_letters_port, show_default=True)
@click.option("--ops-host", default="0.0.0.0", show_default=True)  # noqa: S104 - probes come from the node
def command(
    *,
    kubeconfig: str,
    context: str | None,
    sink: str,
    ce_overrides: str,
    ca_certs: str,
    token_file: str,
    again_s: float,
    again_most_s: float,
    retry_s: float,
    retry_most_s: float,
    senders: int,
    dead_letters_port: int,
    ops_host: str,
    ops_port: int,
    log_level: str,
) -> None:
    """The pending source: tells by CloudEvents which revisions want a slice."""
    # At its lowest level it writes down whom it asks, URL and all.
    logging.getLogger("urllib3").setLevel(logging.WARNING)

    def body() -> int:
        settings = SourceSettings(
            senders=senders,
            dead_letters_port=dead_letters_port,
            ops_port=ops_port,
            rhythm=Rhythm(again_s=again_s, again_most_s=again_most_s, retry_s=retry_s, retry_most_s=retry_most_s),
        )
        where = Sink.parse(sink, overrides=ce_overrides, ca_certs=ca_certs, token_file=token_file)
        return run(settings, KubeClient.of(kubeconfig, context), where, host=ops_host)

    run_program("source", body, log_level=log_level)


if __name__ == "__main__":
    command()
