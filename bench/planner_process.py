"""`python -m bench.planner_process [--quick] [--json] [--seed N]`: from a change in the cluster to specs written.

The planner process's own loop on mirrors in memory: 1,000 GpuNodes, 8,000 GPUs, 200 pods waiting. Three kinds of round:
200 pods come at once; one comes beside those that still wait; agents, scheduler and ending functions change some
hundred nodes at once. Each of the 24,000 pods has a Revision of its own, the most that there can be. Times are those of
the whole round, the writes being answered at once: what an API server takes is its own. The goals are about processor
time, as in `bench.decisions`: on a core of its own the wall time is the same.
"""

import gc
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click
from prometheus_client import CollectorRegistry

from bench.decisions import Watch
from bench.planner_cluster import BenchCluster, Mirror
from bench.report import Goal, flags, print_goals, print_json, print_table
from knative_mig.core.cluster.objects import PodFacts
from knative_mig.core.floor.values import Request
from knative_mig.core.inventory import Function
from knative_mig.ports.autoscaling import StoredMoves
from knative_mig.ports.kube import Key, LeaseRecord
from knative_mig.ports.relays import HandedOver, PodAt
from reconfigurer.planner import memory
from reconfigurer.planner.announcing import Announcer
from reconfigurer.planner.clocks import Now
from reconfigurer.planner.conditions import Conditions
from reconfigurer.planner.hand_overs import HandOvers
from reconfigurer.planner.leader import Leader
from reconfigurer.planner.loop import Mirrors, Outcome, PlannerLoop
from reconfigurer.planner.metering import Metering
from reconfigurer.planner.metrics import MoverMetrics, PlannerMetrics
from reconfigurer.planner.mover import Mover
from reconfigurer.planner.settings import PlannerSettings
from reconfigurer.planner.telling import Teller

KEYS: Final = ("planner_event_p99_ms", "planner_rss_mb")


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    gpus: int = 8_000
    waiting: int = 200
    rounds: int = 100  # of each kind


FULL: Final = Effort()
QUICK: Final = Effort(rounds=20)


@dataclass(slots=True)
class Timed:
    burst: Watch = field(default_factory=Watch)
    single: Watch = field(default_factory=Watch)
    answers: Watch = field(default_factory=Watch)
    first: Watch = field(default_factory=Watch)
    written: int = 0
    served: int = 0
    changed: int = 0


@click.command(help=__doc__)
@flags
def main(*, quick: bool, as_json: bool, seed: int) -> None:
    if quick:
        click.echo("--quick: few rounds; take the figures of a full run")
    found = run(QUICK if quick else FULL, seed)
    if as_json:
        print_json({key: found[key] for key in KEYS})


def run(effort: Effort, seed: int) -> dict[str, float]:
    timed = _play(effort, seed)
    rss = _peak_mb()
    _print(effort, timed)
    p99 = max(_at(timed.burst.cpu, 0.99), _at(timed.single.cpu, 0.99))
    print_goals(
        [
            Goal(what="event to spec written p99 of both kinds, ms", value=p99, at_most=250.0),
            Goal(what="peak RSS with the cluster in memory, MB", value=rss, at_most=300.0),
        ]
    )
    return {"planner_event_p99_ms": p99, "planner_rss_mb": rss}


def _play(effort: Effort, seed: int) -> Timed:
    cluster = BenchCluster(effort.gpus, seed)
    loop = _loop(cluster)
    timed = Timed()
    with timed.first:
        _round(loop, cluster)
    cluster.answer()
    _round(loop, cluster)
    memory.settle()  # as the process does
    for _ in range(effort.rounds):
        _one_round(cluster, loop, effort.waiting, timed)
    return timed


def _one_round(cluster: BenchCluster, loop: PlannerLoop, waiting: int, timed: Timed) -> None:
    cluster.arrive(max(0, waiting - len(cluster.waiting())))
    with timed.burst:
        _round(loop, cluster)
    timed.written += len(cluster.written)
    cluster.answer()
    bound = cluster.schedule()
    timed.served += bound
    cluster.end_some(bound)
    with timed.answers:
        _round(loop, cluster)
    cluster.answer()
    _round(loop, cluster)
    cluster.arrive(1)
    with timed.single:
        _round(loop, cluster)
    cluster.answer()
    bound = cluster.schedule()
    cluster.end_some(bound)
    _round(loop, cluster)
    cluster.pass_time(1.0)


