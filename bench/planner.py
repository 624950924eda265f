"""`python -m bench.planner [--quick] [--json] [--seed N]`: how fast the planner decides, and what its policy is worth.

Exits with 1 if a rule accepts more than the bound, for then the comparison itself is broken; a goal that is missed is
printed as missed. `--quick` keeps every part and takes fewer decisions, seeds and arrivals, so its intervals are wide.
"""

from dataclasses import dataclass
from typing import Final

import click

from bench import policy_worth
from bench.decisions import kept_mib, print_singles, time_batch, time_decisions
from bench.fleets import CROWDED, USUAL, Crowd
from bench.ours import KeptPlanner, plan_all
from bench.report import Goal, flags, print_goals, print_json

KEYS: Final = (
    "decision_p99_ms_10000",
    "batch_1000x10000_ms",
    "batch_gap",
    "gap_closed_0_8",
    "gap_closed_1_0",
    "accept_7g_ratio_1_0",
    "moves_per_accept_1_0",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    fleets: tuple[tuple[int, Crowd], ...] = ((100, USUAL), (1_000, USUAL), (10_000, CROWDED), (10_000, USUAL))
    decisions: int  # on each fleet
    batch_gpus: int = 10_000
    batch_pendings: int = 1_000
    batches: int
    worth: policy_worth.Effort


FULL: Final = Effort(decisions=2_000, batches=3, worth=policy_worth.FULL)
QUICK: Final = Effort(decisions=300, batches=1, worth=policy_worth.QUICK)


@click.command(help=__doc__)
@flags
def main(*, quick: bool, as_json: bool, seed: int) -> None:
    if quick:
        click.echo("--quick: few decisions, seeds and arrivals; take the figures of a full run")
    found = run(QUICK if quick else FULL, seed)
    if as_json:
        print_json({key: found[key] for key in KEYS})


def run(effort: Effort, seed: int) -> dict[str, float]:
    """Measures and prints everything; figures by key, unfavourable ends."""
    times, goals = _time(effort, seed)
    worth, more = policy_worth.measure(effort.worth, seed)
    print_goals([*goals, *more])
    return times | worth


def _time(effort: Effort, seed: int) -> tuple[dict[str, float], list[Goal]]:
    singles = [time_decisions(KeptPlanner, gpus, effort.decisions, seed, crowd) for gpus, crowd in effort.fleets]
    print_singles(singles)
    last = singles[-1]
    batch = time_batch(plan_all, KeptPlanner, effort.batch_gpus, effort.batch_pendings, seed, runs=effort.batches)
    size = f"{effort.batch_pendings:,} pendings x {effort.batch_gpus:,} GPUs"
    click.echo(
        f"\n{size} in one call: {batch.ms:.0f} ms ({batch.wall_ms:.0f} ms wall), {batch.kept_ms:.0f} ms on a kept "
        f"fleet; {batch.granted} granted, {batch.refused} refused, {100 * batch.gap:.2f} % below the proven bound"
    )
    click.echo(f"Kept in memory for {last.gpus:,} GPUs: {kept_mib(KeptPlanner, last.gpus, seed):.0f} MiB")
    found = {
        "decision_p99_ms_10000": last.decide.p99,
        "batch_1000x10000_ms": batch.ms,
        "batch_gap": batch.gap,
    }
    return found, [
        Goal(what=f"decision p99 at {last.gpus:,} GPUs, ms", value=last.decide.p99, at_most=1.0),
        Goal(what=f"{size}, ms", value=batch.ms, at_most=200.0),
        Goal(what="gap of that plan to the bound", value=batch.gap, at_most=0.01),
    ]


if __name__ == "__main__":
    main()
