"""Small language models for tests: one with random weights, which knows nothing and is quick, and the committed one."""

from functools import cache

import numpy as np

from services.tiny_llm.engine import Engine
from services.tiny_llm.generation import Asked, Finish
from services.tiny_llm.sampler import Sampling
from services.tiny_llm.scheduler import Limits
from services.tiny_llm.settings import WEIGHTS
from services.tiny_llm.shape import Shape
from services.tiny_llm.tokenizer import VOCABULARY
from services.tiny_llm.training.__main__ import first_parameters
from services.tiny_llm.training.backprop import Parameters
from services.tiny_llm.weights import Weights

SMALL = Shape(vocabulary=VOCABULARY, width=16, layers=2, heads=4, kv_heads=2, ffn=24, context=512)
AMPLE = Limits(generations=8, tokens=512, blocks=64)
GREEDY = Sampling(temperature=0)


@cache
def random_parameters(seed: int = 7) -> Parameters:
    """Loud enough that what it says depends on all that it has read."""
    parameters = first_parameters(SMALL, np.random.default_rng(seed))
    return {name: value * np.float32(6 if value.ndim > 1 else 1) for name, value in parameters.items()}


@cache
def random_weights() -> Weights:
    return Weights.of(SMALL, random_parameters())


@cache
def committed_weights() -> Weights:
    return Weights.load(WEIGHTS)


def said_alone(weights: Weights, asked: Asked) -> tuple[str, list[int], Finish | None]:
    """The text, the tokens and why it ended, of a generation that has an engine for itself."""
    engine = Engine(weights, AMPLE)
    generation = engine.add(asked, 0.0)
    text, finish = "", None
    while not engine.is_idle:
        for _, delta in engine.step(0.0).told:
            text, finish = text + delta.text, delta.finish
    return text, generation.tokens[len(asked.prompt) :], finish
