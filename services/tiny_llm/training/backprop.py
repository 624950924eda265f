"""The transformer once more, with its gradient: forward through whole sequences, and back by hand.

Called by `training.__main__`; a test holds the gradient against differences, and the values against the server's model,
which computes the same with a cache. Everything is plain numpy, in whatever precision the parameters have.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.tiny_llm.shape import EMBEDDING, LAST_NORM, Shape, of_layer

Array = NDArray[Any]
Parameters = dict[str, Array]
_MASKED: Final = -1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """What the way back needs of a layer's way forward."""

    x: Array
    normed: Array
    rms: Array
    q: Array
    k: Array
    v: Array
    attention: Array
    mixed: Array
    middle: Array
    normed2: Array
    rms2: Array
    gate: Array
    sigmoid: Array
    up: Array


def loss_and_gradient(
    shape: Shape, parameters: Mapping[str, Array], tokens: NDArray[np.int64], positions: NDArray[np.int64]
) -> tuple[float, Parameters]:
    """The mean surprise in nats at each token but the first of each sequence, of which each has its position."""
    turn = rotations(shape, positions[:, :-1], parameters[EMBEDDING].dtype)
    x, kept = _forward(shape, parameters, tokens[:, :-1], turn)
    normed, rms = _norm(x, parameters[LAST_NORM], shape.epsilon)
    logits = normed @ parameters[EMBEDDING].T
    logits -= logits.max(axis=-1, keepdims=True)
    chances = np.exp(logits)
    chances /= chances.sum(axis=-1, keepdims=True)
    rows, columns = np.indices(tokens[:, 1:].shape)
    right = (rows, columns, tokens[:, 1:])
    loss = float(-np.log(np.maximum(chances[right], 1e-30)).mean())
    chances[right] -= 1
    chances /= tokens[:, 1:].size
    gradient: Parameters = {EMBEDDING: _weights(chances, normed)}
    back, gradient[LAST_NORM] = _norm_back(chances @ parameters[EMBEDDING], x, rms, parameters[LAST_NORM])
    for layer in reversed(range(shape.layers)):
        back = _layer_back(shape, parameters, layer, back, kept=kept[layer], turn=turn, gradient=gradient)
    np.add.at(gradient[EMBEDDING], tokens[:, :-1], back)
    return loss, gradient


def logits_of(shape: Shape, parameters: Mapping[str, Array], tokens: NDArray[np.int64]) -> Array:
    positions = np.broadcast_to(np.arange(tokens.shape[1]), tokens.shape)
    x, _ = _forward(shape, parameters, tokens, rotations(shape, positions, parameters[EMBEDDING].dtype))
    return np.asarray(_norm(x, parameters[LAST_NORM], shape.epsilon)[0] @ parameters[EMBEDDING].T)


def rotations(shape: Shape, positions: NDArray[np.int64], dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Cosine and sine of each position's angles, by which rotary embeddings turn the two halves of a head."""
    half = shape.head_width // 2
    angles = positions[..., None] * shape.rope_base ** (-np.arange(half) / half)
    return np.cos(angles).astype(dtype), np.sin(angles).astype(dtype)


# -- forward -----------------------------------------------------------------------------------------------------------


def _forward(
    shape: Shape, parameters: Mapping[str, Array], tokens: NDArray[np.int64], turn: tuple[Array, Array]
) -> tuple[Array, list[_Kept]]:
    x = parameters[EMBEDDING][tokens]
    kept = []
    for layer in range(shape.layers):
        x, of_this = _layer(shape, parameters, layer, x, turn)
        kept.append(of_this)
    return x, kept


def _layer(
    shape: Shape, parameters: Mapping[str, Array], layer: int, x: Array, turn: tuple[Array, Array]
) -> tuple[Array, _Kept]:
    def through(name: str, into: Array) -> Array:
        return np.asarray(into @ parameters[of_layer(layer, name)].T)

    length = x.shape[1]
    normed, rms = _norm(x, parameters[of_layer(layer, "input_layernorm")], shape.epsilon)
    q = _turned(_heads(through("self_attn.q_proj", normed), shape.heads), turn)
    k = _turned(_heads(through("self_attn.k_proj", normed), shape.kv_heads), turn)
    v = _heads(through("self_attn.v_proj", normed), shape.kv_heads)
    scores = _grouped(q, shape.kv_heads) @ k[:, :, None].swapaxes(-1, -2)
    scores *= np.asarray(shape.head_width**-0.5, scores.dtype)
    scores += np.triu(np.full((length, length), _MASKED, scores.dtype), 1)
    scores -= scores.max(axis=-1, keepdims=True)
    attention = np.exp(scores, out=scores)
    attention /= attention.sum(axis=-1, keepdims=True)
    mixed = _joined((attention @ v[:, :, None]).reshape(q.shape))
    middle = x + through("self_attn.o_proj", mixed)
    normed2, rms2 = _norm(middle, parameters[of_layer(layer, "post_attention_layernorm")], shape.epsilon)
    gate, up = through("mlp.gate_proj", normed2), through("mlp.up_proj", normed2)
    sigmoid = 1 / (1 + np.exp(-gate))
    out = middle + through("mlp.down_proj", gate * sigmoid * up)
    kept = _Kept(
        x=x, normed=normed, rms=rms, q=q, k=k, v=v, attention=attention, mixed=mixed,
        middle=middle, normed2=normed2, rms2=rms2, gate=gate, sigmoid=sigmoid, up=up,
    )  # fmt: skip
    return out, kept


def _norm(x: Array, scale: Array, epsilon: float) -> tuple[Array, Array]:
    rms = 1 / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + np.asarray(epsilon, x.dtype))
    return x * rms * scale, rms


