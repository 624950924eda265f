"""`python -m activator_hooks.webhook`: reads the settings, serves until SIGTERM, answers with an exit code.

Exit codes: 0 it was told to end, 1 it failed, 2 bad input. Each option has an environment variable, `KNATIVE_MIG_` and
its name.
"""

import click

from activator_hooks.webhook.process import run
from activator_hooks.webhook.settings import WebhookSettings
from knative_mig.adapters.kube.client import KubeClient
from knative_mig.adapters.program import SECONDS, common_options, run_program

_DEFAULT = WebhookSettings()
_PORT = click.IntRange(0, 65535)


@click.command(context_settings={"auto_envvar_prefix": "KNATIVE_MIG", "help_option_names": ["-h", "--help"]})
@common_options(ops_port=_DEFAULT.ops_port)
@click.option(
    "--namespace", envvar=["KNATIVE_MIG_NAMESPACE", "POD_NAMESPACE"], default=_DEFAULT.namespace, show_default=True
)
@click.option("--service", default=_DEFAULT.service, show_default=True, help="By whose name API servers call.")
@click.option("--knative-namespace", default=_DEFAULT.knative_namespace, show_default=True)
@click.option("--port", type=_PORT, default=_DEFAULT.port, show_default=True)
@click.option("--look-every-s", type=SECONDS, default=_DEFAULT.look_every_s, show_default=True)
@click.option("--waits-for-mirrors-s", type=SECONDS, default=_DEFAULT.waits_for_mirrors_s, show_default=True)
@click.option("--host", default="0.0.0.0", show_default=True)  # noqa: S104 - API servers come from anywhere
def command(
    *,
    kubeconfig: str,
    context: str | None,
    namespace: str,
    service: str,
    knative_namespace: str,
    port: int,
    look_every_s: float,
    waits_for_mirrors_s: float,
    host: str,
    ops_port: int,
    log_level: str,
) -> None:
    """The admission webhooks: set what functions on slices need, and refuse what cannot be."""

    def body() -> int:
        settings = WebhookSettings(
            namespace=namespace,
            service=service,
            knative_namespace=knative_namespace,
            port=port,
            ops_port=ops_port,
            look_every_s=look_every_s,
            waits_for_mirrors_s=waits_for_mirrors_s,
        )
        return run(settings, KubeClient.of(kubeconfig, context), host=host)

    run_program("webhook", body, log_level=log_level)


if __name__ == "__main__":
    command()
