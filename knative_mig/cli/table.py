"""Columns for people: as wide as their longest cell, numbers to the right."""

from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str | int]]) -> str:
    """A column whose cells are all numbers is set to the right, any other to the left."""
    columns = list(zip(header, *rows, strict=True))
    widths = [max(len(str(cell)) for cell in column) for column in columns]
    numbers = [bool(rows) and all(isinstance(cell, int) for cell in column[1:]) for column in columns]
    lines = [
        "  ".join(
            str(cell).rjust(width) if number else str(cell).ljust(width)
            for cell, width, number in zip(row, widths, numbers, strict=True)
        ).rstrip()
        for row in (header, *rows)
    ]
    return "\n".join(lines)
