"""`python -m bench.planner [--quick] [--json] [--seed N]`: how fast the planner decides, and what its policy is worth.

Exits with 1 if a rule accepts more than the bound, for then the comparison itself is broken; a goal that is missed is
printed as missed. `--quick` keeps every part and takes fewer decisions, seeds and arrivals, so its intervals are wide.
"""

from dataclasses import dataclass
from typing import Final

import click

from bench import policy_worth
from bench.decisions import BATCH_GPUS, BATCH_PENDINGS, FLEET_SIZES, kept_mib, print_singles, time_batch, time_decisions
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
    decisions: int
    batches: int
    worth: policy_worth.Effort


FULL: Final = Effort(decisions=2_000, batches=3, worth=policy_worth.FULL)
QUICK: Final = Effort(decisions=300, batches=1, worth=policy_worth.QUICK)


@click.command(help=__doc__)
@flags
def main(*, quick: bool, as_json: bool, seed: int) -> None:
    effort = QUICK if quick else FULL
    if quick:
        click.echo("--quick: few decisions, seeds and arrivals; take the figures of a full run")
    found, goals = _time(effort, seed)
    worth, more = policy_worth.measure(effort.worth, seed)
    print_goals([*goals, *more])
    if as_json:
        print_json({key: value for key, value in (found | worth).items() if key in KEYS})


def _time(effort: Effort, seed: int) -> tuple[dict[str, float], list[Goal]]:
    singles = [time_decisions(KeptPlanner, gpus, effort.decisions, seed) for gpus in FLEET_SIZES]
    print_singles(singles)
    batch = time_batch(plan_all, BATCH_GPUS, BATCH_PENDINGS, seed, runs=effort.batches)
    click.echo(
        f"\n{BATCH_PENDINGS:,} pendings on {BATCH_GPUS:,} GPUs in one call: {batch.ms:.0f} ms, {batch.granted} slices "
        f"granted, {batch.refused} refused, {100 * batch.gap:.2f} % below the proven bound"
    )
    click.echo(f"Kept in memory for {BATCH_GPUS:,} GPUs: {kept_mib(KeptPlanner, BATCH_GPUS, seed):.0f} MiB")
    found = {
        "decision_p99_ms_10000": singles[-1].decide.p99,
        "batch_1000x10000_ms": batch.ms,
        "batch_gap": batch.gap,
    }
    return found, [
        Goal(what="decision p99 at 10,000 GPUs, ms", value=singles[-1].decide.p99, at_most=1.0),
        Goal(what="1,000 pendings x 10,000 GPUs, ms", value=batch.ms, at_most=200.0),
        Goal(what="gap of that plan to the bound", value=batch.gap, at_most=0.01),
    ]


if __name__ == "__main__":
    main()
