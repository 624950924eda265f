"""One step of the transformer for rows of any sequences: tokens in, logits out, keys and values into the cache.

Called by `engine`. Everything here is done row by row (see `weights.Linear` and `attention`), so that the answer for a
token depends on the tokens before it and on nothing else, to the last bit: a batch, a chunked prompt and a generation
that is taken up elsewhere say what one alone would have said.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.tiny_llm.attention import Floats, Work, attend, groups
from services.tiny_llm.kv_blocks import BLOCK, KvCache
from services.tiny_llm.weights import Weights


class Model:
    def __init__(self, weights: Weights, blocks: int) -> None:
        self.shape = weights.shape
        self._weights = weights
        self._cache = KvCache.of(weights.shape, blocks)
        half = weights.shape.head_width // 2
        angles = np.arange(weights.shape.context)[:, None] * weights.shape.rope_base ** (-np.arange(half) / half)
        self._cosine, self._sine = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)

    def step(self, work: Sequence[Work]) -> Floats:
        """The logits after the last token of each work."""
        shape = self.shape
        positions = np.concatenate([np.arange(each.start, each.start + len(each.tokens)) for each in work])
        places = _places(work, positions)
        turn = self._cosine[positions, None], self._sine[positions, None]
        parts = groups(work)
        x = self._weights.embedding[[token for each in work for token in each.tokens]]
        rows, scale = len(x), np.float32(shape.head_width**-0.5)
        answers = np.empty((rows, shape.kv_heads, shape.heads // shape.kv_heads, shape.head_width), np.float32)
        for number, layer in enumerate(self._weights.layers):
            heads = layer.qkv(_normed(x, shape.epsilon)).reshape(rows, -1, shape.head_width)
            turned = _turned(heads[:, : -shape.kv_heads], turn)
            self._cache.write(number, places, turned[:, shape.heads :], heads[:, -shape.kv_heads :])
            queries = (turned[:, : shape.heads] * scale).reshape(answers.shape)
            for part in parts:
                answers[part.rows] = attend(queries, self._cache, number, part)
            x = x + layer.o(answers.reshape(rows, -1))
            gate_up = layer.gate_up(_normed(x, shape.epsilon))
            gate, up = gate_up[:, : shape.ffn], gate_up[:, shape.ffn :]
            with np.errstate(over="ignore"):  # what overflows is a gate that is shut
                x = x + layer.down(gate / (1 + np.exp(-gate)) * up)
        last = np.cumsum([len(each.tokens) for each in work]) - 1
        return self._weights.logits(_normed(x[last], shape.epsilon))


def _normed(x: Floats, epsilon: float) -> Floats:
    mean = np.vecdot(x, x) / np.float32(x.shape[1])
    return np.asarray(x / np.sqrt(mean + np.float32(epsilon))[:, None])


def _turned(heads: Floats, turn: tuple[Floats, Floats]) -> Floats:
    """Rotary embedding: the halves of each head are turned against each other."""
    cosine, sine = turn
    half = heads.shape[-1] // 2
    left, right = heads[..., :half], heads[..., half:]
    return np.concatenate((left * cosine - right * sine, right * cosine + left * sine), axis=-1)


def _places(work: Sequence[Work], positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    blocks = [
        each.table[position // BLOCK] for each in work for position in range(each.start, each.start + len(each.tokens))
    ]
    return np.array(blocks), positions % BLOCK