def _heads(x: Array, heads: int) -> Array:
    return x.reshape(*x.shape[:2], heads, -1).swapaxes(1, 2)


def _joined(x: Array) -> Array:
    return x.swapaxes(1, 2).reshape(x.shape[0], x.shape[2], -1)


def _grouped(x: Array, kv_heads: int) -> Array:
    """The query heads beside the one that they share keys with."""
    return x.reshape(x.shape[0], kv_heads, -1, *x.shape[2:])


def _turned(x: Array, turn: tuple[Array, Array], *, back: bool = False) -> Array:
    cosine, sine = turn[0][:, None], -turn[1][:, None] if back else turn[1][:, None]
    half = x.shape[-1] // 2
    left, right = x[..., :half], x[..., half:]
    return np.concatenate((left * cosine - right * sine, right * cosine + left * sine), axis=-1)


# -- back --------------------------------------------------------------------------------------------------------------


def _layer_back(
    shape: Shape, parameters: Mapping[str, Array], layer: int, back: Array, *, kept: _Kept, turn: tuple[Array, Array],
    gradient: Parameters,
) -> Array:  # fmt: skip
    def through(name: str, came: Array, into: Array) -> Array:
        key = of_layer(layer, name)
        gradient[key] = _weights(came, into)
        return np.asarray(came @ parameters[key])

    silu = kept.gate * kept.sigmoid
    inner = through("mlp.down_proj", back, silu * kept.up)
    to_gate = inner * kept.up * (kept.sigmoid + silu * (1 - kept.sigmoid))
    to_normed = through("mlp.gate_proj", to_gate, kept.normed2) + through("mlp.up_proj", inner * silu, kept.normed2)
    key = of_layer(layer, "post_attention_layernorm")
    came, gradient[key] = _norm_back(to_normed, kept.middle, kept.rms2, parameters[key])
    back = back + came

    out = _grouped(_heads(through("self_attn.o_proj", back, kept.mixed), shape.heads), shape.kv_heads)
    to_v = (kept.attention.swapaxes(-1, -2) @ out).sum(axis=2)
    to_attention = out @ kept.v[:, :, None].swapaxes(-1, -2)
    to_attention -= np.einsum("...k,...k->...", to_attention, kept.attention)[..., None]
    to_attention *= kept.attention
    to_attention *= np.asarray(shape.head_width**-0.5, to_attention.dtype)
    to_q = (to_attention @ kept.k[:, :, None]).reshape(kept.q.shape)
    to_k = (to_attention.swapaxes(-1, -2) @ _grouped(kept.q, shape.kv_heads)).sum(axis=2)
    to_normed = (
        through("self_attn.q_proj", _joined(_turned(to_q, turn, back=True)), kept.normed)
        + through("self_attn.k_proj", _joined(_turned(to_k, turn, back=True)), kept.normed)
        + through("self_attn.v_proj", _joined(to_v), kept.normed)
    )
    key = of_layer(layer, "input_layernorm")
    came, gradient[key] = _norm_back(to_normed, kept.x, kept.rms, parameters[key])
    return back + came


def _norm_back(back: Array, x: Array, rms: Array, scale: Array) -> tuple[Array, Array]:
    of_scale = (back * x * rms).sum(axis=(0, 1))
    scaled = back * scale
    along = (scaled * x).mean(axis=-1, keepdims=True)
    return scaled * rms - x * along * rms**3, of_scale


def _weights(came: Array, into: Array) -> Array:
    return np.asarray(came.reshape(-1, came.shape[-1]).T @ into.reshape(-1, into.shape[-1]))
