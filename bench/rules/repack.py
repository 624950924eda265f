"""The bound: accept whatever fits if every running request may be put anywhere, at no cost, at every arrival.

Whether counts (n1, n2, n3, n4, n7) fit on G GPUs is decided exactly, by arithmetic. A GPU is one 7g, or a left half
(units 0-3) beside a right half (units 4-7), and no other slice crosses the middle. A left half holds one 4g, or one
3g, or 1g and 2g up to four units with at most two 2g. A right half holds one 3g, or 1g and 2g up to three units (the
eighth has no compute) with at most one 2g.

1. 7g needs whole GPUs: H = G - n7 >= 0 pairs of halves remain.
2. 4g needs left halves: n4 <= H.
3. 3g takes any half. Whatever a right half holds beside a 3g, a left half holds too, so swapping a 3g on the left with
   what a right half has keeps a packing legal: right halves first loses nothing. n3 <= H + (H - n4).
4. With L left and R right halves remaining, 2g has 2L + R places; n2 <= 2L + R.
5. 1g takes every unit left, wherever the 2g stand: n1 <= 4L + 3R - 2 n2.

Each condition is necessary, and together they build the packing; a test compares them with brute force.

It bounds every rule that loses a request only when it does not fit. It does not bound, by proof, one that turns small
requests away to keep room for big ones; `policy_worth` compares the means and fails if any rule gets above it.
"""

from collections.abc import Iterable, Sequence

from bench.traffic import MENU
from knative_mig.core.geometry import Place


def fits(gpus: int, counts: Sequence[int]) -> bool:
    n1, n2, n3, n4, n7 = counts
    pairs = gpus - n7
    if pairs < 0 or n4 > pairs:
        return False
    on_the_right = min(n3, pairs)
    left, right = pairs - n4 - (n3 - on_the_right), pairs - on_the_right
    return left >= 0 and n2 <= 2 * left + right and n1 <= 4 * left + 3 * right - 2 * n2


class FullRepack:
    """Keeps counts, not places, so it can say what runs but not where."""

    def __init__(self, gpus: int) -> None:
        self._gpus = gpus
        self._counts = [0] * len(MENU)
        self._kinds: dict[int, int] = {}

    def arrive(self, request: int, kind: int) -> int | None:
        self._counts[kind] += 1
        if not fits(self._gpus, self._counts):
            self._counts[kind] -= 1
            return None
        self._kinds[request] = kind
        return 0

    def depart(self, request: int) -> None:
        self._counts[self._kinds.pop(request)] -= 1

    def running(self) -> Iterable[tuple[int, int, Place]]:
        raise NotImplementedError("a full repack has no places")
