"""What every benchmark's command has in common: its flags, its tables, its goals and its last line."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TypeVar

import click


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """`value` is already the unfavourable end of its interval where it has one."""

    what: str
    value: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def met(self) -> bool:
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    def row(self) -> tuple[str, ...]:
        limit = f">= {self.at_least:g}" if self.at_least is not None else f"<= {self.at_most:g}"
        return self.what, f"{self.value:.4g}", limit, "met" if self.met else "MISSED"


Command = TypeVar("Command", bound=Callable[..., None])


def flags(command: Command) -> Command:
    """`--quick`, `--json` and `--seed`, which every benchmark has."""
    for option in (
        click.option("--seed", default=1, show_default=True, help="What all random numbers follow from."),
        click.option("--json", "as_json", is_flag=True, help="End with one flat JSON object."),
        click.option("--quick", is_flag=True, help="Less than half a minute; wide intervals."),
    ):
        command = option(command)
    return command


def print_goals(goals: Sequence[Goal]) -> None:
    print_table(
        "Goals (value: the unfavourable end of its interval)", ("goal", "value", "limit", ""), *map(Goal.row, goals)
    )


def print_table(title: str, *rows: Sequence[str]) -> None:
    """The first row is the head; the first column is text, the others are figures."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    click.echo(f"\n{title}")
    for at, row in enumerate(rows):
        first, *rest = (
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        click.echo("  " + "  ".join((first, *rest)).rstrip())
        if not at:
            click.echo("  " + "  ".join("-" * width for width in widths))


def print_json(figures: Mapping[str, float]) -> None:
    """The last line of a run with `--json`: one flat object. What could not be estimated is null."""
    click.echo(json.dumps({key: round(value, 6) if isfinite(value) else None for key, value in figures.items()}))
