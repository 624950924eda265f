"""What a placement policy is worth: the same arrivals played against ours, against other projects' rules, and a bound.

Run by `python -m bench.planner`, or alone as `python -m bench.policy_worth`. A figure is the fraction of requested
compute slots that was accepted. The subtle thing is the best of the others: it is the rule with the best mean at that
load, chosen anew for each figure, so it is the strongest opponent each time and not one picked beforehand.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from operator import attrgetter, sub
from statistics import fmean
from typing import Final

import click
import numpy as np

from bench import ours
from bench.intervals import Interval, interval, ratio
from bench.loss import Outcome, Rule, play
from bench.report import Goal, flags, print_goals, print_json, print_table
from bench.rules import first_fit, hami, nos, repack
from bench.traffic import MIXES, MODEL, Setting, make_traffic

MakeRule = Callable[[int], Rule]

OTHERS: Final[Mapping[str, MakeRule]] = {
    "InstaSlice: first fit, lowest start": first_fit.instaslice,
    "DRA driver: first device": first_fit.dra_driver,
    "NVML's default placement": first_fit.nvml_default,
    "HAMi: 1g and 3g high, binpack": hami.hami,
    "HAMi: largest free run, binpack": hami.hami_free_run,
    "nos: delete free, permute": nos.Nos,
}
OURS: Final = "ours"
STILL: Final = "ours without moves"
BOUND: Final = "full repack (bound)"
UNRESERVED: Final = "ours without reserve"
KEEPING: Final = "ours, idle slices stay"
RULES: Final[Mapping[str, MakeRule]] = {
    **OTHERS,
    STILL: ours.without_moves,
    UNRESERVED: ours.without_reserve,
    KEEPING: ours.keeping_idle,
    OURS: ours.Ours,
    BOUND: repack.FullRepack,
}

LOADS: Final = (0.8, 1.0)
STANDARD: Final = "standard"
WORKERS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    seeds: int
    arrivals: int
    other_arrivals: int  # in the two other mixes, which carry no goal
    warm_up: int
    workers: int = WORKERS

    def settings(self) -> list[Setting]:
        """The standard mix first, then the two that show what it hides: much bigger and much smaller functions."""
        return [
            Setting(
                mix=mix,
                load=load,
                arrivals=self.arrivals if mix == STANDARD else self.other_arrivals,
                warm_up=self.warm_up,
            )
            for mix in MIXES
            for load in LOADS
        ]


FULL: Final = Effort(seeds=10, arrivals=25_000, other_arrivals=10_000, warm_up=1_000)
QUICK: Final = Effort(seeds=4, arrivals=3_000, other_arrivals=1_500, warm_up=500)

Measure = Callable[[Outcome], float]
SLOTS: Final[Measure] = attrgetter("slots")
WHOLE_GPUS: Final[Measure] = attrgetter("whole_gpus")
REQUESTS: Final[Measure] = attrgetter("requests")
MOVES: Final[Measure] = attrgetter("moves_per_accept")


class BoundBeaten(Exception):
    """A rule accepted more than the full repack: one of the two is wrong."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """All rules in one setting; outcomes in the order of the seeds."""

    setting: Setting
    outcomes: Mapping[str, tuple[Outcome, ...]]

    def mean(self, rule: str, measure: Measure) -> float:
        return fmean(self.values(rule, measure))

    def spread(self, rule: str, measure: Measure) -> Interval:
        return interval(self.values(rule, measure))

    def best_of_others(self, measure: Measure) -> str:
        return max(OTHERS, key=lambda rule: self.mean(rule, measure))

    def values(self, rule: str, measure: Measure) -> list[float]:
        return [measure(outcome) for outcome in self.outcomes[rule]]

    def gap_closed(self, rule: str) -> Interval:
        """Of the accepted slots between the best of the others and the bound, the part that the rule adds."""
        mine, bound = self.values(rule, SLOTS), self.values(BOUND, SLOTS)
        theirs = self.values(self.best_of_others(SLOTS), SLOTS)
        return ratio(list(map(sub, mine, theirs)), list(map(sub, bound, theirs)))

    def whole_gpu_ratio(self, rule: str) -> Interval:
        theirs = self.values(self.best_of_others(WHOLE_GPUS), WHOLE_GPUS)
        return ratio(self.values(rule, WHOLE_GPUS), theirs)

    def check_bound(self) -> None:
        """By the mean over the seeds. On one seed a rule may pass the bound by luck: the repack takes whatever fits,
        and what it could not take in one minute another rule, having lost something else, perhaps could.
        """
        for rule in self.outcomes:
            if self.mean(rule, SLOTS) > self.mean(BOUND, SLOTS):
                raise BoundBeaten(
                    f"{rule} accepts {self.mean(rule, SLOTS):.4f} of the slots, the full repack "
                    f"{self.mean(BOUND, SLOTS):.4f} (mix {self.setting.mix}, load {self.setting.load:g})"
                )


def measure(effort: Effort, seed: int) -> tuple[dict[str, float], list[Goal]]:
    """Plays everything, prints it, and ends the process if the bound is beaten."""
    try:
        comparisons = compare(effort.settings(), RULES, seeds_from(seed, effort.seeds), workers=effort.workers)
    except BoundBeaten as beaten:
        raise click.ClickException(str(beaten)) from None
    for comparison in comparisons:
        print_comparison(comparison)
    found = figures(comparisons)
    return found, goals(found)


def compare(
    settings: Sequence[Setting], rules: Mapping[str, MakeRule], each_seed: Sequence[int], *, workers: int = WORKERS
) -> list[Comparison]:
    """Every rule in every setting on every seed; raises BoundBeaten."""
    jobs = [(rules[rule], setting, seed) for setting in settings for rule in rules for seed in each_seed]
    played: Iterator[Outcome]
    if workers == 1:
        played = map(_play, jobs)
    else:
        # Spawned, not forked: numpy has threads of its own by now.
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            played = iter(list(pool.map(_play, jobs)))
    comparisons = [
        Comparison(setting, {rule: tuple(next(played) for _ in each_seed) for rule in rules}) for setting in settings
    ]
    for comparison in comparisons:
        comparison.check_bound()
    return comparisons


def _play(job: tuple[MakeRule, Setting, int]) -> Outcome:
    make_rule, setting, seed = job
    return play(make_rule(setting.gpus), make_traffic(setting, seed))


def seeds_from(seed: int, count: int) -> list[int]:
    return [int(value) for value in np.random.SeedSequence(seed).generate_state(count)]


def print_comparison(comparison: Comparison) -> None:
    setting, counted = comparison.setting, comparison.setting.arrivals - comparison.setting.warm_up
    title = (
        f"Mix {setting.mix} ({'/'.join(map(str, MIXES[setting.mix]))} % of 1g/2g/3g/4g/7g), load {setting.load:g}: "
        f"{setting.gpus} {MODEL}, {counted} arrivals, {len(comparison.outcomes[BOUND])} seeds"
    )
    rows = [
        (
            rule,
            str(comparison.spread(rule, SLOTS)),
            str(comparison.spread(rule, WHOLE_GPUS)),
            f"{comparison.mean(rule, REQUESTS):.3f}",
            f"{comparison.mean(rule, MOVES):.3f}",
            "" if rule not in (OURS, STILL, UNRESERVED, KEEPING) else str(comparison.gap_closed(rule)),
        )
        for rule in comparison.outcomes
    ]
    print_table(title, ("accepted", "slots", "7g", "requests", "moves/accept", "gap closed"), *rows)


def figures(comparisons: Sequence[Comparison]) -> dict[str, float]:
    """The unfavourable ends of the standard mix's intervals."""
    at = {c.setting.load: c for c in comparisons if c.setting.mix == STANDARD}
    return {
        "gap_closed_0_8": at[0.8].gap_closed(OURS).low,
        "gap_closed_1_0": at[1.0].gap_closed(OURS).low,
        "accept_7g_ratio_1_0": at[1.0].whole_gpu_ratio(OURS).low,
        "moves_per_accept_0_8": at[0.8].spread(OURS, MOVES).high,
        "moves_per_accept_1_0": at[1.0].spread(OURS, MOVES).high,
    }


def goals(found: Mapping[str, float]) -> list[Goal]:
    return [
        Goal(what="gap closed at load 0.8", value=found["gap_closed_0_8"], at_least=0.80),
        Goal(what="gap closed at load 1.0", value=found["gap_closed_1_0"], at_least=0.55),
        Goal(what="7g acceptance, ratio to the best other, load 1.0", value=found["accept_7g_ratio_1_0"], at_least=1.5),
        Goal(what="moves per accept at load 0.8", value=found["moves_per_accept_0_8"], at_most=0.05),
        Goal(what="moves per accept at load 1.0", value=found["moves_per_accept_1_0"], at_most=0.12),
    ]


@click.command(help=__doc__)
@flags
def main(*, quick: bool, as_json: bool, seed: int) -> None:
    found, to_meet = measure(QUICK if quick else FULL, seed)
    print_goals(to_meet)
    if as_json:
        print_json(found)


if __name__ == "__main__":
    main()
