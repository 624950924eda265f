"""Where two tellings of a series differ: nowhere, if our autoscaler is Knative's.

Called by `campaign` and by the test of what was recorded. All must be equal, averages but for their last bits: weights
come of an exponential that Go computes with whatever the processor has. Averages without weights have six digits, so
that whatever differs in them is far more than that.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isclose
from typing import Any, Final

_AVERAGES: Final = ("stable", "panic")
_LAST_BITS: Final = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    step: int
    what: str
    ours: Any
    theirs: Any

    def __str__(self) -> str:
        return f"step {self.step}: {self.what} is {self.ours!r}, Knative's is {self.theirs!r}"


def differences(ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]]) -> Iterator[Difference]:
    if len(ours) != len(theirs):
        yield Difference(
            step=min(len(ours), len(theirs)), what="the number of steps", ours=len(ours), theirs=len(theirs)
        )
    for step, (one, other) in enumerate(zip(ours, theirs, strict=False)):
        if one != other:
            for what, mine, its in _inside(one, other, ""):
                yield Difference(step=step, what=what, ours=mine, theirs=its)


def _inside(one: Any, other: Any, where: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            yield from _inside(one.get(key), other.get(key), f"{where} {key}".strip())
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for at, (mine, its) in enumerate(zip(one, other, strict=True)):
            yield from _inside(mine, its, f"{where}[{at}]")
    elif one != other and not (where.endswith(_AVERAGES) and isclose(one, other, rel_tol=_LAST_BITS)):
        yield where, one, other
