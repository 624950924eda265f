"""`python -m bench.reconfigure [--quick] [--json] [--seed N]`: from a written spec to slices that the scheduler sees.

Two halves. The node's: the whole agent on eight simulated GPUs, with a kubelet and an API server over real sockets,
once with a driver that answers at once and once with one that takes 200 ms a call. The planner's is
`bench.planner_process`, in a process of its own, as its memory is a figure too.
"""

import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click

from bench.one_node import PHASES, Change, Layout, OneNode
from bench.report import Goal, flags, print_goals, print_json, print_table

KEYS: Final = ("own_p99_ms", "planner_event_p99_ms", "planner_rss_mb")
GPUS: Final = 8
OWN_AT_MOST_MS: Final = 150.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How many changes of one GPU, of each kind, and of all GPUs, for each latency of the driver in seconds."""

    single: Mapping[float, int]
    at_once: Mapping[float, int]
    gpus: int = GPUS


FULL: Final = Effort(single={0.0: 100, 0.2: 10}, at_once={0.0: 15, 0.2: 4})
QUICK: Final = Effort(single={0.0: 12, 0.2: 2}, at_once={0.0: 3, 0.2: 1})


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    name: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    at_once: bool = False  # on all GPUs


KINDS: Final = (
    Kind(name="one slice made", before=("1g.5gb@0",), after=("1g.5gb@0", "3g.20gb@4")),
    Kind(name="two idle slices merged", before=("1g.5gb@0", "1g.5gb@1"), after=("3g.20gb@0",)),
    Kind(name="merged on all GPUs at once", before=("1g.5gb@0", "1g.5gb@1"), after=("3g.20gb@0",), at_once=True),
)


@click.command(help=__doc__)
@flags
def main(*, quick: bool, as_json: bool, seed: int) -> None:
    if quick:
        click.echo("--quick: few changes; take the figures of a full run")
    own_p99_ms = run(QUICK if quick else FULL, seed)
    figures = {"own_p99_ms": own_p99_ms, **planner_half(quick=quick, seed=seed)}
    if as_json:
        print_json({key: figures[key] for key in KEYS})


def run(effort: Effort, seed: int) -> float:
    """Of the changes of one GPU, whatever the driver took, the own share's p99 in ms."""
    single: list[float] = []
    at_once: list[float] = []
    for latency_s in effort.single:
        measured = {kind.name: _measure(kind, effort, latency_s, seed) for kind in KINDS}
        _print(measured, latency_s)
        for kind in KINDS:
            (at_once if kind.at_once else single).extend(each.own_s for each in measured[kind.name])
    own_p99_ms = _at(single, 0.99)
    print_goals(
        [
            Goal(what="own share p99, one GPU changed, ms", value=own_p99_ms, at_most=OWN_AT_MOST_MS),
            Goal(what="own share p99, all GPUs changed at once, ms", value=_at(at_once, 0.99), at_most=OWN_AT_MOST_MS),
        ]
    )
    return own_p99_ms


def planner_half(*, quick: bool, seed: int) -> dict[str, float]:
    """Its tables go to the output; its last line is the figures."""
    command = [sys.executable, "-m", "bench.planner_process", "--json", "--seed", str(seed), *(["--quick"] * quick)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    *shown, last = done.stdout.splitlines()
    click.echo("\n".join(shown))
    figures: dict[str, float] = json.loads(last)
    return figures


def _measure(kind: Kind, effort: Effort, latency_s: float, seed: int) -> list[Change]:
    """A node for each kind: what the one before left behind is not in the figures."""
    with TemporaryDirectory(prefix="bench-") as folder, _node(folder, effort, latency_s) as node:
        node.change(dict.fromkeys(range(effort.gpus), kind.before))
        changes: list[Change] = []
        count = (effort.at_once if kind.at_once else effort.single)[latency_s]
        for after, back in _layouts(kind, effort.gpus, count, random.Random(seed)):
            changes.append(node.change(after))
            node.change(back)
        return changes


def _node(folder: str, effort: Effort, latency_s: float) -> OneNode:
    return OneNode(Path(folder), gpus=effort.gpus, latency_s=latency_s)


def _layouts(kind: Kind, gpus: int, count: int, chance: random.Random) -> Iterator[tuple[Layout, Layout]]:
    for _ in range(count):
        changed = range(gpus) if kind.at_once else [chance.randrange(gpus)]
        yield dict.fromkeys(changed, kind.after), dict.fromkeys(changed, kind.before)


def _print(measured: Mapping[str, Sequence[Change]], latency_s: float) -> None:
    parts: list[tuple[str, Callable[[Change], float]]] = [
        (phase, lambda change, number=number: change.phases_s[number])  # type: ignore[misc]
        for number, phase in enumerate(PHASES)
    ]
    parts += [("total", lambda change: change.total_s), ("our own share", lambda change: change.own_s)]
    rows = [(name, *(_two([part(each) for each in changes]) for changes in measured.values())) for name, part in parts]
    print_table(
        f"Spec stored to allocatable stored, driver {latency_s * 1000:.0f} ms a call, milliseconds: p50 / p99",
        ("phase", *(f"{name} ({len(changes)})" for name, changes in measured.items())),
        *rows,
    )


def _two(seconds: Sequence[float]) -> str:
    return f"{1000 * _quantile(seconds, 0.5):.1f} / {_at(seconds, 0.99):.1f}"


def _at(seconds: Sequence[float], share: float) -> float:
    """In milliseconds."""
    return 1000 * _quantile(seconds, share)


def _quantile(seconds: Sequence[float], share: float) -> float:
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


if __name__ == "__main__":
    main()
