"""`knative-mig dev`: the whole system in one command, without a cluster, a GPU, Docker or root.

Prints what to type next as soon as it is ready, then a line for each part that had to be started again, until Ctrl-C.
"""

import re
from importlib.util import find_spec
from itertools import chain, pairwise
from pathlib import Path
from typing import Final

import click

from knative_mig.adapters.program import Number, Whole, duration
from knative_mig.core.errors import BadInput
from knative_mig.dev.whole.settings import API_PORT, CHAOS_S, GATEWAY_PORT, GPUS, DevSettings
from knative_mig.dev.whole.told import Told

_PORT: Final = Whole(0, 65535)
_CHAOS: Final = duration(0.1)
_IS_NEGATIVE: Final = re.compile(r"-[0-9.].*", re.DOTALL)


class _Command(click.Command):
    """To click what begins with a minus is never the value of an option that may stand without one, but the next.

    A subclass, for only so is a command asked for its words before click has split them.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        (option,) = (each for each in self.params if each.name == "chaos")
        for before, word in pairwise(chain.from_iterable(each.split("=", 1) for each in args)):
            if before == "--chaos" and _IS_NEGATIVE.fullmatch(word):
                _CHAOS.convert(word, option, ctx)  # no such value is one
        return super().parse_args(ctx, args)


def _folder(ctx: click.Context, param: click.Parameter, value: str | None) -> Path | None:  # noqa: ARG001
    """A click callback. An empty word, as of a variable that is not set, would be the folder that one is in."""
    if value == "":
        raise click.BadParameter("'' names no folder.")
    return None if value is None else Path(value)


@click.command(name="dev", cls=_Command)
@click.option("--gpus", default=None, show_default=GPUS,
              help="The simulated fleet; 2xA100-40GB,1xH100-80GB is two nodes.")  # fmt: skip
@click.option("--port", type=_PORT, default=GATEWAY_PORT, show_default=True, help="Of functions. 0: any.")
@click.option("--api-port", type=_PORT, default=API_PORT, show_default=True, help="Of the Kubernetes API. 0: any.")
@click.option("--speed", type=Number(0.01, 1000), default=1.0, show_default=True,
              help="So many times faster than real GPUs do the simulated ones change, and nothing else.")  # fmt: skip
@click.option("--chaos", type=_CHAOS, is_flag=False, flag_value=CHAOS_S, default=None, metavar="[SECONDS]",
              help=f"Kill a part or a replica every {CHAOS_S:.0f} seconds or so, or as often as is said.")  # fmt: skip
@click.option("--keep-hung", is_flag=True, help="Let a part that does not answer be, as for a debugger in it.")
@click.option("--state", type=click.Path(file_okay=False), callback=_folder, help="Keep everything in this folder.")
def command(
    *,
    gpus: str | None,
    port: int,
    api_port: int,
    speed: float,
    chaos: float | None,
    keep_hung: bool,
    state: Path | None,
) -> int:
    """Run the whole system on this machine, without a cluster and a GPU.

    Binds loopback only. Ctrl-C lets running requests end, a second one does not.
    """
    if find_spec("grpc") is None:
        raise BadInput("its node agents speak gRPC, which is not installed: pip install 'knative-mig[agent]'")
    told = Told()
    told.listen()
    from knative_mig.dev.whole.process import run  # noqa: PLC0415  --help is answered at once

    settings = DevSettings(
        gpus=gpus,
        port=port,
        api_port=api_port,
        speed=speed,
        chaos_s=chaos,
        keeps_hung=keep_hung,
        state=state,
    )
    return run(settings, told)
