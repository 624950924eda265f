"""`python -m tests.crash_campaign [--points N] [--seed N] [--jobs N]`: a line a kill, a summary, an exit code.

Exit codes: 0 every call had its kills and each was recovered from, 1 not.
"""

import sys
from pathlib import Path

import click

from tests.crash_campaign.campaign import run, summary


@click.command(help=__doc__)
@click.option("--points", type=click.IntRange(min=1), help="Kill at so many, drawn by the seed; all where not given.")
@click.option("--seed", default=1, show_default=True)
@click.option("--jobs", default=2, show_default=True, type=click.IntRange(min=1), help="Runs side by side.")
@click.option("--workers/--no-workers", default=True, show_default=True, help="Also the GPU's worker process alone.")
@click.option("--evidence", default=Path("build/crash-campaign"), type=click.Path(path_type=Path), show_default=True)
def main(*, points: int | None, seed: int, jobs: int, workers: bool, evidence: Path) -> None:
    result = run(points=points, seed=seed, jobs=jobs, workers=workers, evidence=evidence, say=click.echo)
    for line in ("", *summary(result)):
        click.echo(line)
    sys.exit(not result.passed)


if __name__ == "__main__":
    main()
