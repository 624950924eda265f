"""`python -m tests.kpa_campaign [--series N] [--seed N]`: our autoscaler against Knative's; what happened, how many
series differ.

Exit codes: 0 none differs and all that may happen did, 1 not, 2 Knative's cannot be built here.
"""

import sys
from pathlib import Path

import click

from tests.cluster.testbed.errors import ClusterError
from tests.kpa_campaign.campaign import record, replayed, run, summary
from tests.kpa_campaign.oracle import Oracle, built

_SOME = click.IntRange(min=1)
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(help=__doc__)
@click.option("--series", type=_SOME, default=2000, show_default=True)
@click.option("--seed", default=1, show_default=True, help="It draws the same series each time.")
@click.option("--evidence", default=Path("build/kpa-campaign"), type=click.Path(path_type=Path), show_default=True)
@click.option("--replay", type=_FILE, help="Play a series that differed once more, and nothing else.")
@click.option("--record", "into", type=_FILE, help="Write series with Knative's answers to a file, and nothing else.")
def main(*, series: int, seed: int, evidence: Path, replay: Path | None, into: Path | None) -> None:
    try:
        program = built(click.echo)
    except ClusterError as error:
        click.echo(error, err=True)
        sys.exit(2)
    with Oracle(program) as oracle:
        if replay:
            found = replayed(oracle, replay)
            for each in found:
                click.echo(each)
            click.echo(f"{len(found)} differences")
            sys.exit(bool(found))
        if into:
            click.echo(f"{record(oracle, into, series=series, seed=seed)} series in {into}")
            return
        result = run(oracle, series=series, seed=seed, evidence=evidence, say=click.echo)
    for line in ("", *summary(result)):
        click.echo(line)
    sys.exit(not result.passed)


if __name__ == "__main__":
    main()
