"""`python -m services.tiny_llm.training`: makes the weights anew, in some minutes on one core.

The same seed gives the same weights on the same machine; another BLAS rounds differently, so the file is committed. The
subtle thing is the context: sequences are short, for time, but some steps read fewer and longer ones, and most have a
random gap in their numbering, so that the model meets distances as long as its context.
"""

import time
from pathlib import Path
from random import Random

import click
import numpy as np
from numpy.typing import NDArray

from services.tiny_llm import safetensors
from services.tiny_llm.settings import WEIGHTS
from services.tiny_llm.shape import Shape
from services.tiny_llm.tokenizer import VOCABULARY
from services.tiny_llm.training.backprop import Parameters, loss_and_gradient
from services.tiny_llm.training.grammar import window

SHAPE = Shape(vocabulary=VOCABULARY, width=64, layers=4, heads=4, kv_heads=2, ffn=192, context=4096)
_WARM_UP = 50  # steps until the full rate
_LAST = 0.05  # of the rate, at the end
_BETAS = (0.9, 0.97)
_LONGEST_GRADIENT = 1.0
_WITH_A_GAP = 0.7  # of the sequences
_LONG_EVERY = 6  # steps
_LONGER = 4  # times the length, and as many times fewer


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--steps", type=click.IntRange(1), default=900, show_default=True)
@click.option("--batch", type=click.IntRange(1), default=8, show_default=True, help="Sequences a step.")
@click.option("--length", type=click.IntRange(2), default=208, show_default=True, help="Tokens a sequence.")
@click.option("--rate", type=float, default=3e-3, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--into", type=click.Path(path_type=Path), default=WEIGHTS)
def command(*, steps: int, batch: int, length: int, rate: float, seed: int, into: Path) -> None:
    """Trains on sentences of the grammar, and writes the weights."""
    texts = Random(seed)  # noqa: S311 - sentences, nothing secret
    draw = np.random.default_rng(seed)
    parameters = first_parameters(SHAPE, draw)
    adam = Adam(parameters)
    began, mean = time.monotonic(), 0.0
    for step in range(steps):
        longer = _LONGER if step % _LONG_EVERY == 0 and batch % _LONGER == 0 else 1
        tokens = np.array([window(texts, longer * length + 1) for _ in range(batch // longer)])
        loss, gradient = loss_and_gradient(SHAPE, parameters, tokens, _positions(draw, tokens.shape))
        adam.step(gradient, rate * _schedule(step, steps))
        mean = loss if step == 0 else 0.95 * mean + 0.05 * loss
        if step % 50 == 0 or step == steps - 1:
            click.echo(f"step {step:5d}  loss {mean:.4f} nats a byte  {time.monotonic() - began:6.1f} s")
    safetensors.write(into, parameters, {**SHAPE.metadata(), "format": "pt"})


def first_parameters(shape: Shape, draw: np.random.Generator) -> Parameters:
    """Small at random; what adds to the stream the smaller the more layers do; norms are one."""
    parameters: Parameters = {}
    for name, size in shape.parameters():
        deviation = 0.02 if name.endswith(("o_proj.weight", "down_proj.weight")) else 0.08
        values = draw.normal(0, deviation, size) if len(size) > 1 else np.ones(size)
        parameters[name] = values.astype(np.float32)
    return parameters


class Adam:
    """Changes the parameters in place."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._mean = {name: np.zeros_like(value) for name, value in parameters.items()}
        self._square = {name: np.zeros_like(value) for name, value in parameters.items()}
        self._steps = 0

    def step(self, gradient: Parameters, rate: float) -> None:
        self._steps += 1
        length = float(np.sqrt(sum(float(np.vdot(each, each)) for each in gradient.values())))
        shrink = min(1.0, _LONGEST_GRADIENT / (length + 1e-9))
        for name, parameter in self._parameters.items():
            mean, square, each = self._mean[name], self._square[name], gradient[name] * np.float32(shrink)
            mean += np.float32(1 - _BETAS[0]) * (each - mean)
            square += np.float32(1 - _BETAS[1]) * (each * each - square)
            ahead = mean / np.float32(1 - _BETAS[0] ** self._steps)
            spread = np.sqrt(square / np.float32(1 - _BETAS[1] ** self._steps)) + np.float32(1e-8)
            np.subtract(parameter, np.float32(rate) * ahead / spread, out=parameter)


def _schedule(step: int, steps: int) -> float:
    if step < _WARM_UP:
        return (step + 1) / _WARM_UP
    through = (step - _WARM_UP) / max(1, steps - _WARM_UP)
    return _LAST + (1 - _LAST) * 0.5 * (1 + float(np.cos(np.pi * through)))


def _positions(draw: np.random.Generator, size: tuple[int, ...]) -> NDArray[np.int64]:
    """Counted up, but for one jump at a random place in most sequences."""
    rows, length = size
    positions = np.tile(np.arange(length), (rows, 1))
    farthest = SHAPE.context - length
    for row in positions:
        if draw.random() < _WITH_A_GAP:
            # As often a short gap as a long one.
            row[draw.integers(1, length) :] += int(np.exp(draw.uniform(0, np.log(farthest))))
    return positions


if __name__ == "__main__":
    command()
