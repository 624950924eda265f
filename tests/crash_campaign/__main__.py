"""`python -m tests.crash_campaign [--points N] [--seed N] [--jobs N]`: a line a kill, a summary, an exit code.

Exit codes: 0 every call had its kills and each was recovered from, 1 not.
"""

import sys
from pathlib import Path

import click

from tests.crash_campaign.campaign import Result, run, summary
from tests.crash_campaign.moves import PLANNER
from tests.crash_campaign.scenario import AGENT


@click.command(help=__doc__)
@click.option("--points", type=click.IntRange(min=1), help="Kill at so many of each, drawn by the seed; else at all.")
@click.option("--seed", default=1, show_default=True)
@click.option("--jobs", default=2, show_default=True, type=click.IntRange(min=1), help="Runs side by side.")
@click.option("--workers/--no-workers", default=True, show_default=True, help="Also the GPU's worker process alone.")
@click.option("--victim", type=click.Choice([AGENT.name, PLANNER.name]), help="That one alone; else both.")
@click.option("--evidence", default=Path("build/crash-campaign"), type=click.Path(path_type=Path), show_default=True)
def main(*, points: int | None, seed: int, jobs: int, workers: bool, victim: str | None, evidence: Path) -> None:
    results: dict[str, Result] = {}
    if victim != PLANNER.name:
        results[AGENT.name] = run(
            AGENT, points=points, seed=seed, jobs=jobs, workers=workers, evidence=evidence, say=click.echo
        )
    if victim != AGENT.name:
        results[PLANNER.name] = run(PLANNER, points=points, seed=seed, jobs=jobs, evidence=evidence, say=click.echo)
    for name, result in results.items():
        for line in ("", f"{name}:", *summary(result)):
            click.echo(line)
    sys.exit(not all(each.passed for each in results.values()))


if __name__ == "__main__":
    main()
