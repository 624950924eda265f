"""The gradient that is worked out by hand, against what happens when a weight is moved a little."""

import numpy as np

from services.tiny_llm.shape import Shape
from services.tiny_llm.training.__main__ import Adam, first_parameters
from services.tiny_llm.training.backprop import loss_and_gradient

SHAPE = Shape(vocabulary=11, width=16, layers=2, heads=4, kv_heads=2, ffn=12, context=64)
NUDGE = 1e-5


def test_each_weights_gradient_is_the_slope_of_the_loss() -> None:
    draw = np.random.default_rng(0)
    parameters = {name: 3 * value.astype(np.float64) for name, value in first_parameters(SHAPE, draw).items()}
    tokens = draw.integers(0, SHAPE.vocabulary, (2, 7))
    positions = np.tile(np.arange(7), (2, 1))
    positions[1, 3:] += 9  # the gap that training makes
    _, gradient = loss_and_gradient(SHAPE, parameters, tokens, positions)
    assert gradient.keys() == parameters.keys()
    for name, values in parameters.items():
        for _ in range(3):
            place = tuple(int(draw.integers(0, size)) for size in values.shape)
            was, losses = values[place], []
            for moved in (was + NUDGE, was - NUDGE):
                values[place] = moved
                losses.append(loss_and_gradient(SHAPE, parameters, tokens, positions)[0])
            values[place] = was
            slope = (losses[0] - losses[1]) / (2 * NUDGE)
            assert abs(gradient[name][place] - slope) < 1e-6 * (1 + abs(slope)), (name, place)


def test_training_learns_a_sentence_by_heart() -> None:
    parameters = first_parameters(SHAPE, np.random.default_rng(0))
    tokens = np.array([[1, 2, 3, 1, 4, 2, 1, 5, 6]])
    positions = np.arange(tokens.size)[None]
    adam = Adam(parameters)
    losses = []
    for _ in range(60):
        loss, gradient = loss_and_gradient(SHAPE, parameters, tokens, positions)
        adam.step(gradient, 1e-2)
        losses.append(loss)
    assert losses[0] > 2
    assert losses[-1] < 0.05
