"""The model that serves: it computes what training computed, and to the last bit the same in any pieces and company."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.tiny_llm.attention import Floats, Work
from services.tiny_llm.kv_blocks import BLOCK
from services.tiny_llm.model import Model
from services.tiny_llm.training.backprop import logits_of
from services.tiny_llm.weights import Linear
from tests.rigs.tiny_models import SMALL, random_parameters, random_weights

TEXT = tuple(int(token) for token in np.random.default_rng(3).integers(0, 261, 3 * BLOCK + 5))
TABLE = (7, 2, 9, 4)


def work(tokens: tuple[int, ...], start: int = 0, table: tuple[int, ...] = TABLE) -> Work:
    return Work(tokens=tokens, start=start, table=table)


@pytest.fixture(scope="module")
def at_once() -> Floats:
    return np.asarray(Model(random_weights(), 16).step([work(TEXT)])[0])


def test_it_computes_what_training_computed(at_once: Floats) -> None:
    trained = logits_of(SMALL, random_parameters(), np.array([TEXT]))[0, -1]
    assert np.abs(trained).max() > 1
    np.testing.assert_allclose(at_once, trained, rtol=1e-3, atol=1e-3)


@settings(deadline=None, max_examples=25)
@given(cuts=st.sets(st.integers(1, len(TEXT) - 1), max_size=12))
def test_in_whichever_pieces_a_text_is_read_the_logits_are_the_same_bits(at_once: Floats, cuts: set[int]) -> None:
    model = Model(random_weights(), 16)
    ends = [*sorted(cuts), len(TEXT)]
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        logits = model.step([work(TEXT[start:end], start)])[0]
    assert np.array_equal(logits, at_once)


def test_a_token_alone_and_a_token_in_a_batch_have_the_same_bits(at_once: Floats) -> None:
    model = Model(random_weights(), 16)
    model.step([work(TEXT[:-1])])
    others = [work(TEXT[:70], 0, (0, 1, 3)), work((1,), 0, (5,)), work(TEXT[:40], 0, (6, 8))]
    for batch in ([work(TEXT[-1:], len(TEXT) - 1)], [*others, work(TEXT[-1:], len(TEXT) - 1)]):
        assert np.array_equal(model.step(batch)[-1], at_once)


def test_what_a_blocks_last_user_left_in_it_is_not_read(at_once: Floats) -> None:
    model = Model(random_weights(), 16)
    model.step([work(tuple(reversed(TEXT)) + TEXT[:20])])
    assert np.array_equal(model.step([work(TEXT)])[0], at_once)


def test_what_was_read_matters_however_long_ago(at_once: Floats) -> None:
    other = Model(random_weights(), 16).step([work((TEXT[0] ^ 1, *TEXT[1:]))])[0]
    assert np.abs(other - at_once).max() > 1e-4


def test_a_linear_layer_is_the_product_in_panels() -> None:
    matrix = np.random.default_rng(0).normal(size=(261, 64)).astype(np.float32)
    rows = np.random.default_rng(1).normal(size=(5, 64)).astype(np.float32)
    layer = Linear.of(matrix)
    assert len(layer.panels) == 3
    np.testing.assert_allclose(layer(rows), rows @ matrix.T, rtol=1e-4, atol=1e-4)


def test_a_row_is_multiplied_alike_whatever_is_beside_it() -> None:
    """At the size of the committed weights: a BLAS that gets all rows at once rounds some of them differently."""
    matrix = np.random.default_rng(0).normal(size=(384, 64)).astype(np.float32)
    rows = np.random.default_rng(1).normal(size=(37, 64)).astype(np.float32)
    layer = Linear.of(matrix)
    together = layer(rows)
    for number in range(len(rows)):
        assert np.array_equal(layer(rows[number : number + 1])[0], together[number])
