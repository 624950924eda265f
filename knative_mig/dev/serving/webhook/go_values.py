"""Reads numbers and durations of a setting as Go does, and says in Go's words what is wrong with one.

Called by `config_checks`. Whoever writes `15` where a duration belongs is told of the unit that is missing.
"""

import re
from typing import Final

from knative_mig.core.durations import seconds

MOST: Final = 2**63 - 1
_PART_OF_DURATION: Final = re.compile(r"(?:\d+\.?\d*|\.\d+)([^.\d]*)")
_UNITS: Final = ("h", "m", "s", "ms", "us", "µs", "μs", "ns")


def whole(text: str, *, is_signed: bool = True) -> int:
    """ValueError: as Go says what is wrong with it."""
    reader, sign = ("ParseInt", "[+-]?") if is_signed else ("ParseUint", "")
    if not re.fullmatch(f"{sign}[0-9]+", text):
        raise ValueError(f'strconv.{reader}: parsing "{text}": invalid syntax')
    lowest, highest = (-MOST - 1, MOST) if is_signed else (0, 2 * MOST + 1)
    if not lowest <= (found := int(text)) <= highest:
        raise ValueError(f'strconv.{reader}: parsing "{text}": value out of range')
    return found


def duration_s(text: str) -> float:
    """ValueError: as Go says what is wrong with it."""
    unsigned = text[1:] if text[:1] in ("-", "+") else text
    try:
        return -seconds(unsigned) if text.startswith("-") else seconds(unsigned)
    except ValueError:
        raise ValueError(_wrong_duration(text, unsigned)) from None


def _wrong_duration(text: str, unsigned: str) -> str:
    at = 0
    while part := _PART_OF_DURATION.match(unsigned, at):
        if not part[1]:
            return f'time: missing unit in duration "{text}"'
        if part[1] not in _UNITS:
            return f'time: unknown unit "{part[1]}" in duration "{text}"'
        at = part.end()
    return f'time: invalid duration "{text}"'
