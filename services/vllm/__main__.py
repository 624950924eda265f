"""`python -m services.vllm MODEL [options] [-- flags of vLLM]`: vLLM on the slice that the container holds.

Exit codes: 0 it was told to end, 1 it failed, 2 bad input, 3 the model does not fit on the slice, 4 the slice is not
the one that was handed out or there is none, 5 no such model, 6 not healthy in time. All but 0 say why in the last
line, which Knative shows as the reason that a Revision is not ready. Each option has an environment variable,
`KNATIVE_MIG_` and its name: those of the slice are what the node agent gives a pod that it hands the slice to.
"""

import logging
import os
import shlex
import sys
from pathlib import Path

import click

from knative_mig.adapters.program import SECONDS, run_program
from knative_mig.core.errors import BadInput
from services.vllm import annotations, model_facts, visible_devices
from services.vllm.failures import Ending, NotStarted
from services.vllm.plan import Slice, Wanted, plan
from services.vllm.process import health_of, run

_log = logging.getLogger("services.vllm")


@click.command(context_settings={"auto_envvar_prefix": "KNATIVE_MIG", "help_option_names": ["-h", "--help"]})
@click.argument("model")
@click.argument("flags", nargs=-1, type=click.UNPROCESSED)
@click.option("--engine", default="vllm", show_default=True, help="The command before `serve`.")
@click.option("--port", envvar=["KNATIVE_MIG_PORT", "PORT"], type=click.IntRange(1, 65535), default=8080,
              show_default=True)  # fmt: skip
@click.option("--host", default="0.0.0.0", show_default=True)  # noqa: S104 - as for any server of a pod
@click.option("--memory-mib", type=click.IntRange(1), default=None, help="Of the slice.")
@click.option("--compute-share", default="1", show_default=True, help="Of its GPU, as 3/7.")
@click.option("--annotations", "annotations_file", type=click.Path(path_type=Path), default="/etc/podinfo/annotations",
              show_default=True, help="The pod's, if they are there.")  # fmt: skip
@click.option("--healthy-within-s", type=SECONDS, default=1200.0, show_default=True,
              help="Then it is given up.")  # fmt: skip
@click.option("--log-level", type=click.Choice(["debug", "info", "warning"]), default="info", show_default=True)
def command(
    *,
    model: str,
    flags: tuple[str, ...],
    engine: str,
    port: int,
    host: str,
    memory_mib: int | None,
    compute_share: str,
    annotations_file: Path,
    healthy_within_s: float,
    log_level: str,
) -> None:
    """VLLM as the slice allows."""

    def body() -> int:
        if not model:
            raise BadInput("the model has no name")
        slice_ = Slice.of(memory_mib=memory_mib, compute_share=compute_share)
        wanted = Wanted(model=model, port=port, host=host, lengths=annotations.read(annotations_file), own=flags)
        try:
            return _launch(_command(engine), slice_, wanted, within_s=healthy_within_s)
        except NotStarted as refused:
            sys.stderr.write(f"vllm: {refused}\n")
            return refused.ending

    run_program("vllm", body, log_level=log_level)


def _command(engine: str) -> list[str]:
    """BadInput."""
    try:
        words = shlex.split(engine)
    except ValueError as error:
        raise BadInput(f"--engine is {engine!r}, which is no command: {error}") from None
    if not words:
        raise BadInput("--engine is empty, which is no command")
    return words


def _launch(engine: list[str], slice_: Slice, wanted: Wanted, *, within_s: float) -> int:
    environment = visible_devices.environment(os.environ)
    for note in environment.notes:
        _log.warning("%s", note)
    planned = plan(slice_, model_facts.find(wanted.model, model_facts.hub(os.environ)), wanted)
    for flag in planned.flags:
        _log.info("%s %s: %s", flag.name, flag.value, flag.why)
    ended = run((*engine, *planned.arguments), environment.variables, healthy=health_of(wanted.port), within_s=within_s)
    if isinstance(ended, Ending):
        return ended
    sys.stderr.write(f"vllm: {ended.line}\n")
    return ended.ending


if __name__ == "__main__":
    command()
