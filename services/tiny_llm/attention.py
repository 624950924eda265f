"""Attention of single rows to what their sequences have in the cache, with sums that always round the same way.

Called by `model`, once a layer. How far back a row looks differs from row to row, and a BLAS sums in another order for
every length; so the products are taken block by block, each call of one size, and the blocks are added up in the order
of the text. What lies behind a row's end weighs exactly zero, and adding zero changes nothing. Hence a token's result
is the same to the last bit, alone or in a batch, cached or computed anew, in whichever chunks its prompt was read.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from services.tiny_llm.kv_blocks import BLOCK, KvCache, blocks_for

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Consecutive tokens of one sequence, for one step."""

    tokens: tuple[int, ...]
    start: int  # the first one's position
    table: tuple[int, ...]  # the sequence's blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rows that are looked at together: a chunk of a prompt, or single tokens that look about as far back."""

    rows: NDArray[np.int64]
    tables: NDArray[np.int64]  # row (or one for all of them), block
    bias: Floats  # row, block, 1, 1, token: -inf for what comes after the row

    @classmethod
    def of(cls, rows: NDArray[np.int64], tables: NDArray[np.int64], positions: NDArray[np.int64]) -> Self:
        places = np.arange(tables.shape[1] * BLOCK).reshape(1, -1, 1, 1, BLOCK)
        bias = np.where(places > positions[:, None, None, None, None], -np.inf, 0).astype(np.float32)
        return cls(rows=rows, tables=tables, bias=bias)


def groups(work: Iterable[Work]) -> tuple[Group, ...]:
    """Of rows in the order of the work."""
    found, single, row = [], dict[int, list[tuple[int, Work]]](), 0
    for each in work:
        count = len(each.tokens)
        needed = blocks_for(each.start + count)
        if count == 1:
            single.setdefault(1 << (needed - 1).bit_length(), []).append((row, each))
        else:
            positions = np.arange(each.start, each.start + count)
            found.append(Group.of(np.arange(row, row + count), np.array([each.table[:needed]]), positions))
        row += count
    for blocks, members in single.items():
        # What a table has less than the longest may be any block: it is not looked at.
        tables = np.zeros((len(members), blocks), np.int64)
        for index, (_, each) in enumerate(members):
            used = each.table[: blocks_for(each.start + 1)]
            tables[index, : len(used)] = used
        positions = np.array([each.start for _, each in members])
        found.append(Group.of(np.array([row for row, _ in members]), tables, positions))
    return tuple(found)


def attend(queries: Floats, cache: KvCache, layer: int, group: Group) -> Floats:
    """Queries: row, kv head, head, width, scaled; the answer has the same shape."""
    q = queries[group.rows][:, None]
    scores = q @ cache.keys[layer][group.tables]
    scores += group.bias
    scores -= scores.max(axis=(1, 4), keepdims=True)
    np.exp(scores, out=scores)
    parts = scores @ cache.values[layer][group.tables]
    total = parts[:, 0]
    for block in range(1, parts.shape[1]):
        total += parts[:, block]
    return np.asarray(total[..., :-1] / total[..., -1:])