def _round(loop: PlannerLoop, cluster: BenchCluster) -> None:
    loop.wake()
    outcome = loop.step(Now(monotonic=cluster.now, wall=cluster.now))
    assert outcome is Outcome.PLANNED, outcome


class _Leases:
    """Nobody else wants to lead."""

    def read(self, key: Key) -> LeaseRecord | None:  # noqa: ARG002 - the port's
        return None

    def write(self, key: Key, record: LeaseRecord) -> LeaseRecord:  # noqa: ARG002 - the port's
        return record


class _NoKnative:
    """Nothing is moved."""

    def load(self) -> StoredMoves:
        return StoredMoves()

    def save(self, moves: StoredMoves) -> StoredMoves:
        return moves

    def put(self, requests: Iterable[Request]) -> None: ...

    def read_of(self, function: Function) -> list[PodFacts]:
        raise NotImplementedError

    def set_deletion_cost(self, key: Key, *, uid: str, cost: int | None) -> None:
        raise NotImplementedError

    def evict(self, key: Key, *, uid: str) -> None:
        raise NotImplementedError

    def hand_over(self, leaving: PodAt, to: PodAt, *, is_wanted: Callable[[], bool]) -> HandedOver:
        raise NotImplementedError


def _loop(cluster: BenchCluster) -> PlannerLoop:
    settings = PlannerSettings()
    metrics = PlannerMetrics(CollectorRegistry())
    clock: Callable[[], Now] = lambda: Now(monotonic=time.monotonic(), wall=cluster.now)  # noqa: E731
    leader = Leader(
        _Leases(),
        Key("knative-mig", "knative-mig-planner"),
        "bench",
        settings.lease,
        clock=lambda: 0.0,
        wall=lambda: cluster.now,
        highest=lambda: 0,
        changed=lambda: None,
    )
    leader.step()
    mirrors = Mirrors(
        gpu_nodes=cluster.gpu_nodes,
        pods=cluster.pods,
        nodes=cluster.nodes,
        quotas=cluster.quotas,
        heartbeats=cluster.heartbeats,
    )
    cluster.pass_time(0.0)
    nothing = _NoKnative()
    mover = Mover(
        store=nothing,
        requests=nothing,
        requested=Mirror(),
        pods=nothing,
        revisions=cluster.revisions,
        records=dict,
        leader=leader,
        hand_overs=HandOvers(nothing, wake=lambda: None),
        events=cluster,
        metrics=MoverMetrics(CollectorRegistry()),
        settings=settings.mover,
        mirror_age_limit_s=settings.mirror_age_limit_s,
    )
    return PlannerLoop(
        mirrors=mirrors,
        gpu_nodes=cluster,
        pods=cluster,
        leader=leader,
        # Conditions are written on another thread.
        teller=Teller(cluster, Conditions(lambda *_: None, settings.tell_again_s), metrics, settings.tell_again_s),
        metering=Metering(cluster, metrics, settings.store_meters_s, later=lambda _: None),  # on another thread
        mover=mover,
        announcer=Announcer(revisions=cluster.revisions, events=cluster, metrics=metrics),
        metrics=metrics,
        settings=settings,
        clock=clock,
    )


def _print(effort: Effort, timed: Timed) -> None:
    rows = [
        (
            name,
            *(f"{_at(watch.cpu, share):.0f}" for share in (0.5, 0.99)),
            *(f"{_at(watch.wall, share):.0f}" for share in (0.5, 0.99, 1.0)),
        )
        for name, watch in (
            (f"{effort.waiting} pods come at once", timed.burst),
            ("one comes beside them", timed.single),
            ("agents and scheduler have answered", timed.answers),
        )
    ]
    print_table(
        f"One round on {effort.gpus:,} GPUs, {effort.gpus // 8:,} nodes, milliseconds",
        ("what woke it", "cpu p50", "p99", "wall p50", "p99", "max"),
        *rows,
    )
    click.echo(
        f"\n{effort.rounds} rounds of each kind; {timed.written / effort.rounds:.0f} specs written after a burst, "
        f"{timed.served / effort.rounds:.0f} pods served; the first round of all, which stamps and reads every node: "
        f"{_at(timed.first.wall, 1.0):.0f} ms"
    )


def _at(nanoseconds: list[int], share: float) -> float:
    ordered = sorted(nanoseconds)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1e6


def _peak_mb() -> float:
    gc.collect()
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = [each for each in status.splitlines() if each.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
