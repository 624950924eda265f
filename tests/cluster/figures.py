"""What tests measured, printed at the end of a run. Figures are for reading: no test fails because one is high."""

import statistics
from collections.abc import Callable, Sequence
from typing import Final

import pytest

_KEY: Final = "figure"
_TIMELINE: Final = "timeline"

Measured = Callable[[str, float | Sequence[float], str], None]
Record = Callable[[str, object], None]  # pytest's record_property


def recorder(record: Record) -> Measured:
    """What the `measured` fixture gives: `measured("placed after", [0.05, 0.06], "s")`."""

    def measured(what: str, values: float | Sequence[float], unit: str = "s") -> None:
        record(_KEY, f"{what}: {told(values, unit)}")

    return measured


def timelines(record: Record) -> Callable[[str], None]:
    """What takes a line that tells a start by phase."""
    return lambda line: record(_TIMELINE, line)


def told(values: float | Sequence[float], unit: str) -> str:
    if isinstance(values, float | int):
        return f"{values:.3g} {unit}"
    if len(values) == 1:
        return told(values[0], unit)
    middle, least, most = statistics.median(values), min(values), max(values)
    return f"{middle:.3g} {unit} ({least:.3g}-{most:.3g}, {len(values)} times)"


def print_all(terminal: pytest.TerminalReporter) -> None:
    _print_lines(terminal, "measured", _KEY)
    _print_lines(terminal, "starts by phase", _TIMELINE)
    _print_seconds(terminal)


def _print_lines(terminal: pytest.TerminalReporter, title: str, wanted: str) -> None:
    lines = [
        (report.nodeid.rpartition("::")[2], str(value))
        for reports in terminal.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for key, value in report.user_properties
        if key == wanted
    ]
    if lines:
        terminal.section(title)
    for test, line in lines:
        terminal.line(f"{line}  [{test}]")


def _print_seconds(terminal: pytest.TerminalReporter) -> None:
    """Which file takes how long, as the time of the whole is shared by several parts of the project."""
    seconds: dict[str, float] = {}
    for reports in terminal.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                file = report.nodeid.partition("::")[0].rpartition("/")[2]
                seconds[file] = seconds.get(file, 0) + report.duration
    terminal.section("seconds of tests by file, several at a time")
    terminal.line(", ".join(f"{file} {took:.0f}" for file, took in sorted(seconds.items(), key=lambda kv: -kv[1])))
