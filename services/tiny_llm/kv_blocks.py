"""The keys and values of all sequences, in blocks that are handed out and taken back.

The scheduler allocates, the model reads and writes. A block holds the same number of tokens for each layer; a sequence
has a table of its blocks, in the order of its tokens. A block is handed out as its last user left it: attention looks
at nothing that was not written since, and multiplies the rest by zero.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from services.tiny_llm.shape import Shape

BLOCK: Final = 32  # tokens


def blocks_for(tokens: int) -> int:
    return -(-tokens // BLOCK)


class Blocks:
    """Which of them are free. Some of these are kept for who goes on from what they hold, until others want them."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = list(range(count - 1, -1, -1))
        self._kept: dict[tuple[int, ...], list[int]] = {}  # by the tokens that they hold; the oldest first

    @property
    def free(self) -> int:
        return len(self._free) + sum(map(len, self._kept.values()))

    @property
    def used(self) -> int:
        return self.count - self.free

    def take(self, count: int) -> list[int] | None:
        """All of them or, where there are not so many, none."""
        if count > self.free:
            return None
        while count > len(self._free):
            self._free.extend(self._kept.pop(next(iter(self._kept))))
        return [self._free.pop() for _ in range(count)]

    def give_back(self, blocks: Iterable[int]) -> None:
        self._free.extend(blocks)

    def keep(self, tokens: Sequence[int], blocks: list[int]) -> None:
        """Given back too, with the keys and values of these tokens in them."""
        self._free.extend(self._kept.pop(tuple(tokens), ()))
        self._kept[tuple(tokens)] = blocks

    def take_kept(self, tokens: Sequence[int]) -> tuple[int, list[int]]:
        """Of the longest kept beginning of these tokens: how many it has, and its blocks."""
        kept = max((each for each in self._kept if each == tuple(tokens[: len(each)])), key=len, default=())
        return len(kept), self._kept.pop(kept, [])


@dataclass(frozen=True, slots=True, kw_only=True)
class KvCache:
    keys: NDArray[np.float32]  # layer, block, head, width of a head, token: as they are multiplied
    values: NDArray[np.float32]  # layer, block, head, token, width of a head and a one

    @classmethod
    def of(cls, shape: Shape, blocks: int) -> Self:
        """Memory is touched as blocks are, for the most part."""
        stack = (shape.layers, blocks, shape.kv_heads)
        return cls(
            keys=np.zeros((*stack, shape.head_width, BLOCK), np.float32),
            values=np.zeros((*stack, BLOCK, shape.head_width + 1), np.float32),
        )

    def write(
        self, layer: int, places: tuple[NDArray[np.int64], NDArray[np.int64]], k: NDArray[np.float32],
        v: NDArray[np.float32],
    ) -> None:  # fmt: skip
        """Rows of heads, each into its (block, place in it)."""
        blocks, slots = places
        self.keys[layer][blocks, :, :, slots] = k
        self.values[layer][blocks, :, slots, :-1] = v
        self.values[layer][blocks, :, slots, -1] = 1
