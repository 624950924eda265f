"""`python -m services.tiny_llm`: serves the tiny model until SIGTERM, and answers with an exit code.

Exit codes: 0 it was told to end, 1 it failed, 2 bad input. Each option has an environment variable, `KNATIVE_MIG_` and
its name: those of the slice are what the node agent gives a pod that it hands the slice to.
"""

from pathlib import Path

import click

from knative_mig.adapters.program import run_program
from knative_mig.core.performance import GPUS, LLMS
from services.tiny_llm.capacity import Slice
from services.tiny_llm.process import run
from services.tiny_llm.settings import Settings

_DEFAULT = Settings()


@click.command(context_settings={"auto_envvar_prefix": "KNATIVE_MIG", "help_option_names": ["-h", "--help"]})
@click.option("--host", default=_DEFAULT.host, show_default=True)
@click.option("--port", envvar=["KNATIVE_MIG_PORT", "PORT"], type=click.IntRange(0, 65535), default=_DEFAULT.port,
              show_default=True)  # fmt: skip
@click.option("--model", "--served-model-name", "model", default=_DEFAULT.model, show_default=True, help="Its name.")
@click.option("--weights", type=click.Path(path_type=Path, dir_okay=False), default=_DEFAULT.weights)
@click.option("--memory-mib", type=click.IntRange(1), default=_DEFAULT.slice.memory_mib, show_default=True,
              help="Of the slice.")  # fmt: skip
@click.option("--compute-share", default=str(_DEFAULT.slice.compute_share), show_default=True,
              help="Of its GPU, as 3/7.")  # fmt: skip
@click.option("--sm", type=click.IntRange(1), default=_DEFAULT.slice.multiprocessors, show_default=True,
              help="The slice's multiprocessors.")  # fmt: skip
@click.option("--pace", type=click.Choice(sorted(LLMS)), default=None, help="Be as slow as this model on the slice.")
@click.option("--pace-gpu", type=click.Choice(sorted(GPUS)), default=_DEFAULT.pace_gpu, show_default=True)
@click.option("--most-waiting", type=click.IntRange(0), default=_DEFAULT.most_waiting, show_default=True)
@click.option("--connections", type=click.IntRange(1), default=_DEFAULT.connections, show_default=True)
@click.option("--log-level", type=click.Choice(["debug", "info", "warning"]), default="info", show_default=True)
def command(
    *,
    host: str,
    port: int,
    model: str,
    weights: Path,
    memory_mib: int,
    compute_share: str,
    sm: int,
    pace: str | None,
    pace_gpu: str,
    most_waiting: int,
    connections: int,
    log_level: str,
) -> None:
    """A tiny language model behind OpenAI's API."""

    def body() -> int:
        return run(
            Settings(
                host=host,
                port=port,
                model=model,
                weights=weights,
                slice=Slice.of(memory_mib=memory_mib, compute_share=compute_share, multiprocessors=sm),
                paced_as=pace or "",
                pace_gpu=pace_gpu,
                most_waiting=most_waiting,
                connections=connections,
            )
        )

    run_program("tiny_llm", body, log_level=log_level)


if __name__ == "__main__":
    command()
