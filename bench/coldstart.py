"""`python -m bench.coldstart [--quick] [--json] [--seed N]`: what a request waits for when its slice has to be merged.

On the test cluster of `KUBECONFIG`, or on one that it boots and takes down. Functions at zero are asked in turn: one
that wants no slice, one whose slice is idle, one whose slice has to be merged of idle fragments first. GPUs are
simulated and change at once. Before that and after it, with nothing of ours installed, the same functions that want no
slice. It installs this checkout, and removes it in the end unless it was there. A full run takes about seven minutes.

Exits with 1 where a start was not what it was to be, with 2 where there is no such cluster.
"""

import os
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click

from bench.report import Goal, flags, print_goals, print_json, print_table
from bench.start_cluster import Functions, UnfitError, functions, watched
from bench.start_spans import Kind, Start, by_phase, by_span, figures, quantile
from tests.cluster import system
from tests.cluster.driver import Cluster, attach
from tests.cluster.testbed import cluster as testbed
from tests.cluster.testbed import lifecycle, status
from tests.cluster.testbed.errors import BadInputError, ClusterError
from tests.cluster.testbed.layout import State
from tests.cluster.testbed.progress import Progress

KEYS: Final = (
    "plain_p50_s",
    "idle_slice_p50_s",
    "merge_p50_s",
    "merge_p95_s",
    "merge_over_plain",
    "own_p50_ms",
    "plain_over_uninstalled",
)
FUNCTIONS: Final = 4  # of each kind: as many slices of each profile as the two nodes' GPUs hold beside one another
STARTS: Final = 20  # of each kind
QUICK_STARTS: Final = 5
_INTERLEAVED: Final = (Kind.PLAIN, Kind.IDLE_SLICE, Kind.MERGE)


@click.command(help=__doc__)
@flags
def main(*, quick: bool, as_json: bool, seed: int) -> None:
    if quick:
        click.echo("--quick: few starts; take the figures of a full run")
    try:
        with _cluster() as cluster:
            run = Run(cluster, QUICK_STARTS if quick else STARTS, random.Random(seed))
            run.all()
    except ClusterError as error:
        sys.stderr.write(f"coldstart: {error}\n")
        sys.exit(error.exit_code)
    report(run.starts)
    if as_json:
        found = figures(run.starts)
        print_json({key: found[key] for key in KEYS})
    sys.exit(1 if run.unfit else 0)


@contextmanager
def _cluster() -> Iterator[Cluster]:
    named = os.environ.get("KUBECONFIG")
    if named:
        cluster = attach()
        if Path(named).resolve() != cluster.kubeconfig.resolve():
            raise BadInputError(f"{named} is not the test cluster's: its simulated GPUs have to be read")
        yield cluster
        return
    there = testbed.Ready.read(State.from_environment()) is not None
    click.echo("KUBECONFIG is not set: " + ("the test cluster that is up is used" if there else "a cluster is booted"))
    own = testbed.Cluster()
    try:
        lifecycle.up(own, Progress(), with_eventing=False)
        status.wait_healthy()
        yield attach()
    finally:
        if not there:
            lifecycle.down(own.state, own.cache, Progress())


@dataclass(slots=True)
class Run:
    cluster: Cluster
    each: int  # starts of each kind
    chance: random.Random
    starts: dict[Kind, list[Start]] = field(default_factory=lambda: {kind: [] for kind in Kind})
    unfit: int = 0

    def all(self) -> None:
        was_there = system.is_deployed(self.cluster.testbed)
        system.remove(self.cluster.testbed)
        with functions(self.cluster) as made:
            made.deploy(Kind.PLAIN, FUNCTIONS)
            self._uninstalled(made, self.each // 2)
            system.deployed(self.cluster.testbed)
            for kind in (Kind.IDLE_SLICE, Kind.MERGE):
                made.deploy(kind, FUNCTIONS)
            self._interleaved(made)
            system.remove(self.cluster.testbed)
            made.forget(Kind.IDLE_SLICE, Kind.MERGE)
            self._uninstalled(made, self.each)
        if was_there:
            system.deployed(self.cluster.testbed)

    def _uninstalled(self, made: Functions, until: int) -> None:
        while len(self.starts[Kind.UNINSTALLED]) < until:
            made.rest()
            with watched(made, installed=False):
                for number in range(min(FUNCTIONS, until - len(self.starts[Kind.UNINSTALLED]))):
                    self._start(made, Kind.UNINSTALLED, number)

    def _interleaved(self, made: Functions) -> None:
        rounds = 0
        while any(len(self.starts[kind]) < self.each for kind in _INTERLEAVED):
            rounds += 1
            if rounds > 2 * self.each:
                raise ClusterError(f"{self.unfit} starts were not what they were to be")
            made.rest()
            made.lay_out()
            with watched(made, installed=True):
                for number in range(FUNCTIONS):
                    for kind in self.chance.sample(_INTERLEAVED, len(_INTERLEAVED)):
                        if len(self.starts[kind]) < self.each:
                            self._start(made, kind, number)
                        made.keep_awake(Kind.MERGE)  # at zero again they would leave an idle slice to the next

    def _start(self, made: Functions, kind: Kind, number: int) -> None:
        try:
            start = made.start(kind, made.of[Kind.PLAIN if kind is Kind.UNINSTALLED else kind][number])
        except (UnfitError, AssertionError) as error:
            self.unfit += 1
            click.echo(f"not counted, {kind}: {error}", err=True)
            return
        self.starts[kind].append(start)
        click.echo(f"{kind}: {start.total:.3f} s", err=True)


def report(starts: Mapping[Kind, Sequence[Start]]) -> None:
    found = figures(starts)
    print_table("From the request to the end of each phase, milliseconds: p50 / p95", *by_phase(starts))
    print_table("Spans, milliseconds: p50 / p95", *by_span(starts))

    def longer(share: float) -> float:
        merge, plain = ([each.total for each in starts[kind]] for kind in (Kind.MERGE, Kind.PLAIN))
        return quantile(merge, share) - quantile(plain, share)

    print_goals(
        [
            Goal(what="our own time of a merge, p50, ms", value=found["own_p50_ms"], at_most=150.0),
            Goal(what="merge - plain, p50, s", value=longer(0.5), at_most=0.25),
            Goal(what="merge - plain, p95, s", value=longer(0.95), at_most=1.0),
            Goal(what="merge / plain, p50", value=found["merge_over_plain"], at_most=1.3),
            Goal(what="plain / nothing installed, p50", value=found["plain_over_uninstalled"], at_most=1.1),
        ]
    )


if __name__ == "__main__":
    main()
