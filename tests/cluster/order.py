"""In which order tests are handed to the workers of pytest-xdist. Called by conftest; pure."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

_AT_FIRST: Final = 2  # tests that xdist gives each worker at the beginning; after that one whenever it has done one


def dealt(items: Sequence[T], seconds: Callable[[T], float], *, workers: int) -> list[T]:
    """What is handed out first is dealt so that no long test waits behind another long one: each with a short one."""
    first, rest = items[: _AT_FIRST * workers], items[_AT_FIRST * workers :]
    if len(first) < _AT_FIRST * workers:  # then xdist deals them one by one
        return [*items]
    longest_first = sorted(first, key=seconds, reverse=True)
    long, short = longest_first[:workers], longest_first[workers:][::-1]
    return [*(item for pair in zip(long, short, strict=True) for item in pair), *rest]
