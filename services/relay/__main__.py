"""`python -m services.relay -- ENGINE …`: starts an engine and relays its generations until SIGTERM.

Exit codes: 0 it was told to end, 2 bad input, and else the engine's own. Each option has an environment variable,
`KNATIVE_MIG_RELAY_` and its name; `--port` also goes by `PORT`, which the engine is given another of.
"""

from pathlib import Path

import click

from knative_mig.adapters.program import run_program
from services.relay.process import run
from services.relay.settings import ENGINES, Settings

_DEFAULT = Settings()


@click.command(context_settings={"auto_envvar_prefix": "KNATIVE_MIG_RELAY", "help_option_names": ["-h", "--help"]})
@click.option("--engine", type=click.Choice(sorted(ENGINES)), default=_DEFAULT.engine, show_default=True,
              help="What it can do beyond OpenAI's API.")  # fmt: skip
@click.option("--engine-port", type=click.IntRange(0, 65535), default=_DEFAULT.engine_port, show_default=True,
              help="Told to it as PORT; 0: any that is free.")  # fmt: skip
@click.option("--host", default=_DEFAULT.host, show_default=True)
@click.option("--port", envvar=["KNATIVE_MIG_RELAY_PORT", "PORT"], type=click.IntRange(0, 65535),
              default=_DEFAULT.port, show_default=True)  # fmt: skip
@click.option("--move-port", type=click.IntRange(0, 65535), default=_DEFAULT.move_port, show_default=True)
@click.option("--secret-file", type=click.Path(path_type=Path, dir_okay=False), default=None,
              help="What movers and other relays show. Without, nothing moves.")  # fmt: skip
@click.option("--function-url", default=_DEFAULT.function_url, help="Where any replica of the function is reached.")
@click.option("--function-gateway", default=_DEFAULT.function_gateway,
              help="HOST:PORT that has it, where its host is not to be looked up.")  # fmt: skip
@click.option("--slice-dir", type=click.Path(path_type=Path, file_okay=False), default=_DEFAULT.slice_dir,
              show_default=True, help="Where the node agent's socket is.")  # fmt: skip
@click.option("--connections", type=click.IntRange(1), default=_DEFAULT.connections, show_default=True)
@click.option("--log-level", type=click.Choice(["debug", "info", "warning"]), default="info", show_default=True)
@click.argument("command", nargs=-1, required=True)
def command(
    *,
    engine: str,
    engine_port: int,
    host: str,
    port: int,
    move_port: int,
    secret_file: Path | None,
    function_url: str,
    function_gateway: str,
    slice_dir: Path,
    connections: int,
    log_level: str,
    command: tuple[str, ...],
) -> None:
    """Relays an engine's generations, so that they can move to another replica. COMMAND starts the engine."""

    def body() -> int:
        return run(
            Settings(
                command=command,
                engine=engine,
                engine_port=engine_port,
                host=host,
                port=port,
                move_port=move_port,
                secret_file=secret_file,
                function_url=function_url,
                function_gateway=function_gateway,
                slice_dir=slice_dir,
                connections=connections,
            )
        )

    run_program("relay", body, log_level=log_level)


if __name__ == "__main__":
    command()
