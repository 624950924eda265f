"""`python -m tests.fuzz_campaign [--requests N] [--seed N] [--connections N]`: what was sent, how it was answered.

Exit codes: 0 each request was answered as it must be and both processes are well, 1 not.
"""

import sys
from pathlib import Path

import click

from tests.fuzz_campaign.campaign import CONNECTIONS, run, summary

_SOME = click.IntRange(min=1)


@click.command(help=__doc__)
@click.option("--requests", type=_SOME, default=100_000, show_default=True, help="To both doors together.")
@click.option("--seed", default=1, show_default=True, help="With as many connections it draws the same requests.")
@click.option("--connections", type=_SOME, default=CONNECTIONS, show_default=True, help="To each door, at once.")
@click.option("--watch-every", type=_SOME, default=4, show_default=True, help="In one connection of so many.")
@click.option("--evidence", default=Path("build/fuzz-campaign"), type=click.Path(path_type=Path), show_default=True)
def main(*, requests: int, seed: int, connections: int, watch_every: int, evidence: Path) -> None:
    result = run(
        requests=requests,
        seed=seed,
        connections=connections,
        watch_every=watch_every,
        evidence=evidence,
        say=click.echo,
    )
    for line in ("", *summary(result)):
        click.echo(line)
    sys.exit(not result.passed)


if __name__ == "__main__":
    main()
