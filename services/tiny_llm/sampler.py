"""From logits to the next token: greedily, or drawn with a seed.

Called by `engine` for each sequence by itself. The subtle thing is where chance comes from: a number made of nothing
but the seed and how many tokens there are already, so that a generation that is preempted, or taken up by another
replica, goes on as it would have; no generator has a state that must travel.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.tiny_llm.tokenizer import VOCABULARY, Sign

_COLD: Final = 1e-5  # a temperature below is none, as for vLLM
_LOW: Final = (1 << 64) - 1
# Signs other than the end are the template's, and never the model's to say.
_NEVER: Final = tuple(sign for sign in Sign if sign is not Sign.END)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    temperature: float = 1.0  # 0: greedy
    top_p: float = 1.0
    top_k: int = 0  # 0: all
    seed: int = 0
    ignore_end: bool = False  # the text is as long as asked, whatever the model thinks of it
    logprobs: int | None = None  # how many alternatives are told; None: not even the token's own


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    token: int
    logprob: float = 0.0  # before temperature, as vLLM tells it by default
    alternatives: tuple[tuple[int, float], ...] = ()  # the likeliest first


def draw(logits: NDArray[np.float32], sampling: Sampling, index: int) -> Drawn:
    """The token number `index` of a generation."""
    exact = logits.astype(np.float64)
    exact[list(_NEVER)] = -np.inf
    if sampling.ignore_end:
        exact[Sign.END] = -np.inf
    greedy = sampling.temperature < _COLD
    token = int(exact.argmax()) if greedy else _by_chance(exact, sampling, index)
    if sampling.logprobs is None:
        return Drawn(token=token)
    logprobs = exact - exact.max()
    logprobs -= np.log(np.exp(logprobs).sum())
    likeliest = np.argsort(-exact, kind="stable")[: sampling.logprobs]
    return Drawn(
        token=token,
        logprob=float(logprobs[token]),
        alternatives=tuple((int(each), float(logprobs[each])) for each in likeliest if np.isfinite(logprobs[each])),
    )


def _by_chance(exact: NDArray[np.float64], sampling: Sampling, index: int) -> int:
    order = np.argsort(-exact, kind="stable")[: sampling.top_k or VOCABULARY]
    chances = np.exp((exact[order] - exact[order[0]]) / sampling.temperature)
    upto = np.cumsum(chances / chances.sum())
    # The fewest that have top_p together, and one at least.
    kept = int(np.searchsorted(upto, sampling.top_p * upto[-1], side="left")) + 1
    upto = upto[:kept]
    place = int(np.searchsorted(upto, chance(sampling.seed, index) * upto[-1], side="right"))
    return int(order[min(place, len(upto) - 1)])


def chance(seed: int, index: int) -> float:
    """From 0 to below 1: splitmix64's output for a stream that the seed chooses."""
    return (_mixed(_mixed(seed & _LOW) + index) >> 11) * 2.0**-53


def _mixed(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) & _LOW
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _LOW
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _LOW
    return x ^ (x >> 31)
